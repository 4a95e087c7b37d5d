"""Who needs somebody: bots that no waiting will put right, and what is wrong besides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from django.contrib import admin
from django.db.models import Prefetch
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from bots import health
from bots.access import Act
from bots.admin import credentials, looks
from bots.admin import incident as incidents
from bots.admin.base import OperatorAdmin
from bots.admin.fleet.scope import Scope, listed
from bots.connections import states
from bots.incidents.wording import lasted
from bots.models import Bot, Credential, Incident, State

SHOWN = 10  # of each kind; the others are a click away


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A button or a link beside what it helps with."""

    label: str
    icon: str
    url: str
    posts: bool = False
    attrs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A bot that needs somebody."""

    badge: SafeString
    bot: SafeString | str
    reason: str
    next_step: str
    since: str
    lasts: str
    ways: list[Way]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An open incident."""

    badge: SafeString
    title: SafeString | str
    subject: SafeString | str
    detail: str
    next_step: str
    since: str
    lasts: str


def found(scope: Scope) -> dict[str, Any]:
    """What the template shows; the longest and the worst first."""
    needing = states.needing_somebody(scope.bots())
    rows = needing.select_related("space", "connection").defer("connection__cursor", "identity")
    with_credentials = rows.prefetch_related(
        Prefetch("credentials", Credential.objects.defer("value"))
    )
    longest_first = with_credentials.order_by("shown_since", "pk")[:SHOWN]
    opened = scope.incidents()
    worst_first = opened.select_related("bot", "subscription").order_by("severity", "opened_at")
    return {
        "needs": [_need(scope, bot) for bot in longest_first],
        "need_count": needing.count(),
        "needs_url": listed(Bot, state=states.NEEDS_SOMEBODY),
        "incidents": [_line(row) for row in worst_first[:SHOWN]],
        "open_count": opened.count(),
        "incidents_url": listed(Incident, state="open"),
        "closed_url": listed(Incident, state="closed"),
        "is_looked": bool(health.workers()),  # otherwise nothing would be found
    }


def _need(scope: Scope, bot: Bot) -> Need:
    now = states.shown(bot)
    return Need(
        badge=looks.state(now.state),
        bot=looks.link(bot),
        reason=now.reason,
        next_step=now.next_step or "Look at the bot's page: its last events say what happened.",
        since=looks.moment(now.since),
        lasts=lasted(timezone.now() - now.since),
        ways=_ways(scope, bot, now.state),
    )


def _ways(scope: Scope, bot: Bot, state: State) -> list[Way]:
    """What helps in this state, as far as somebody may do it."""
    ways = []
    is_keyless = state == State.MISCONFIGURED and bool(credentials.missing(bot))
    if (state == State.BAD_CREDENTIALS or is_keyless) and scope.may(Act.CHANGE_BOT):
        url = reverse("admin:bots_bot_credentials", args=[bot.pk])
        ways.append(_way(bot, "Set credentials", "key", url))
    elif state == State.MISCONFIGURED and scope.may(Act.CHANGE_BOT):
        url = reverse("admin:bots_bot_change", args=[bot.pk])
        ways.append(_way(bot, "Change settings", "settings", url))
    if scope.may(Act.OPERATE_BOT):
        refused = state in (State.BAD_CREDENTIALS, State.MISCONFIGURED)
        ways.append(test_of(bot) if refused else press(bot, "reconnect"))
    return ways


def press(bot: Bot, name: str) -> Way:
    """A button of the bot's page, to be pressed here."""
    button = cast(OperatorAdmin, admin.site.get_model_admin(Bot)).presses[name]
    url = reverse("admin:bots_bot_do", args=[bot.pk, name])
    return _way(bot, button.label, button.icon, url, posts=True)


def test_of(bot: Bot) -> Way:
    """To the bot's page, which tests it and shows each step."""
    page = reverse("admin:bots_bot_change", args=[bot.pk])
    return _way(bot, "Test", "stethoscope", f"{page}#test")


def _way(bot: Bot, label: str, icon: str, url: str, *, posts: bool = False) -> Way:
    attrs = {"id": f"bot-{bot.pk}-{icon}", "aria-label": f"{label}: {bot}"}
    return Way(label=label, icon=icon, url=url, posts=posts, attrs=attrs)


def _line(incident: Incident) -> Line:
    return Line(
        badge=incidents.badge(incident),
        title=looks.link(incident, incident.get_code_display()),
        subject=incidents.subject(incident),
        detail=incident.detail,
        next_step=incident.next_step,
        since=looks.moment(incident.opened_at),
        lasts=lasted(incident.lasted),
    )
