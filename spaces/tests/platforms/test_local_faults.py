"""The faults of the local platform: each alone, and all at once within the contract."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from secrets import token_hex

import pytest
from django.db import connection

from spaces.models import Space
from spaces.platforms import _local_faults
from spaces.platforms.contract import Account, Stream, effective_options
from spaces.platforms.errors import OutcomeUnknown, PlatformError, RateLimited, Unavailable
from spaces.platforms.local import Local, person
from spaces.platforms.messages import (
    ChannelInfo,
    ChannelKind,
    Cursor,
    Incoming,
    Kind,
    NewChannel,
    Outgoing,
    PersonRef,
)
from spaces.testing.scene import caught_up, listening, new_key, read_until, texts

# The hub reads in a thread of its own, and sees only what has been committed.
pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_SECONDS = 30
ALWAYS = 100
FEW = 15  # percent
SHORT = 0.05  # seconds


@pytest.fixture
def space() -> Space:
    return Space.objects.create(slug="office", name="Office", platform="local")


@pytest.fixture
def seed() -> str:
    """Printed, so that what went wrong can be had again."""
    seed = os.environ.get("BOTADMIN_TEST_SEED") or token_hex(4)
    print(f"BOTADMIN_TEST_SEED={seed}")  # noqa: T201 - shown when the test fails
    return seed


@pytest.fixture(autouse=True)
def _no_hub_left():
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(thread.name == "local-hub" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a stream was left open"
        time.sleep(0.005)


def make_bot(space: Space, slug: str = "echo", **percents: float | str) -> Local:
    """A bot that meets these faults: `drop=100` is the option `fault_drop_percent`."""
    plain = {"seconds": SHORT, "seed": ""}
    given = {f"fault_{name}": percents.pop(name, value) for name, value in plain.items()}
    given |= {f"fault_{name}_percent": value for name, value in percents.items()}
    options = effective_options(Local, space.options, given)
    credentials = {"secret": "correct horse battery"}
    return Local(
        Account(space=space.slug, url="", bot=slug, options=options, credentials=credentials)
    )


def make_room(space: Space, name: str = "lobby", bot: str = "echo") -> ChannelInfo:
    """A public room where Alice and the bot are; the bot comes to be with it."""
    make_bot(space, bot).connect()
    new = NewChannel(
        key=new_key(), kind=ChannelKind.PUBLIC, name=name, people=(PersonRef(username=bot),)
    )
    return person(space.slug, "alice").create_channel(new)[0]


def say(who: Local, room: ChannelInfo, text: str) -> None:
    who.post_message(Outgoing(key=new_key(), channel=room.id, text=text))


def posted(space: Space, room: ChannelInfo) -> list[str]:
    """Oldest first."""
    return texts(person(space.slug, "alice").history(room.id))[::-1]


# Calls ------------------------------------------------------------------------------------------


def test_a_dropped_call_did_nothing(space):
    room = make_room(space)

    with pytest.raises(Unavailable, match="on purpose"):
        say(make_bot(space, drop=ALWAYS), room, "never")

    assert posted(space, room) == []


def test_a_limited_call_did_nothing_and_is_told_when_to_come_back(space):
    room = make_room(space)

    with pytest.raises(RateLimited) as limited:
        say(make_bot(space, rate_limit=ALWAYS, seconds=7), room, "not yet")

    assert limited.value.retry_after == 7
    assert posted(space, room) == []


def test_a_call_without_an_answer_was_done_and_can_be_found(space):
    room = make_room(space)
    bot, message = make_bot(space, lost_answer=ALWAYS), Outgoing(key="k", channel=room.id, text="t")

    with pytest.raises(OutcomeUnknown):
        bot.post_message(message)

    assert posted(space, room) == ["t"]
    assert bot.find_sent(message)


def test_a_stalled_call_takes_its_time_and_the_lease_is_told(space):
    room = make_room(space)
    bot, usual = make_bot(space, stall=ALWAYS), make_bot(space)
    started = time.monotonic()

    say(bot, room, "at last")

    assert time.monotonic() - started >= SHORT
    assert posted(space, room) == ["at last"]
    assert bot.seconds_for("post_message") == usual.seconds_for("post_message") + SHORT


def test_faults_of_a_space_are_for_its_bots_and_not_for_people(space):
    room = make_room(space)
    space.options = {"fault_drop_percent": ALWAYS}
    space.save()

    say(person(space.slug, "alice"), room, "hello")
    with pytest.raises(Unavailable):
        make_bot(space).connect()
    make_bot(space, drop=0).connect()  # what the bot says wins

    assert posted(space, room) == ["hello"]


def test_the_same_seed_brings_the_same_faults_again(space, seed, monkeypatch):
    def fates() -> list[str]:
        monkeypatch.setattr(_local_faults, "_met", Counter())  # as in a process that just began
        found = []
        for _ in range(40):
            try:
                make_bot(space, seed=seed, drop=30, rate_limit=30).start_cursor()
                found.append("well")
            except PlatformError as error:
                found.append(error.code)
        return found

    first = fates()

    assert fates() == first
    assert len(set(first)) > 1


# Events -----------------------------------------------------------------------------------------


def test_a_dropped_stream_ends_and_catching_up_tells_what_it_did_not(space, seed):
    room, alice = make_room(space), person(space.slug, "alice")
    cursor = make_bot(space).start_cursor()
    stream = opened(make_bot(space, drop=50, seed=seed), cursor)

    def talk_until_it_ends() -> None:
        while True:
            say(alice, room, "still there?")
            stream.receive()

    with closing(stream), pytest.raises(Unavailable):
        talk_until_it_ends()

    told = caught_up(make_bot(space), cursor)
    assert [i.message_id for i in told] == [i.message_id for i in alice.history(room.id)][::-1]


def test_an_event_told_twice_is_the_same_and_moves_no_position(space):
    room, bot = make_room(space), make_bot(space, duplicate=ALWAYS)
    cursor = bot.start_cursor()

    with listening(bot) as heard:
        say(person(space.slug, "alice"), room, "hello")
        first, again = heard(Kind.MESSAGE_POSTED), heard(Kind.MESSAGE_POSTED)

    assert (first.id, first.text) == (again.id, again.text)
    assert (again.cursor, bool(first.cursor)) == ({}, True)
    assert [i.id for i in caught_up(bot, cursor)] == [first.id, first.id]


def test_only_events_of_other_channels_overtake_one_that_is_late(space, seed):
    rooms = [make_room(space, name) for name in ("red", "green", "blue")]
    bot, alice = make_bot(space, reorder=30, duplicate=30, seed=seed), person(space.slug, "alice")
    before = int(bot.start_cursor()["seq"])
    ids: set[str] = set()
    stream = opened(bot, {})
    try:
        for number in range(60):
            say(alice, rooms[number % 3], str(number))
        told = read_until(bot, stream, lambda i: ids.add(i.id) or len(ids) == 60)
    finally:
        stream.close()

    assert_in_order(told)
    assert [i.text for i in told] != sorted((i.text for i in told), key=int)
    heard: set[int] = set()
    for incoming in told:
        heard.add(int(incoming.id))
        assert heard >= set(range(before + 1, 1 + int(incoming.cursor.get("seq", before))))


def test_a_catch_up_in_another_order_keeps_that_of_each_channel(space, seed):
    rooms = [make_room(space, name) for name in ("red", "green", "blue")]
    bot, alice = make_bot(space, reorder=ALWAYS, seed=seed), person(space.slug, "alice")
    cursor = bot.start_cursor()
    for number in range(60):
        say(alice, rooms[number % 3], str(number))

    told = caught_up(bot, cursor)

    assert_in_order(told)
    assert [i.text for i in told] != [str(number) for number in range(60)]
    assert {i.text for i in told} == {str(number) for number in range(60)}


# All at once ------------------------------------------------------------------------------------

ALL = {
    "drop": FEW,
    "stall": FEW,
    "rate_limit": FEW,
    "lost_answer": FEW,
    "duplicate": FEW,
    "reorder": FEW,
}


def test_who_settles_lost_answers_sends_each_message_once_whatever_happens(space, seed):
    room = make_room(space)
    bot = make_bot(space, seed=seed, **ALL)

    for number in range(60):
        send(bot, Outgoing(key=f"key-{number}", channel=room.id, text=str(number)))

    assert posted(space, room) == [str(number) for number in range(60)]


def test_who_goes_on_from_the_last_position_hears_each_event_once_whatever_happens(space, seed):
    rooms = [make_room(space, name) for name in ("red", "green", "blue")]
    cursor = make_bot(space).start_cursor()
    talker = threading.Thread(target=talk, args=(space, rooms, 120))
    talker.start()

    told = follow(make_bot(space, seed=seed, **ALL), cursor, 120)
    talker.join()

    assert_in_order(told)
    assert sorted(int(i.text) for i in told) == list(range(120))


def talk(space: Space, rooms: list[ChannelInfo], quantity: int) -> None:
    try:
        for number in range(quantity):
            say(person(space.slug, "alice"), rooms[number % len(rooms)], str(number))
    finally:
        connection.close()


def send(bot: Local, message: Outgoing) -> None:
    """Until it is known to be there: after a lost answer, ask before repeating."""
    doubtful = False
    while True:
        try:
            if not (doubtful and bot.find_sent(message)):
                bot.post_message(message)
            return
        except OutcomeUnknown:
            doubtful = True
        except (Unavailable, RateLimited):
            pass  # nothing was done


def follow(bot: Local, cursor: Cursor, quantity: int) -> list[Incoming]:
    """The first tellings of so many events, to a reader that keeps to the contract."""
    told: dict[str, Incoming] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(told) < quantity:
        stream = opened(bot, cursor)
        try:
            for batch in bot.catch_up(cursor):
                for incoming in batch.incoming:
                    told.setdefault(incoming.id, incoming)
                cursor = batch.cursor
            while len(told) < quantity:
                assert time.monotonic() < deadline, f"only {len(told)} were told"
                for incoming in brought(bot, stream):
                    told.setdefault(incoming.id, incoming)
                    cursor = {**cursor, **incoming.cursor}
        except PlatformError:
            pass  # as it may; on from where we are
        finally:
            stream.close()
    return list(told.values())


def opened(bot: Local, cursor: Cursor) -> Stream:
    """Tried until it works."""
    while True:
        with suppress(PlatformError):
            return bot.open_stream(cursor)


def brought(bot: Local, stream: Stream) -> Iterator[Incoming]:
    if select.select([stream], [], [], SHORT)[0]:
        for frame in stream.receive():
            yield from bot.decode(frame)


def assert_in_order(told: Iterable[Incoming]) -> None:
    """Within each channel; what is told again does not count."""
    first_tellings: dict[str, str] = {}
    for incoming in told:
        first_tellings.setdefault(incoming.id, incoming.channel_id)
    channels: dict[str, list[int]] = defaultdict(list)
    for id, channel_id in first_tellings.items():
        channels[channel_id].append(int(id))
    assert all(ids == sorted(ids) for ids in channels.values())
