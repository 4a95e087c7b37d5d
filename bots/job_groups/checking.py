"""The dry run: who is in the channels, who is meant, and so what would happen to each.

Channels are read anew where the platform lists their members. People whom we know from there, or
from before, are not asked for; the others one by one, no faster than the platform allows. Nothing
is changed on the platform.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils import timezone

from bots import backoff, bulk, clients, jobs, lanes
from bots.bulkhead import bulkhead
from bots.connections import states
from bots.job_groups import counting
from bots.models import (
    Bot,
    Fate,
    Found,
    GroupChannel,
    GroupItem,
    GroupKind,
    GroupPerson,
    GroupState,
    JobGroup,
    JobKind,
    Plan,
)
from bots.refusals import Refused
from bots.scrub import scrub
from spaces import sync
from spaces.models import Participant, Person
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    Unavailable,
)
from spaces.platforms.messages import PersonInfo, PersonRef, Role

log = logging.getLogger(__name__)

LOOKED_UP_AT_ONCE = 1_000
FORGOTTEN_AT_ONCE = 5_000
BUSY_SECONDS = 1.0  # until it looks again for room among the bot's other work
FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 30.0
MOST_TRIES = 8  # in a row, on a platform that is away
NAME_ONLY = "This is a name. People are told apart by a username, an e-mail address or an id."

# What cannot be done as it stands: somebody decides before it runs.
HELD = (Plan.AMBIGUOUS, Plan.NOT_FOUND, Plan.REFUSED)
DONE_THEN = {Plan.ADD: Fate.PLANNED, Plan.PROMOTE: Fate.PLANNED, Plan.REMOVE: Fate.PLANNED}


def go_on(group: JobGroup, ends: float) -> float | None:
    """Work until then. Seconds to wait before the next turn, None for: none."""
    bot = group.bot
    now = timezone.now()
    if not bot.enabled:
        _stop(group, "switched_off", f"{bot} is switched off.", "Start it, then check again.")
        return 0.0
    if bot.limited_until and bot.limited_until > now:
        return (bot.limited_until - now).total_seconds()
    if not bulkhead().enter_poll(bot):
        return BUSY_SECONDS
    try:
        if not (_forget(group, ends) and _ask(group, ends)):
            return None
    except (PlatformError, Misconfigured) as error:
        return _asking_failed(group, error)
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:
        # A fault of the platform's code would come back for ever.
        log.exception("the dry run %s broke", group.pk)
        detail = f"The platform's code failed ({type(error).__name__}); see the log of the worker."
        _stop(group, "platform_broke", detail, "Check again when the fault is mended.")
        return 0.0
    finally:
        if (parked := bulkhead().leave_poll(bot)) is not None:
            lanes.wake([parked])
    return None if not _plan(group, ends) else 0.0


def _forget(group: JobGroup, ends: float) -> bool:
    """Remove what a dry run before this one said; whether that was all."""
    if group.channels.filter(is_planned=True).exists():
        return True  # it has something to say itself
    while ids := list(group.items.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]):
        if time.monotonic() >= ends or not _still(group).exists():
            return False
        bulk.delete(GroupItem, ids)
    return True


# Asking the platform ----------------------------------------------------------------------------


def _ask(group: JobGroup, ends: float) -> bool:
    """Whether everything is known."""
    unread = list(group.channels.filter(is_read=False).select_related("channel"))
    if not unread and not group.people.filter(found=Found.UNASKED).exists():
        return True
    with clients.borrow(group.bot) as platform:
        for one in unread:
            if time.monotonic() >= ends:
                return False
            _read(group, platform, one)
        return _find_people(group, platform, ends)


def _read(group: JobGroup, platform: Platform, one: GroupChannel) -> None:
    """Who is in a channel; a channel that is not shown to the bot keeps the reason."""
    changes: dict[str, object] = {"known_at": one.channel.synced_at}
    if Ability.LIST_PARTICIPANTS in platform.abilities:
        try:
            infos = list(platform.list_participants(one.channel.remote_id))
            sync.participants(one.channel_id, group.bot.space_id, infos)
            changes = {"known_at": timezone.now()}
        except (NotFound, Forbidden) as error:
            changes = {"error_code": error.code, "error_detail": scrub(error.detail)}
    GroupChannel.objects.filter(pk=one.pk).update(is_read=True, **changes)
    _went_well(group)


def _find_people(group: JobGroup, platform: Platform, ends: float) -> bool:
    """Whether all were asked for."""
    unasked = group.people.filter(found=Found.UNASKED)
    while people := list(unasked[:LOOKED_UP_AT_ONCE]):
        _look_up(group.bot, people)
        strangers = [person for person in people if person.found == Found.UNASKED]
        try:
            if Ability.FIND_PERSON not in platform.abilities:
                for person in strangers:
                    person.found = Found.UNASKABLE
            else:
                _find(group, platform, strangers, ends)
        finally:
            # What was learned is kept, also when the platform stops answering.
            bulk.update(
                [person for person in people if person.found != Found.UNASKED],
                ["found", "detail", "person"],
            )
        if any(person.found == Found.UNASKED for person in strangers):
            return False
    return True


def _look_up(bot: Bot, people: Sequence[GroupPerson]) -> None:
    """Say whom of them we know, by id, username or e-mail address."""
    refs = {person.pk: _ref(person) for person in people}
    known = Person.objects.filter(
        Q(remote_id__in={ref.id for ref in refs.values()} - {""})
        | Q(username__in={name for ref in refs.values() for name in _cases(ref.username)})
        | Q(email__in={name for ref in refs.values() for name in _cases(ref.email)}),
        space_id=bot.space_id,
    )
    by: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in known:
        by["id", row.remote_id].append(row.pk)
        by["username", row.username.lower()].append(row.pk)
        by["email", row.email.lower()].append(row.pk)
    for person in people:
        ref = refs[person.pk]
        if " " in person.asked and "@" not in person.asked:
            person.found, person.detail = Found.NOBODY, NAME_ONLY
            continue
        for what, name in (("id", ref.id), ("username", ref.username), ("email", ref.email)):
            found = by.get((what, name if what == "id" else name.lower()), ()) if name else ()
            if len(found) == 1:
                person.found, person.person_id = Found.KNOWN, found[0]
                break
            if found:
                person.found = Found.SEVERAL
                person.detail = f"{len(found)} people here have this {what}. Name one by the id."
                break


def _find(
    group: JobGroup, platform: Platform, strangers: Iterable[GroupPerson], ends: float
) -> None:
    """Ask the platform for people, one by one, until then."""
    found: dict[GroupPerson, PersonInfo] = {}
    try:
        for person in strangers:
            if time.monotonic() >= ends:
                break
            try:
                found[person] = platform.find_person(_ref(person))
            except (NotFound, Rejected) as error:
                several = "ambiguous" in error.code
                person.found = Found.SEVERAL if several else Found.NOBODY
                person.detail = scrub(error.detail)
    finally:
        ids = sync.people(group.bot.space_id, found.values())
        for person, info in found.items():
            person.found, person.person_id = Found.KNOWN, ids[info.id]
    _went_well(group)


def _ref(person: GroupPerson) -> PersonRef:
    return PersonRef.parse(person.asked)


def _cases(name: str) -> set[str]:
    return {name, name.lower()} - {""}


# When the platform does not answer --------------------------------------------------------------


def _asking_failed(group: JobGroup, error: PlatformError | Misconfigured) -> float:
    """Seconds after which it is tried again, if it is."""
    if isinstance(error, CredentialsRefused):
        states.refuse(group.bot, error)
    tries = group.tries + 1
    waits = isinstance(error, RateLimited) or (
        isinstance(error, Unavailable | OutcomeUnknown) and tries < MOST_TRIES
    )
    if not waits:
        _stop(group, error.code, error.detail, error.next_step)
        return 0.0
    _still(group).update(
        tries=group.tries if isinstance(error, RateLimited) else tries,
        error_code=error.code,
        error_detail=scrub(error.detail),
        next_step="Nothing to do: it goes on by itself.",
    )
    if not isinstance(error, RateLimited):
        return backoff.steady_delay(tries, first=FIRST_RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS)
    if error.scope == "bot":
        until = timezone.now() + timedelta(seconds=error.retry_after)
        Bot.objects.filter(pk=group.bot_id).update(
            limited_until=Greatest(Coalesce("limited_until", until), until)
        )
    return error.retry_after


def _went_well(group: JobGroup) -> None:
    if group.tries or group.error_code:
        group.tries, group.error_code = 0, ""
        _still(group).update(tries=0, error_code="", error_detail="", next_step="")


def _stop(group: JobGroup, code: str, detail: str, next_step: str) -> None:
    _still(group).update(
        state=GroupState.STOPPED,
        error_code=code,
        error_detail=scrub(detail),
        next_step=scrub(next_step),
    )


def _still(group: JobGroup) -> QuerySet[JobGroup]:
    """The group, unless somebody stopped the dry run meanwhile; also when it was begun anew since,
    and is another worker's."""
    mine = JobGroup.objects.filter(pk=group.pk, claimed_until=group.claimed_until)
    return mine.filter(state=GroupState.CHECKING)


