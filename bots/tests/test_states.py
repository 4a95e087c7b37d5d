"""What a screen says of a connection is what is known, not what was written last."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from bots import lifecycle
from bots.connections import states
from bots.models import Bot, Connection, Receive, State
from bots.tests.builders import SECRET, make_bot
from spaces.platforms.errors import CredentialsRefused, Misconfigured
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db
DEADLINE = 60.0
SOON, AGO = timedelta(seconds=5), timedelta(seconds=-5)


def shown(bot: Bot, **changes) -> states.Shown:
    """What is shown when these things stand in the connection's row."""
    Connection.objects.filter(bot=bot).update(**changes)
    return states.shown(Bot.objects.select_related("connection").get(pk=bot.pk))


def connection_of(bot: Bot) -> Connection:
    return Connection.objects.get(bot=bot)


def test_a_refusal_stands_until_the_settings_change_whoever_says_otherwise():
    bot = make_bot()
    states.refuse(bot, CredentialsRefused("No entry."))
    row = connection_of(bot)

    assert not states.move(row, State.LIVE, fence=row.fence)
    assert str(states.refusal(bot)) == "No entry."

    lifecycle.reconnect(bot)
    assert states.refusal(bot) is None
    assert states.move(row, State.LIVE, fence=row.fence)


def test_catching_up_shows_how_far_it_is_without_an_event_for_each_step():
    bot = make_bot()
    row = connection_of(bot)
    states.move(row, State.CATCHING_UP, fence=row.fence)
    progress = states.Progress(row, fence=row.fence)

    progress.add(1000)
    assert shown(bot, lease_until=timezone.now() + SOON).reason == ""
    deadline = time.monotonic() + DEADLINE
    while not connection_of(bot).caught_up:  # written down at most once a second
        assert time.monotonic() < deadline
        progress.add(1)

    held = shown(bot, lease_until=timezone.now() + SOON)
    assert held.reason == f"Catching up: {connection_of(bot).caught_up:,} events so far."
    assert bot.events.filter(kind=Kind.CONNECTION_CHANGED).count() == 1


def test_a_poll_that_takes_long_is_not_called_gone():
    bot = make_bot(receive=Receive.POLL)
    then = timezone.now() - states.POLL_OVERDUE * 2

    polling = shown(
        bot, state=State.CATCHING_UP, not_before=then, lease_until=timezone.now() + SOON
    )
    gone = shown(bot, lease_until=timezone.now() + AGO)

    assert (polling.state, gone.state) == (State.CATCHING_UP, State.STALE)


def test_a_step_is_not_written_over_an_end_that_came_first():
    bot = make_bot()
    row = connection_of(bot)
    states.move(row, State.RECONNECTING, fence=row.fence, reason="It broke.")

    assert not states.move(row, State.LIVE, fence=row.fence, only_from=State.CATCHING_UP)

    assert connection_of(bot).state == State.RECONNECTING


def test_live_is_shown_only_while_somebody_holds_the_lease():
    bot = make_bot()
    now = timezone.now()

    held = shown(bot, state=State.LIVE, reason="All is well.", lease_until=now + SOON)
    silent = shown(bot, lease_until=now + AGO)
    given_back = shown(bot, lease_until=None)

    assert (held.state, held.reason) == (State.LIVE, "All is well.")
    assert silent.state == State.STALE
    assert silent.since == now + AGO
    assert silent.next_step
    assert given_back.state == State.STARTING
    assert "Waiting" in given_back.reason


@pytest.mark.parametrize("written", [s for s in State if s != State.BAD_CREDENTIALS])
def test_no_state_outlives_its_holder(written):
    bot = make_bot()

    seen = shown(bot, state=written, lease_until=timezone.now() + AGO)

    assert seen.state in (State.STALE, State.STARTING)


def test_a_bot_that_is_switched_off_or_only_sends_is_off():
    bot = make_bot()
    lifecycle.stop(bot)
    assert shown(bot, state=State.LIVE).state == State.OFF

    sender = make_bot("sender", receive=Receive.OFF)
    seen = shown(sender, state=State.LIVE)
    assert (seen.state, seen.next_step) == (State.OFF, "")


def test_refused_credentials_are_shown_until_they_are_changed():
    bot = make_bot()
    states.refuse(bot, CredentialsRefused("The password is another one."))

    seen = shown(bot)
    assert (seen.state, seen.reason) == (State.BAD_CREDENTIALS, "The password is another one.")
    assert "Set new credentials" in seen.next_step

    lifecycle.set_credentials(bot, {"secret": "better"}, user=None)
    assert shown(bot).state == State.STARTING


def test_settings_that_cannot_work_are_shown_although_nobody_holds_the_connection():
    bot = make_bot()

    states.refuse(bot, Misconfigured("There is no such platform."))

    assert shown(bot).state == State.MISCONFIGURED


def test_a_polled_bot_is_live_until_polls_are_overdue():
    bot = make_bot(receive=Receive.POLL)
    now = timezone.now()

    in_time = shown(bot, state=State.LIVE, not_before=now + SOON)
    overdue = shown(bot, not_before=now - timedelta(minutes=2))

    assert in_time.state == State.LIVE
    assert overdue.state == State.STALE


def test_each_change_is_told_once():
    bot = make_bot()
    connection = connection_of(bot)

    for reason in ("Connected.", "Connected.", "Connected again."):
        assert states.move(connection, State.LIVE, fence=connection.fence, reason=reason)

    told = bot.events.filter(kind=Kind.CONNECTION_CHANGED).order_by("pk")
    assert [(e.data["was"], e.data["state"], e.data["reason"]) for e in told] == [
        ("off", "live", "Connected."),
        ("live", "live", "Connected again."),
    ]


def test_the_time_of_a_state_begins_when_it_changes():
    bot = make_bot()
    connection = connection_of(bot)
    states.move(connection, State.LIVE, fence=connection.fence, reason="Connected.")
    began = connection_of(bot).since

    states.move(connection, State.LIVE, fence=connection.fence, reason="Still.")

    assert connection_of(bot).since == began


def test_who_lost_the_lease_writes_no_state():
    bot = make_bot()
    connection = connection_of(bot)
    Connection.objects.filter(bot=bot).update(fence=connection.fence + 1)

    assert not states.move(connection, State.LIVE, fence=connection.fence)

    assert connection_of(bot).state == State.OFF
    assert not bot.events.filter(kind=Kind.CONNECTION_CHANGED).exists()


def test_a_reason_is_written_without_secrets_and_fit_for_the_database():
    bot = make_bot()

    states.move(bot.connection, State.RECONNECTING, fence=None, reason=f"\x00 \ud83d {SECRET}")

    assert Connection.objects.get(bot=bot).reason == "\ufffd ? [removed]"
