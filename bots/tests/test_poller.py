"""Polling: who is due is asked, under the lease, and what went wrong decides when again."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import repeat, takewhile

import pytest
from django.utils import timezone

from bots import clients, lifecycle, tasks
from bots.bulkhead import bulkhead
from bots.connections import poller, states
from bots.models import Bot, Connection, Receive, State
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_person,
    make_space,
    take_queued,
)
from spaces.models import Space
from spaces.platforms.errors import CredentialsRefused, RateLimited, Unavailable
from spaces.platforms.messages import (
    Batch,
    Kind,
    MessageReactions,
    Outgoing,
    PersonInfo,
    Reaction,
)
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean():
    queued()
    yield
    faulty.reset()
    clients.close_idle(older_than=0)


@pytest.fixture
def bot() -> Bot:
    """A bot that is polled, in a space that fails on command."""
    return make_bot(space=make_space(platform="faulty"), receive=Receive.POLL)


def connection_of(bot: Bot) -> Connection:
    return Connection.objects.get(bot=bot)


def wait_of(bot: Bot) -> float:
    """Seconds until the next poll, rounded."""
    not_before = connection_of(bot).not_before
    assert not_before
    return round((not_before - timezone.now()).total_seconds())


def posted(bot: Bot) -> list[str]:
    told = bot.events.filter(kind=Kind.MESSAGE_POSTED).order_by("pk")
    return [event.data["message"]["text"] for event in told]


def say(bot: Bot, *texts: str) -> None:
    lobby = make_channel(bot, people=["alice"]) if not bot.space.channels.exists() else None
    alice = make_person("alice", space=bot.space)
    room = lobby.remote_id if lobby else bot.space.channels.get().remote_id
    for text in texts:
        alice.post_message(Outgoing(key="", channel=room, text=text))


def calls(operation: str) -> int:
    return sum(call.operation == operation for call in faulty.calls)


def queued() -> list[int]:
    """The bots whose polls wait in the broker, which forgets them."""
    return [bot_id for (bot_id,) in take_queued(tasks.poll_bot)]


def test_the_first_poll_begins_now_and_later_ones_bring_what_came_since(bot):
    say(bot, "before anybody listened")
    poller.poll(bot.pk)
    assert posted(bot) == []

    say(bot, "one", "two")
    poller.poll(bot.pk)
    poller.poll(bot.pk)

    assert posted(bot) == ["one", "two"]
    assert set(bot.events.filter(kind=Kind.MESSAGE_POSTED).values_list("catch_up")) == {(False,)}
    row = connection_of(bot)
    assert (row.state, row.holder, row.lease_until) == (State.LIVE, "", None)
    assert row.reason == "Polled every 5 s."


def test_the_position_moves_with_what_was_fetched(bot):
    poller.poll(bot.pk)
    before = connection_of(bot).cursor["seq"]

    say(bot, "one")
    poller.poll(bot.pk)

    assert connection_of(bot).cursor["seq"] > before


def test_the_operator_says_how_often(bot):
    bot.options = {"poll_seconds": 40}
    bot.save()

    poller.poll(bot.pk)

    assert wait_of(bot) == 40
    assert connection_of(bot).reason == "Polled every 40 s."


def test_only_bots_that_are_due_are_queued_and_each_once(bot):
    make_bot("listener")
    make_bot("sleeper", receive=Receive.POLL, enabled=False)
    later = make_bot("later", receive=Receive.POLL)
    for one in (bot, later):
        poller.poll(one.pk)
    Connection.objects.filter(bot=bot).update(not_before=timezone.now())

    assert poller.queue_due() == 1
    assert poller.queue_due() == 0

    assert queued() == [bot.pk]


def test_nobody_is_asked_while_somebody_else_holds_the_lease(bot):
    until = timezone.now() + timedelta(seconds=30)
    Connection.objects.filter(bot=bot).update(holder="another", lease_until=until, fence=7)
    faulty.reset()

    assert poller.queue_due() == 0
    poller.poll(bot.pk)

    assert calls("catch_up") == calls("start_cursor") == 0
    assert connection_of(bot).fence == 7


def test_a_lease_that_ran_out_is_taken_over(bot):
    ago = timezone.now() - timedelta(seconds=1)
    Connection.objects.filter(bot=bot).update(holder="another", lease_until=ago, fence=7)

    poller.poll(bot.pk)

    assert connection_of(bot).state == State.LIVE
    assert connection_of(bot).fence == 8


def test_a_bot_that_is_not_to_be_polled_is_not(bot):
    lifecycle.stop(bot)
    faulty.reset()

    poller.poll(bot.pk)

    assert faulty.calls == []


def test_failures_are_told_and_tried_less_and_less_often(bot):
    Bot.objects.filter(pk=bot.pk).update(options={"poll_seconds": 1})
    Space.objects.update(options={"reconnect_longest_seconds": 3600})
    poller.poll(bot.pk)
    faulty.script(*[faulty.before(Unavailable("Nobody there."))] * 12, operation="catch_up")
    faulty.script(*[faulty.ok()] * 20, operation="connect")

    longest = 0.0
    for _ in range(12):
        poller.poll(bot.pk)
        longest = max(longest, wait_of(bot))

    row = connection_of(bot)
    assert (row.state, row.reason, row.attempts) == (State.RECONNECTING, "Nobody there.", 12)
    assert longest > 5  # of up to 2,048 s by then, at random

    poller.poll(bot.pk)
    assert (connection_of(bot).state, connection_of(bot).attempts) == (State.LIVE, 0)


def test_a_limit_is_obeyed(bot):
    poller.poll(bot.pk)
    faulty.script(faulty.before(RateLimited("Slowly.", retry_after=90)), operation="catch_up")

    poller.poll(bot.pk)

    assert wait_of(bot) == 90


def test_a_fault_in_the_platforms_code_is_not_shown_as_live(bot, caplog):
    poller.poll(bot.pk)
    faulty.script(faulty.before(KeyError("a bug")), operation="catch_up")

    with caplog.at_level(logging.CRITICAL, "bots.connections.poller"):
        poller.poll(bot.pk)

    row = connection_of(bot)
    assert (row.state, row.reason) == (State.RECONNECTING, "An internal error (KeyError).")
    assert row.lease_until is None


def test_refused_credentials_are_not_tried_again_until_they_are_changed(bot):
    lifecycle.set_credentials(bot, {"secret": "wrong"}, user=None)
    poller.poll(bot.pk)
    faulty.reset()

    assert poller.queue_due() == 0
    poller.poll(bot.pk)
    assert calls("connect") == 0
    row = connection_of(bot)
    assert row.state == State.BAD_CREDENTIALS
    assert "Set new credentials" in row.next_step

    lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
    assert poller.queue_due() == 1  # at once
    poller.poll(bot.pk)
    assert connection_of(bot).state == State.LIVE


def test_a_platform_that_is_not_installed_any_more_is_told_and_asked_slowly(bot):
    Space.objects.update(platform="gone")

    poller.poll(bot.pk)

    row = connection_of(bot)
    assert row.state == State.MISCONFIGURED
    assert "gone" in row.reason
    assert wait_of(bot) == 60
    shown = states.shown(Bot.objects.select_related("connection").get(pk=bot.pk))
    assert shown.state == State.MISCONFIGURED


def test_a_bot_that_holds_its_share_of_the_threads_waits_for_its_next_turn(bot):
    threads = bulkhead()
    entered = list(takewhile(threads.enter_poll, repeat(bot)))
    try:
        poller.poll(bot.pk)
        assert calls("start_cursor") == 0
    finally:
        for one in entered:
            threads.leave_poll(one)

    poller.poll(bot.pk)
    assert connection_of(bot).state == State.LIVE


def test_a_poll_that_brings_much_is_shown_as_catching_up(bot):
    poller.poll(bot.pk)
    say(bot, *(f"missed {n}" for n in range(poller.MANY)))
    seen = []

    def watched(do):
        for batch in do():
            yield batch
            row = connection_of(bot)  # the batch is stored by now
            seen.append((row.state, row.caught_up > 0))

    faulty.script(watched, operation="catch_up")
    poller.poll(bot.pk)

    assert seen[-1] == (State.CATCHING_UP, True)
    row = connection_of(bot)
    assert (row.state, row.caught_up >= poller.MANY) == (State.LIVE, True)
    states_told = bot.events.filter(kind=Kind.CONNECTION_CHANGED).order_by("pk")
    assert [event.data["state"] for event in states_told] == ["live", "catching_up", "live"]


def test_reactions_that_a_poll_counts_up_are_compared(bot):
    poller.poll(bot.pk)
    say(bot, "nice")
    poller.poll(bot.pk)
    message = bot.messages.get(text="nice")
    now = timezone.now()
    tada = Reaction(person=PersonInfo(id="alice", username="alice"), name="tada", added_at=now)
    counted = MessageReactions(
        channel_id=message.channel.remote_id,
        message_id=message.remote_id,
        reactions=(tada,),
        since=now,
    )
    batch = Batch(incoming=(), cursor=connection_of(bot).cursor, reactions=(counted,))
    faulty.script(lambda do: iter([batch]), operation="catch_up")

    poller.poll(bot.pk)

    assert bot.events.filter(kind=Kind.REACTION_ADDED).count() == 1
    message.refresh_from_db()
    assert message.reactions == [{"person": "alice", "name": "tada"}]


def test_a_poll_that_ends_well_hides_no_refusal_that_came_meanwhile(bot):
    poller.poll(bot.pk)

    def refused_elsewhere(do):
        states.refuse(connection_of(bot).bot, CredentialsRefused("No entry."))
        return do()

    faulty.script(refused_elsewhere, operation="catch_up")
    poller.poll(bot.pk)

    row = connection_of(bot)
    assert (row.state, row.reason) == (State.BAD_CREDENTIALS, "No entry.")
    assert row.lease_until is None


def test_a_poll_that_lost_its_lease_on_the_way_stores_nothing(bot):
    poller.poll(bot.pk)
    say(bot, "one")
    taken_over = Connection.objects.filter(bot=bot)

    def somebody_takes_over(do):
        taken_over.update(fence=99, holder="another")
        return do()

    faulty.script(somebody_takes_over, operation="catch_up")
    poller.poll(bot.pk)

    assert posted(bot) == []
    row = connection_of(bot)
    assert (row.fence, row.holder) == (99, "another")
