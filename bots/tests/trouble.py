"""Trouble with bots and subscriptions, time that passes, and those who look and tell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from bots import incidents, lifecycle, receivers, subscriptions
from bots.connections import states
from bots.models import Bot, Connection, Ended, Event, Incident, State, Subscription, Telling
from bots.tests.builders import SECRET, make_bot, make_subscription
from spaces.platforms.errors import CredentialsRefused
from spaces.platforms.messages import Kind
from spaces.testing.mattermost import SimulatedMattermost

MINUTE = timedelta(minutes=1)
LONG = timedelta(minutes=11)  # longer than anything is waited for


def live(bot: Bot) -> None:
    row = Connection.objects.get(bot=bot)
    later = timezone.now() + timedelta(hours=1)
    states.move(
        row, State.LIVE, fence=row.fence, reason="Connected and caught up.", lease_until=later
    )


def make_live_bot(slug: str = "echo", **changes: Any) -> Bot:
    bot = make_bot(slug, **changes)
    live(bot)
    return bot


def down(bot: Bot, to: State = State.RECONNECTING, reason: str = "No answer.") -> None:
    row = Connection.objects.get(bot=bot)
    states.move(row, to, fence=row.fence, reason=reason, next_step="Nothing to do.")


def time_passes(time: timedelta = LONG) -> None:
    """For incidents, and what is to be told of them."""
    Incident.objects.update(
        noticed_at=F("noticed_at") - time,
        opened_at=F("opened_at") - time,
        closed_at=F("closed_at") - time,
    )
    Telling.objects.update(not_before=F("not_before") - time, try_at=F("try_at") - time)


def look(after: timedelta = LONG) -> None:
    """Notice, and see what lasted."""
    incidents.look()
    time_passes(after)
    incidents.look()


def tell() -> None:
    time_passes(MINUTE)
    incidents.tell()


def opened() -> list[str]:
    return [incident.code for incident in Incident.objects.filter(closed_at=None)]


def told_events() -> list[tuple[str, str]]:
    kinds = [Kind.INCIDENT_OPENED, Kind.INCIDENT_CLOSED]
    rows = Event.objects.filter(kind__in=kinds).order_by("pk")
    return [(event.kind, event.data["code"]) for event in rows]


# What happens to a bot, and returns what puts it right again.


def credentials_refused(bot: Bot) -> Callable[[], object]:
    states.refuse(bot, CredentialsRefused("No entry."))

    def put_right() -> None:
        lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
        live(bot)

    return put_right


def subscription_ended(bot: Bot) -> Callable[[], object]:
    subscription, _ = make_subscription()
    receivers.end(subscription, Ended.GONE, code="status_410", detail="It answered 410.")
    return lambda: subscriptions.resume(Subscription.objects.get())


def early_in_a_half_minute(server: SimulatedMattermost) -> None:
    """From here on a code of the second factor serves for the rest of a test."""
    now = server.controls.advance(0)
    server.controls.advance(35 - now % 30)
