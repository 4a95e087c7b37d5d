"""The supervisor with real threads on the local platform: held, healed, handed over, never deaf."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from bots import clients, closing, inbox, lifecycle
from bots.connections import intake, states
from bots.connections.supervisor import OPENING_PER_HOST, Supervisor
from bots.models import Bot, Connection, Process, State
from bots.processes import own_name
from bots.tests.builders import SECRET, join, make_bot, make_channel, make_person, make_space
from spaces.models import Channel, LocalEvent, Space
from spaces.platforms.errors import Misconfigured, Unavailable
from spaces.platforms.messages import (
    Batch,
    Incoming,
    Kind,
    MessageReactions,
    Outgoing,
    PersonInfo,
    Reaction,
)
from spaces.testing import faulty

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE = 60.0
TICK_SECONDS = 0.05
LEASE = timedelta(seconds=2)
FAR = timedelta(hours=1)


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    """Starts supervisors that are quick, and stops them at the end."""
    running: list[Supervisor] = []

    def run(limit: int = 100, lease: timedelta = LEASE) -> Supervisor:
        running.append(Supervisor(limit, tick_seconds=TICK_SECONDS, lease=lease))
        running[-1].start()
        return running[-1]

    yield run
    for one in running:
        one.stop(DEADLINE)
        assert not one.alive
    faulty.reset()
    clients.close_idle(older_than=0)
    until(lambda: not any(t.name == "local-hub" for t in threading.enumerate()))


@pytest.fixture
def shaky() -> Space:
    """A space that fails on command and is tried again soon."""
    options = {"reconnect_first_seconds": 0.1, "reconnect_longest_seconds": 1}
    return make_space("shaky", platform="faulty", options=options)


@dataclass
class Fetching:
    """A bot that is held up while it fetches what it missed; a witness hears what is said."""

    bot: Bot
    witness: Bot
    gate: threading.Event

    def hear(self, *texts: str) -> None:
        say(self.bot, *texts)
        until(lambda: (texts[-1], False) in heard(self.witness))


@pytest.fixture
def fetching(supervise: Callable[..., Supervisor], shaky: Space) -> Iterator[Fetching]:
    witness, bot = make_bot("witness", space=shaky), make_bot(space=shaky)
    say(bot)
    join(witness, Channel.objects.get(space=shaky, name="lobby"))
    supervise(lease=FAR)  # a witness that lost its lease would be held up in place of the bot
    for one in (witness, bot):
        until_shown(one, State.LIVE)
    lifecycle.stop(bot)
    until_shown(bot, State.OFF)
    until(lambda: connection_of(bot).lease_until is None)
    say(bot, "missed")
    gate, started = threading.Event(), threading.Event()
    faulty.script(faulty.held(gate, started), operation="catch_up")
    lifecycle.start(bot)
    assert started.wait(DEADLINE)
    yield Fetching(bot, witness, gate)
    gate.set()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def connection_of(bot: Bot) -> Connection:
    return Connection.objects.get(bot=bot)


def shown(bot: Bot) -> states.Shown:
    return states.shown(Bot.objects.select_related("connection").get(pk=bot.pk))


def until_shown(bot: Bot, state: State) -> states.Shown:
    until(lambda: shown(bot).state == state)
    return shown(bot)


def until_ticked(times: int = 3) -> None:
    """Until the supervisor has looked at everything this often."""
    seen: set[object] = set()
    own = Process.objects.filter(name=own_name()).values_list("seen_at", flat=True)
    until(lambda: seen.update(own.all()) or len(seen) > times)


def say(bot: Bot, *texts: str) -> None:
    """Alice says something in the lobby, where the bot is."""
    alice = make_person("alice", space=bot.space)
    lobby = Channel.objects.filter(space=bot.space, name="lobby").first()
    if lobby is None:
        lobby = make_channel(bot, "lobby", people=["alice"])
    for text in texts:
        alice.post_message(Outgoing(key="", channel=lobby.remote_id, text=text))


def heard(bot: Bot) -> list[tuple[str, bool]]:
    """The words that are stored as events, in order, and whether they were fetched later."""
    told = bot.events.filter(kind=Kind.MESSAGE_POSTED).order_by("pk")
    return [(event.data["message"]["text"], event.catch_up) for event in told]


def texts_of(bot: Bot) -> list[str]:
    return [text for text, _ in heard(bot)]


def was(bot: Bot) -> list[str]:
    """The states that events told of, in order."""
    told = bot.events.filter(kind=Kind.CONNECTION_CHANGED).order_by("pk")
    return [event.data["state"] for event in told]


def logins() -> int:
    return sum(call.operation == "connect" for call in faulty.calls)


# Receiving --------------------------------------------------------------------------------------


def test_a_bot_that_is_on_goes_live_and_hears_what_is_said(supervise):
    bot = make_bot()
    say(bot)

    supervise()
    until_shown(bot, State.LIVE)
    say(bot, "hello", "world")

    until(lambda: heard(bot) == [("hello", False), ("world", False)])
    assert was(bot) == ["starting", "catching_up", "live"]
    row = connection_of(bot)
    assert row.last_event_at
    assert row.last_ok_at
    until(lambda: connection_of(bot).cursor == {"seq": LocalEvent.objects.latest("seq").seq})


def test_what_was_said_while_it_was_away_is_fetched_once(supervise):
    bot = make_bot()
    say(bot)
    first = supervise()
    until_shown(bot, State.LIVE)
    first.stop(DEADLINE)

    say(bot, *[f"away {n}" for n in range(450)])
    supervise()
    until_shown(bot, State.LIVE)
    say(bot, "back")

    until(lambda: ("back", False) in heard(bot))
    assert heard(bot) == [*[(f"away {n}", True) for n in range(450)], ("back", False)]
    assert connection_of(bot).caught_up >= 450


def test_what_arrives_during_the_catch_up_is_stored_after_it(fetching):
    fetching.hear("meanwhile", "and more")
    fetching.gate.set()

    until_shown(fetching.bot, State.LIVE)
    until(lambda: len(heard(fetching.bot)) == 3)
    assert texts_of(fetching.bot) == ["missed", "meanwhile", "and more"]


def test_more_than_can_wait_for_the_catch_up_is_fetched_in_its_place(fetching, monkeypatch):
    monkeypatch.setattr(intake, "MOST_EARLY", 2)
    texts = [f"meanwhile {n}" for n in range(5)]

    fetching.hear(*texts)
    fetching.gate.set()

    until_shown(fetching.bot, State.LIVE)
    fetching.hear("later")
    until(lambda: ("later", False) in heard(fetching.bot))
    assert texts_of(fetching.bot) == ["missed", *texts, "later"]


def test_who_lets_go_in_the_middle_of_a_catch_up_stores_nothing_later_than_it(fetching):
    fetching.hear("meanwhile")

    lifecycle.reconnect(fetching.bot)
    until(lambda: connection_of(fetching.bot).lease_until is None)
    fetching.gate.set()

    until_shown(fetching.bot, State.LIVE)
    assert texts_of(fetching.bot) == ["missed", "meanwhile"]


def test_fifty_bots_go_live(supervise):
    bots = [make_bot(f"bot-{n}") for n in range(50)]

    one = supervise()

    until(lambda: Connection.objects.filter(state=State.LIVE).count() == len(bots))
    assert len(one) == len(bots)


# Switching and changing -------------------------------------------------------------------------


def test_stopped_it_hears_nothing_until_it_is_started_again(supervise):
    bot = make_bot()
    say(bot)
    one = supervise()
    until_shown(bot, State.LIVE)

    lifecycle.stop(bot)
    until(lambda: connection_of(bot).lease_until is None)
    assert len(one) == 0
    assert (connection_of(bot).state, connection_of(bot).holder) == (State.OFF, "")
    say(bot, "anybody there?")
    until_ticked()
    assert heard(bot) == []

    lifecycle.start(bot)
    until_shown(bot, State.LIVE)
    assert heard(bot) == [("anybody there?", True)]


def test_stopping_some_leaves_the_others_where_they_are(supervise):
    bots = [make_bot(f"bot-{n}") for n in range(10)]
    supervise(lease=FAR)
    for bot in bots:
        until_shown(bot, State.LIVE)

    for bot in bots[1:]:
        lifecycle.stop(bot)
        until(lambda bot=bot: connection_of(bot).lease_until is None)

    assert connection_of(bots[0]).fence == 1  # nobody took it up anew


def test_changed_settings_make_it_connect_anew(supervise, shaky):
    bot = make_bot(space=shaky)
    supervise()
    until_shown(bot, State.LIVE)
    before = logins()

    lifecycle.reconnect(bot)

    until(lambda: connection_of(bot).generation == bot.generation)
    until_shown(bot, State.LIVE)
    assert logins() == before + 1


def test_refused_credentials_are_tried_once_and_again_after_a_change(supervise, shaky):
    bot = make_bot(space=shaky)
    lifecycle.set_credentials(bot, {"secret": "wrong"}, user=None)
    faulty.reset()
    one = supervise()

    seen = until_shown(bot, State.BAD_CREDENTIALS)
    assert "password" in seen.reason
    assert "Set new credentials" in seen.next_step
    until(lambda: len(one) == 0)
    until_ticked(5)
    assert logins() == 1

    lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
    until_shown(bot, State.LIVE)
    assert logins() == 2


def test_wrong_settings_heal_by_themselves_when_the_other_side_is_put_right(supervise, shaky):
    bot = make_bot(space=shaky)
    wrong = Misconfigured("The server has no such API.", next_step="Ask its administrator.")
    faulty.script(faulty.before(wrong), operation="connect")

    supervise()

    until(lambda: "misconfigured" in was(bot))
    until_shown(bot, State.LIVE)
    told = bot.events.get(kind=Kind.CONNECTION_CHANGED, data__state="misconfigured").data
    assert told["reason"] == "The server has no such API."
    assert told["next_step"] == "Ask its administrator."


# Failing ----------------------------------------------------------------------------------------


def test_a_platform_that_is_away_is_tried_until_it_is_back(supervise, shaky):
    bot = make_bot(space=shaky)
    away = faulty.before(Unavailable("Nobody there."))
    faulty.script(*[away] * 3, operation="open_stream")

    supervise()

    until(lambda: connection_of(bot).attempts == 3)
    until_shown(bot, State.LIVE)
    assert connection_of(bot).attempts == 0
    # It was never live: it starts, and why it does not get on is told once.
    assert was(bot) == ["starting", "starting", "catching_up", "live"]
    told = bot.events.filter(kind=Kind.CONNECTION_CHANGED).order_by("pk")
    assert told[1].data["reason"] == "Nobody there."


def test_what_was_lost_stays_lost_since_then_however_often_it_is_tried(supervise, shaky):
    bot = make_bot(space=shaky)
    opened: list[Any] = []
    faulty.script(lambda do: opened.append(do()) or opened[-1], operation="open_stream")
    supervise()
    until_shown(bot, State.LIVE)
    until(lambda: was(bot) == ["starting", "catching_up", "live"])
    back = threading.Event()
    away = faulty.before(Unavailable("Nobody there."))
    faulty.script(*[away] * 3, faulty.held(back), operation="open_stream")

    opened[0].end()

    until(lambda: connection_of(bot).attempts == 4)
    lost = bot.events.filter(kind=Kind.CONNECTION_CHANGED, data__was="live").get()
    seen = shown(bot)
    assert (seen.state, seen.reason) == (State.RECONNECTING, "Nobody there.")
    assert abs(seen.since - lost.occurred_at) < timedelta(seconds=1)
    back.set()
    until_shown(bot, State.LIVE)
    # Why it was lost, why it does not come back, and that it is back.
    assert was(bot)[3:] == ["reconnecting", "reconnecting", "catching_up", "live"]


def test_a_stream_that_breaks_is_replaced_and_nothing_is_missed(supervise, shaky):
    bot = make_bot(space=shaky)
    say(bot)
    opened: list[Any] = []
    faulty.script(lambda do: opened.append(do()) or opened[-1], operation="open_stream")
    supervise()
    until_shown(bot, State.LIVE)

    opened[0].end()
    say(bot, "said into the hole")

    until(lambda: [text for text, _ in heard(bot)] == ["said into the hole"])
    until(lambda: was(bot)[3:] == ["reconnecting", "catching_up", "live"])


def test_a_deaf_connection_is_found_called_stale_and_healed(supervise, shaky):
    bot = make_bot(space=shaky)
    say(bot)

    def deaf(do):
        stream = do()
        stream.heartbeat_seconds = 0.1
        stream.beat = lambda: None  # asks nobody, so nobody answers
        return stream

    faulty.script(deaf, operation="open_stream")
    supervise()

    until(lambda: "stale" in was(bot))
    until_shown(bot, State.LIVE)
    say(bot, "hello again")
    until(lambda: [text for text, _ in heard(bot)] == ["hello again"])


def test_a_platform_that_breaks_while_fetching_starts_over(supervise, shaky):
    bot = make_bot(space=shaky)
    say(bot)
    first = supervise()
    until_shown(bot, State.LIVE)
    first.stop(DEADLINE)
    say(bot, "one", "two")
    faulty.script(
        faulty.before(Unavailable("Not now.")),
        faulty.after(KeyError("a bug")),
        operation="catch_up",
    )

    supervise()

    until_shown(bot, State.LIVE)
    assert heard(bot) == [("one", True), ("two", True)]


def test_a_platform_that_went_away_harms_nobody_else(supervise):
    lost, bot = make_bot("lost", space=make_space("gone")), make_bot()
    Space.objects.filter(slug="gone").update(platform="uninstalled")

    supervise()

    until_shown(bot, State.LIVE)
    seen = until_shown(lost, State.MISCONFIGURED)
    assert "uninstalled" in seen.reason
    assert connection_of(lost).lease_until is None


def test_only_a_few_are_opened_at_once_on_one_host(supervise, shaky):
    bots = [make_bot(f"bot-{n}", space=shaky) for n in range(3 * OPENING_PER_HOST)]
    lock, full = threading.Lock(), threading.Event()
    busy, most = 0, 0

    def counted(do):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            if busy == OPENING_PER_HOST:
                full.set()
        assert full.wait(DEADLINE)
        try:
            return do()
        finally:
            with lock:
                busy -= 1

    faulty.script(*[counted] * len(bots), operation="connect")
    supervise()

    until(lambda: Connection.objects.filter(state=State.LIVE).count() == len(bots))
    assert most == OPENING_PER_HOST


def test_hosts_that_hang_keep_no_other_from_being_opened(supervise):
    hanging = [make_space(f"hanging-{n}", platform="faulty") for n in range(4)]
    for space in hanging:
        for n in range(OPENING_PER_HOST):
            make_bot(f"{space.slug}-{n}", space=space)
    gate, before = threading.Event(), logins()
    faulty.script(*[faulty.held(gate)] * 16, operation="connect")
    try:
        supervise()
        until(lambda: logins() - before >= 3 * OPENING_PER_HOST)
        until_ticked()

        until_shown(make_bot("healthy"), State.LIVE)
    finally:
        gate.set()


def test_a_platform_that_hangs_or_fails_at_its_goodbye_holds_up_nobody(
    supervise, shaky, monkeypatch, caplog
):
    gate, closing_now = threading.Event(), threading.Event()
    bot, other = make_bot("hanging", space=shaky), make_bot("other")
    say(other)
    clients.close_idle(older_than=0)
    supervise()
    until_shown(bot, State.LIVE)
    until_shown(other, State.LIVE)

    def hang(platform: faulty.Faulty) -> None:
        closing_now.set()
        gate.wait(DEADLINE)
        raise RuntimeError("no goodbye")

    monkeypatch.setattr(faulty.Faulty, "close", hang)
    with caplog.at_level(logging.CRITICAL, "bots.closing"):
        lifecycle.stop(bot)
        try:
            assert closing_now.wait(DEADLINE)
            until_ticked()
            say(other, "still here")
            until(lambda: heard(other) == [("still here", False)])
        finally:
            gate.set()
            closing.wait(DEADLINE)


def test_reactions_that_came_while_it_was_away_are_told(supervise, shaky):
    bot = make_bot(space=shaky)
    say(bot)
    supervise()
    until_shown(bot, State.LIVE)
    say(bot, "nice")
    until(lambda: heard(bot) == [("nice", False)])
    message, now = bot.messages.get(), timezone.now()
    assert message.reactions == []
    counted = MessageReactions(
        channel_id=message.channel.remote_id,
        message_id=message.remote_id,
        reactions=(Reaction(person=PersonInfo(id="x", username="x"), name="tada", added_at=now),),
        since=now,
    )
    batch = Batch(incoming=(), cursor=connection_of(bot).cursor, reactions=(counted,))
    faulty.script(lambda do: iter([batch]), operation="catch_up")

    lifecycle.reconnect(bot)

    until(lambda: bot.events.filter(kind=Kind.REACTION_ADDED, catch_up=True).count() == 1)


# Leases -----------------------------------------------------------------------------------------


def test_a_dead_holders_bot_is_taken_over_and_what_it_still_brings_is_refused(supervise):
    bot = make_bot()
    soon = timezone.now() + timedelta(seconds=0.5)
    Connection.objects.filter(bot=bot).update(
        holder="dead", lease_until=soon, fence=41, state=State.LIVE
    )

    supervise()

    until(lambda: connection_of(bot).holder == own_name())
    assert timezone.now() >= soon
    until_shown(bot, State.LIVE)
    row = connection_of(bot)
    assert row.fence == 42
    late = inbox.Received(
        connection_id=row.pk,
        bot_id=bot.pk,
        space_id=bot.space_id,
        fence=41,
        incoming=[Incoming(kind=Kind.TYPING, id="late", occurred_at=soon)],
    )
    assert inbox.receive([late]) == {(row.pk, 41)}
    assert not bot.events.filter(dedupe_key="late").exists()


def test_a_dead_holders_bot_is_not_called_live_while_it_waits_to_be_opened(supervise, shaky):
    bots = [make_bot(f"bot-{n}", space=shaky) for n in range(OPENING_PER_HOST + 1)]
    Connection.objects.update(holder="dead", lease_until=timezone.now(), state=State.LIVE)
    gate = threading.Event()
    faulty.script(*[faulty.held(gate)] * OPENING_PER_HOST, operation="connect")
    try:
        supervise()

        until(lambda: Connection.objects.filter(holder=own_name()).count() == len(bots))
        until(lambda: {shown(bot).state for bot in bots} == {State.STARTING})
    finally:
        gate.set()


def test_nobody_takes_what_a_living_holder_has(supervise):
    bot = make_bot()
    Connection.objects.filter(bot=bot).update(holder="alive", lease_until=timezone.now() + FAR)

    one = supervise()

    until_ticked(3)
    assert len(one) == 0
    assert connection_of(bot).holder == "alive"


def test_who_finds_that_another_has_taken_over_lets_go(supervise):
    bot = make_bot()
    say(bot)
    one = supervise()
    until_shown(bot, State.LIVE)

    Connection.objects.filter(bot=bot).update(
        holder="another", fence=F("fence") + 1, lease_until=timezone.now() + FAR
    )

    until(lambda: len(one) == 0)
    say(bot, "not for us")
    until_ticked(3)
    assert heard(bot) == []
    assert connection_of(bot).holder == "another"


def test_a_lease_that_nobody_remembers_runs_out(supervise):
    bot = make_bot()
    soon = timezone.now() + timedelta(seconds=0.5)
    Connection.objects.filter(bot=bot).update(holder=own_name(), lease_until=soon, fence=7)

    supervise()

    until_shown(bot, State.LIVE)
    assert connection_of(bot).fence == 8


def test_leases_are_renewed_as_long_as_the_holder_lives(supervise):
    bot = make_bot()
    supervise()
    until_shown(bot, State.LIVE)
    first = connection_of(bot)

    until(lambda: connection_of(bot).lease_until > first.lease_until + LEASE)

    assert connection_of(bot).fence == first.fence
    assert was(bot)[-1] == "live"


def test_stopping_gives_everything_back(supervise):
    bot = make_bot()
    one = supervise()
    until_shown(bot, State.LIVE)

    one.stop(DEADLINE)

    row = connection_of(bot)
    assert (row.holder, row.lease_until, row.state) == ("", None, State.STARTING)
    assert row.reason == "The process that held it was stopped."
    assert not Process.objects.filter(name=own_name()).exists()


def test_stopping_does_not_wait_for_a_platform_that_hangs(supervise, shaky):
    bot, hanging = make_bot("echo"), make_bot("hanging", space=shaky)
    gate, started = threading.Event(), threading.Event()
    faulty.script(faulty.held(gate, started), operation="connect")
    one = supervise()
    until_shown(bot, State.LIVE)
    assert started.wait(DEADLINE)

    stopping = threading.Thread(target=one.stop, args=(DEADLINE,))
    stopping.start()

    until(lambda: not Connection.objects.exclude(holder="").exists())
    assert connection_of(hanging).lease_until is None
    gate.set()
    stopping.join(DEADLINE)


def test_each_process_holds_its_share(supervise):
    bots = [make_bot(f"bot-{n}") for n in range(6)]
    Process.objects.create(name="other", seen_at=timezone.now() + FAR, connections=10)

    one = supervise(limit=10)

    until(lambda: len(one) == 3)
    until_ticked(3)
    assert len(one) == 3

    Process.objects.filter(name="other").delete()
    until(lambda: len(one) == len(bots))


def test_who_joins_is_handed_a_share(supervise):
    bots = [make_bot(f"bot-{n}") for n in range(6)]
    one = supervise(limit=10)
    until(lambda: Connection.objects.filter(state=State.LIVE).count() == len(bots))

    Process.objects.create(name="other", seen_at=timezone.now() + FAR, connections=10)

    free = Connection.objects.filter(holder="", lease_until=None)
    until(lambda: free.count() == 3)
    assert len(one) == 3
    assert {row.reason for row in free} == {"Handed over to another process."}


def test_it_holds_no_more_than_it_may(supervise, caplog):
    for number in range(4):
        make_bot(f"bot-{number}")

    one = supervise(limit=3)
    until(lambda: len(one) == 3)
    until_ticked(3)
    assert len(one) == 3
    one.stop(DEADLINE)

    with caplog.at_level(logging.ERROR):
        none = supervise(limit=0)
        until(lambda: Process.objects.filter(name=own_name()).exists())
        until_ticked(3)
    assert len(none) == 0
    assert caplog.records == []


def test_a_bot_that_is_deleted_is_dropped(supervise):
    bot, other = make_bot(), make_bot("other")
    one = supervise()
    for each in (bot, other):
        until_shown(each, State.LIVE)

    bot.delete()

    until(lambda: len(one) == 1)
    assert shown(other).state == State.LIVE
