"""What the page of a bot shows before its form, section by section: a fixed number of queries,
however many channels, jobs and events the bot has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.safestring import SafeString

from bots import clients, lane_names, naming
from bots.admin import counting, credentials, incident, looks, platforms
from bots.admin.sentences import sentence
from bots.connections import states
from bots.incidents.wording import lasted
from bots.models import Bot, Event, Incident, Job, Lane, Message, Permission, State
from spaces.models import Channel, Participant
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.errors import Misconfigured

SHOWN = 10
LOOKED_THROUGH = 500  # messages, for the channels that are in use

Facts = dict[str, Any]


# The connection ---------------------------------------------------------------------------------


def connection(bot: Bot) -> dict[str, Any]:
    """What changes by itself at the top of the page."""
    row, now = bot.connection, states.shown(bot)
    facts: Facts = {
        "Since": f"{looks.moment(now.since)}",
        "Last event": looks.moment(row.last_event_at),
        "Last sign of life": looks.moment(row.last_ok_at),
    }
    if row.attempts and now.state != State.LIVE:
        facts["Failed attempts"] = f"{row.attempts:,}"
    if now.next_try is not None:
        is_due = now.next_try <= timezone.now()
        facts["Next try"] = "now" if is_due else looks.moment(now.next_try)
    return {
        "state": looks.state(now.state),
        "reason": now.reason,
        "next_step": now.next_step,
        "facts": facts,
    }


# Who it is and what it may do -------------------------------------------------------------------


def identity(bot: Bot) -> Facts:
    """Empty while nobody was let in."""
    person = bot.identity.get("person") or {}
    if not person:
        return {}
    return {
        "Username": looks.link(bot.person, str(person.get("username") or person.get("id"))),
        "Name": person.get("name") or looks.NOTHING,
        "Id there": person.get("id"),
        "Server": bot.identity.get("server") or looks.NOTHING,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """One permission, here and there."""

    name: str
    here: SafeString
    there: SafeString
    told: str


def permissions(bot: Bot) -> list[Permitted]:
    platform = platforms.find(bot.space.platform)
    words = platform.permission_words if platform else {}
    allowed = bot.identity.get("permissions")
    return [
        _permitted(permission, permission in bot.permissions, words.get(permission, ()), allowed)
        for permission in Permission
    ]


def _permitted(
    permission: Permission, is_here: bool, words: Sequence[str], allowed: Sequence[str] | None
) -> Permitted:
    here = looks.badge("yes", "success") if is_here else looks.badge("no")
    missing = [] if allowed is None else [word for word in words if word not in allowed]
    told = ""
    if allowed is None:
        there = looks.badge("not told")
    elif not words:
        there = looks.badge("needs none")
    elif not missing:
        there = looks.badge("yes", "success")
        told = "" if is_here else "Only switched off here."
    else:
        some = "partly" if len(missing) < len(words) else "no"
        there = looks.badge(some, "warning" if is_here else "")
        told = f"Missing there: {', '.join(missing)}."
    return Permitted(name=str(permission.label), here=here, there=there, told=told)


def credentials_of(bot: Bot) -> dict[str, Any]:
    """Those that are set or needed; and the names of others that its platform knows. No value."""
    platform = platforms.find(bot.space.platform)
    declared = platform.credentials if platform else ()
    stored = credentials.known(bot)
    labels = {one.name: one.label for one in declared if one.required or one.name in stored}
    labels |= {name: name for name in stored if name not in labels}
    lines = [
        {
            "label": label,
            "status": credentials.status(stored.get(name)),
            "is_missing": name not in stored,
        }
        for name, label in labels.items()
    ]
    return {
        "credentials": lines,
        "is_keyless": any(line["is_missing"] for line in lines),
        "unset": [one.label for one in declared if one.name not in labels],
    }


# How it behaves ---------------------------------------------------------------------------------


def receiving(bot: Bot) -> Facts:
    there = bot.identity.get("read_receipts")
    return {
        "Receives by": bot.get_receive_display(),
        "Read receipts here": "on" if bot.read_receipts else "off",
        "Read receipts there": "not told" if there is None else "on" if there else "off",
        "Presence and typing": _presence(bot),
        "Handlers": ", ".join(bot.handlers) or "none",
    }


def _presence(bot: Bot) -> str:
    platform = platforms.find(bot.space.platform)
    if platform is None or not {Ability.PRESENCE, Ability.TYPING} & platform.abilities:
        return "not on this platform"
    return "shown when asked" if Permission.PRESENCE in bot.permissions else "not permitted here"


def limits(bot: Bot) -> Facts:
    facts: Facts = {}
    try:
        rate = clients.options(bot).get("messages_per_second")
        facts["Messages per second"] = f"{rate:g}" if rate else "no limit of ours"
    except Misconfigured as error:  # its platform is gone, or options of it are
        facts["Messages per second"] = error.detail
    waits = bot.limited_until is not None and bot.limited_until > timezone.now()
    facts["The platform lets it send"] = (
        f"not before {looks.moment(bot.limited_until)}" if waits else "now"
    )
    if platform := platforms.find(bot.space.platform):
        facts |= _limits_of(platform)
    return facts


def _limits_of(platform: type[Platform]) -> Facts:
    most = platform.limits
    return {
        "Longest message": f"{most.text:,} {most.text_unit}" if most.text else "no limit",
        "Files in one message": f"{most.files:,}" if most.files else "no limit",
        "Largest file": f"{most.file_bytes / 2**20:,.0f} MB" if most.file_bytes else "no limit",
        "People in one request": (
            f"{most.people_per_request:,}" if most.people_per_request else "no limit"
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    count: int
    newest: list[tuple[Channel, str, str]]  # with its name, and the time of its latest message


def channels(bot: Bot) -> Channels:
    """Those in which something was said lately first, then others that it is in."""
    if bot.person_id is None:
        return Channels(count=0, newest=[])
    messages = Message.objects.filter(bot=bot).order_by("-sent_at", "-pk")
    latest: dict[int, Any] = {}
    for channel_id, sent_at in messages.values_list("channel_id", "sent_at")[:LOOKED_THROUGH]:
        latest.setdefault(channel_id, sent_at)
    mine = Participant.objects.filter(person=bot.person_id)
    in_use = mine.filter(channel__in=list(latest)[: 3 * SHOWN]).select_related("channel")
    others = mine.exclude(channel__in=list(latest)).select_related("channel").order_by("-pk")
    found = [one.channel for one in in_use]
    found.sort(key=lambda channel: latest[channel.pk], reverse=True)
    found += [one.channel for one in others[:SHOWN]]
    names = naming.names((bot, one) for one in found[:SHOWN])
    return Channels(
        count=mine.count(),
        newest=[
            (one, names[bot.pk, one.pk], looks.moment(latest.get(one.pk))) for one in found[:SHOWN]
        ],
    )


# What it is doing -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A lane with work in it, or one that somebody paused."""

    lane: Lane
    name: str
    link: SafeString | str
    count: str
    told: str


