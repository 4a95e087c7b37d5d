"""What the database says of connections is what their pages say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product

import pytest
from django.db.models import Count
from django.utils import timezone

from bots import incidents
from bots.connections import states
from bots.models import Bot, Connection, Incident, Receive, State
from bots.tests.builders import make_bot, make_space
from spaces.platforms.errors import CredentialsRefused, Misconfigured

pytestmark = pytest.mark.django_db

LONG = states.PATIENCE * 2


def every_combination(now: datetime) -> Iterator[tuple[Bot, Connection]]:
    """All that `shown` looks at, in all ways in which it may stand in the rows."""
    past, soon = now - LONG, now + timedelta(minutes=1)
    lately = now - timedelta(seconds=5)
    space = make_space()
    combinations = product(
        (True, False),  # enabled
        Receive,
        State,
        (1, 2),  # generation the connection was last tried with
        (None, past),  # last call
        (None, past, soon),  # lease
        (None, past, lately, soon),  # not before
        (past, lately),  # since
    )
    for n, values in enumerate(combinations):
        enabled, receive, state, generation, called, lease, not_before, since = values
        bot = Bot(
            slug=f"bot{n}", name="Bot", space=space, enabled=enabled, receive=receive, generation=2
        )
        yield (
            bot,
            Connection(
                bot=bot,
                state=state,
                generation=generation,
                last_call_at=called,
                lease_until=lease,
                not_before=not_before,
                since=since,
            ),
        )


def test_the_database_and_the_pages_agree_in_every_combination():
    pairs = list(every_combination(timezone.now()))
    Bot.objects.bulk_create([bot for bot, _ in pairs], batch_size=1000)
    Connection.objects.bulk_create([connection for _, connection in pairs], batch_size=1000)

    rows = states.annotated(Bot.objects.select_related("connection"))

    told = [(bot.shown_state, bot.shown_since) for bot in rows]
    shown = [states.shown(bot) for bot in rows]
    assert told == [(one.state, one.since) for one in shown]
    assert {state for state, _ in told} == set(State)


def test_bots_are_counted_and_filtered_by_what_is_shown():
    make_bot("new")
    states.refuse(make_bot("refused"), CredentialsRefused("No entry."))
    Bot.objects.filter(pk=make_bot("off").pk).update(enabled=False)

    rows = states.annotated(Bot.objects.all()).order_by()
    counted = rows.values_list("shown_state").annotate(count=Count("pk"))

    assert dict(counted) == {State.STARTING: 1, State.BAD_CREDENTIALS: 1, State.OFF: 1}
    assert [bot.slug for bot in rows.filter(shown_state=State.BAD_CREDENTIALS)] == ["refused"]


# Who needs somebody -----------------------------------------------------------------------------


def needing() -> list[str]:
    return [bot.slug for bot in states.needing_somebody(Bot.objects.order_by("slug"))]


def connect(slug: str, **changes: object) -> None:
    """A bot in whose connection's row these things stand."""
    now = timezone.now()
    row = {"lease_until": now + timedelta(minutes=1), "since": now - LONG}
    Connection.objects.filter(bot=make_bot(slug)).update(**row | changes)


def test_refused_and_misconfigured_bots_need_somebody_at_once():
    states.refuse(make_bot("refused"), CredentialsRefused("No entry."))
    states.refuse(make_bot("wrong"), Misconfigured("There is no such server."))

    assert needing() == ["refused", "wrong"]


def test_who_is_away_needs_somebody_when_it_lasts():
    now = timezone.now()
    lately = now - timedelta(seconds=30)
    connect("lost", state=State.RECONNECTING)
    connect("lost-lately", state=State.RECONNECTING, since=lately)
    connect("silent", state=State.LIVE, lease_until=now - LONG)
    connect("silent-lately", state=State.LIVE, lease_until=lately)

    assert needing() == ["lost", "silent"]


def test_who_begins_anew_all_the_time_needs_somebody_as_long_as_the_incident_lasts():
    connect("flaps", state=State.RECONNECTING, since=timezone.now())
    connect("unheld", state=State.OFF, lease_until=None)
    incidents.look()
    assert needing() == []

    Incident.objects.update(noticed_at=timezone.now() - LONG)
    assert needing() == ["flaps", "unheld"]

    Incident.objects.update(closed_at=timezone.now())
    assert needing() == []


def test_who_is_live_off_catching_up_or_waiting_to_be_called_needs_nobody():
    connect("live", state=State.LIVE)
    connect("catching-up", state=State.CATCHING_UP)
    connect("stopped", state=State.RECONNECTING)
    connect("hooked", state=State.RECONNECTING)
    Bot.objects.filter(slug="stopped").update(enabled=False)
    Bot.objects.filter(slug="hooked").update(receive=Receive.WEBHOOK)
    incidents.look()
    Incident.objects.update(noticed_at=timezone.now() - LONG)

    assert needing() == []