# What would happen ------------------------------------------------------------------------------


def _plan(group: JobGroup, ends: float) -> bool:
    """Write down what would happen, channel by channel; whether that was all."""
    _mark_doubles(group)
    people = list(group.people.exclude(found=Found.DOUBLE).select_related("person"))
    for one in group.channels.filter(is_planned=False).select_related("channel"):
        if time.monotonic() >= ends:
            return False
        with transaction.atomic():
            if not _still(group).select_for_update().exists():
                return True
            if GroupChannel.objects.filter(pk=one.pk, is_planned=False).update(is_planned=True):
                bulk.insert(_items(group, one, people))
    counting.count(group)
    _still(group).update(state=GroupState.CHECKED, checked_at=Now())
    return True


def _mark_doubles(group: JobGroup) -> None:
    """The same person in other words, say by name and by address, counts once."""
    numbers: dict[int | None, int] = {}
    doubles = []
    for one in group.people.filter(found=Found.KNOWN):
        first = numbers.setdefault(one.person_id, one.number)
        if first != one.number:
            one.found, one.detail = Found.DOUBLE, f"The same person as entry {first}."
            doubles.append(one)
    bulk.update(doubles, ["found", "detail"])


def _items(group: JobGroup, one: GroupChannel, people: Sequence[GroupPerson]) -> list[GroupItem]:
    mine = group.people.filter(found=Found.KNOWN).values("person")
    inside = Participant.objects.filter(channel=one.channel_id, person__in=mine)
    roles = dict(inside.values_list("person", "role"))
    refusal = _refusal(group, one)
    return [_item(group, one, person, roles, refusal) for person in people]