def lanes_waiting(bot: Bot) -> list[Waiting]:
    """The first of them; one more than is shown, if there are more."""
    busy = Lane.objects.filter(Q(due_at__isnull=False) | Q(paused_at__isnull=False), bot=bot)
    counted = busy.annotate(waiting_count=counting.waiting_in_lane())
    rows = list(counted.select_related("bot").order_by("due_at", "pk")[: SHOWN + 1])
    names = lane_names.names(rows)
    return [
        Waiting(
            lane=row,
            name=names[row.pk],
            link=looks.link(row, names[row.pk]),
            count=counting.told(row.waiting_count),
            told=lane_told(row),
        )
        for row in rows
    ]


def lane_told(lane: Lane) -> str:
    """Why a lane waits, in words."""
    if lane.paused_at is not None:
        return f"Paused by {lane.paused_by or 'somebody'} since {looks.moment(lane.paused_at)}."
    if lane.holder:
        return f"{lane.holder} works on it."
    if lane.due_at is None:
        return "Nothing waits."
    if lane.due_at <= timezone.now():
        return "Waits for a worker."
    return f"Waits until {looks.moment(lane.due_at)}."


def latest_jobs(bot: Bot) -> QuerySet[Job]:
    # A range of one: told that it is this bot, PostgreSQL would go through the jobs of all bots,
    # newest first, and through very many where this one had none lately.
    of_bot = Job.objects.filter(bot__gte=bot, bot__lte=bot).order_by("bot_id", "-pk")
    rows = of_bot.select_related("channel")
    return rows.defer("payload", "result")[:SHOWN]


def latest_events(bot: Bot) -> QuerySet[Event]:
    # A range of one, as above.
    of_bot = Event.objects.filter(bot__gte=bot, bot__lte=bot).order_by("bot_id", "-pk")
    return of_bot.select_related("channel").defer("raw")[:SHOWN]


def work(bot: Bot) -> dict[str, Any]:
    """What changes by itself further down the page."""
    lanes = lanes_waiting(bot)
    jobs, events = list(latest_jobs(bot)), list(latest_events(bot))
    told: list[Job | Event] = [*jobs, *events]
    names = naming.names((bot, row.channel) for row in told if row.channel)
    return {
        "lanes": lanes[:SHOWN],
        "more_lanes": len(lanes) > SHOWN,
        "jobs": [
            (job, _room(job, names), looks.state(job.state), looks.moment(job.created_at))
            for job in jobs
        ],
        "events": [
            (event, _room(event, names), sentence(event), looks.moment(event.occurred_at))
            for event in events
        ],
    }


def _room(row: Job | Event, names: naming.Names) -> str:
    return names.get((row.bot_id, row.channel_id or 0), "")


def incidents(bot: Bot) -> list[Mapping[str, Any]]:
    rows = Incident.objects.filter(bot=bot, closed_at=None, opened_at__isnull=False)
    return [
        {
            "badge": incident.badge(row),
            "title": looks.link(row, row.get_code_display()),
            "detail": row.detail,
            "next_step": row.next_step,
            "lasted": lasted(row.lasted),
        }
        for row in rows.order_by("severity", "opened_at")[:SHOWN]
    ]


def around(bot: Bot) -> dict[str, Any]:
    """What stays as it is while somebody looks."""
    permitted = permissions(bot)
    return {
        "identity": identity(bot),
        "permitted": permitted,
        "is_missing": any("Missing there" in one.told for one in permitted),
        **credentials_of(bot),
        "receiving": receiving(bot),
        "limits": limits(bot),
        "channels": channels(bot),
    }