def _item(
    group: JobGroup,
    one: GroupChannel,
    person: GroupPerson,
    roles: Mapping[int, str],
    refusal: tuple[str, str],
) -> GroupItem:
    plan, code, detail = _what(group, person, roles, refusal)
    role = roles.get(person.person_id or 0)
    return GroupItem(
        group=group,
        channel_id=one.channel_id,
        person=person,
        plan=plan,
        state=Fate.HELD if plan in HELD else DONE_THEN.get(plan, Fate.NOTHING),
        moderator=group.moderator if group.kind == GroupKind.ADD else role == Role.MODERATOR,
        code=code,
        detail=detail,
    )


def _what(
    group: JobGroup, person: GroupPerson, roles: Mapping[int, str], refusal: tuple[str, str]
) -> tuple[Plan, str, str]:
    """What would happen, and where that is not plain, why."""
    if person.found == Found.NOBODY:
        return Plan.NOT_FOUND, "", person.detail
    if person.found == Found.SEVERAL:
        return Plan.AMBIGUOUS, "", person.detail
    if refusal[0]:
        return Plan.REFUSED, *refusal
    role = roles.get(person.person_id or 0)
    if group.kind == GroupKind.ADD:
        if role is None:
            return Plan.ADD, "", ""
        if group.moderator and role != Role.MODERATOR:
            return Plan.PROMOTE, "", ""
        return Plan.THERE, "", ""
    if person.person_id is not None and person.person_id == group.bot.person_id:
        return Plan.REFUSED, "the_bot_itself", "This is the bot: let it leave the channel instead."
    if role is None and person.found == Found.KNOWN:
        return Plan.ABSENT, "", ""
    return Plan.REMOVE, "", ""


def _refusal(group: JobGroup, one: GroupChannel) -> tuple[str, str]:
    """Why nothing can be done in this channel: a code and a sentence, both empty when it can."""
    if one.error_code:
        return one.error_code, one.error_detail
    payload = {"moderator": True} if group.moderator else {}
    try:
        kind = JobKind(group.kind)
        jobs.check(group.bot, jobs.Request(kind=kind, channel=one.channel, payload=payload))
    except Refused as refused:
        return refused.code, refused.detail
    if one.channel.archived:
        return "channel_archived", "The channel is archived. Restore it first."
    return "", ""
