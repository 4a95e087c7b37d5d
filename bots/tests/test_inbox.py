"""The inbox: everything once, positions with their events, and one bad value hurts no other."""

from __future__ import annotations

import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from psycopg.errors import ProgramLimitExceeded

from bots import inbox
from bots.inbox import Inbox, InboxEnded, Received
from bots.models import Bot, Connection, Direction, Event, HandlerRun
from bots.tests.builders import make_bot, make_channel
from spaces.models import Channel, Participant, Person
from spaces.platforms.messages import (
    Card,
    ChannelInfo,
    ChannelKind,
    FileInfo,
    Incoming,
    Kind,
    PersonInfo,
    Presence,
)

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ALICE = PersonInfo(id="alice-id", username="alice", name="Alice")
BOB = PersonInfo(id="bob-id", username="bob", name="Bob")
LOBBY = ChannelInfo(id="lobby-id", kind=ChannelKind.PUBLIC, name="lobby", title="Lobby")
DEADLINE = 60.0


def told(kind: Kind = Kind.MESSAGE_POSTED, id: str = "1", **changes) -> Incoming:
    """What a platform told: Alice's words in the lobby, unless changed."""
    values = {"occurred_at": NOON, "person": ALICE, "channel": LOBBY, "raw": {"id": id}}
    if kind.value.startswith("message."):
        values |= {"message_id": f"m{id}", "text": f"words {id}"}
    return Incoming(**{"kind": kind, "id": id} | values | changes)


def brought(bot: Bot, *incoming: Incoming, **changes) -> Received:
    """What the holder of the bot's connection brought in one go."""
    connection = Connection.objects.get(bot=bot)
    values = {
        "connection_id": connection.pk,
        "bot_id": bot.pk,
        "space_id": bot.space_id,
        "fence": connection.fence,
        "incoming": incoming,
    }
    return Received(**values | changes)


def receive(bot: Bot, *incoming: Incoming, **changes) -> set[tuple[int, int]]:
    return inbox.receive([brought(bot, *incoming, **changes)])


def cursor_of(bot: Bot) -> dict:
    return Connection.objects.get(bot=bot).cursor


def events_of(bot: Bot) -> list[Event]:
    return list(bot.events.order_by("pk"))


# Once -------------------------------------------------------------------------------------------


def test_what_stream_and_catch_up_both_tell_is_stored_once():
    bot = make_bot()

    receive(bot, told(id="1"))
    receive(bot, told(id="1"), told(id="2"), catch_up=True)
    inbox.receive([brought(bot, told(id="3")), brought(bot, told(id="3"), catch_up=True)])

    assert [(e.dedupe_key, e.catch_up) for e in events_of(bot)] == [
        ("1", False),
        ("2", True),
        ("3", False),
    ]
    assert bot.messages.count() == 3


def test_two_bots_hear_the_same_event_each_for_itself():
    bots = [make_bot("echo"), make_bot("scribe")]

    inbox.receive([brought(bot, told()) for bot in bots])

    assert [bot.events.count() for bot in bots] == [1, 1]
    assert [bot.messages.count() for bot in bots] == [1, 1]
    assert Channel.objects.filter(remote_id="lobby-id").count() == 1


def test_ids_that_differ_only_far_at_the_end_are_different_events():
    bot = make_bot()

    receive(bot, told(id="x" * 300 + "1"), told(id="x" * 300 + "2", message_id="other"))

    assert bot.events.count() == 2


# Positions and leases -------------------------------------------------------------------------


def test_the_position_is_stored_with_its_events_and_keeps_other_names():
    bot = make_bot()
    receive(bot, told(id="1"), cursor={"seq": 1, "lobby": "a"})

    receive(bot, told(id="2"), cursor={"seq": 2})

    assert cursor_of(bot) == {"seq": 2, "lobby": "a"}


def test_an_error_in_the_middle_leaves_neither_events_nor_position():
    bot = make_bot()

    with pytest.raises(AttributeError):
        receive(bot, told(id="1"), told(id="2", channel="no channel at all"), cursor={"seq": 2})

    assert cursor_of(bot) == {}
    assert events_of(bot) == []
    assert not Person.objects.filter(remote_id="alice-id").exists()


def test_who_lost_the_lease_stores_nothing_and_is_told():
    bot, other = make_bot("echo"), make_bot("scribe")
    late = brought(bot, told(id="1"), cursor={"seq": 1})
    Connection.objects.filter(bot=bot).update(fence=late.fence + 1)

    lost = inbox.receive([late, brought(other, told(id="1"))])

    assert lost == {(late.connection_id, late.fence)}
    assert events_of(bot) == []
    assert cursor_of(bot) == {}
    assert other.events.count() == 1


def test_the_connection_remembers_when_it_heard_something():
    bot = make_bot()

    receive(bot, cursor={"seq": 1})
    assert Connection.objects.get(bot=bot).last_event_at is None

    receive(bot, told())
    assert Connection.objects.get(bot=bot).last_event_at is not None


# Bad values ------------------------------------------------------------------------------------


def test_an_event_that_cannot_be_stored_becomes_a_gap_and_the_others_are_stored(caplog):
    bot, other = make_bot("echo"), make_bot("scribe")
    bad = told(id="2", raw={"when": object()})

    with caplog.at_level(logging.CRITICAL, "bots.inbox"):
        lost = inbox.store_patiently(
            [
                brought(bot, told(id="1"), bad, told(id="3"), cursor={"seq": 3}),
                brought(other, told(id="1")),
            ]
        )

    assert lost == set()
    kinds = [event.kind for event in events_of(bot)]
    assert kinds == [Kind.MESSAGE_POSTED, Kind.GAP, Kind.MESSAGE_POSTED]
    gap = events_of(bot)[1].data
    assert gap["why"] == "An event could not be stored: TypeError."
    assert cursor_of(bot) == {"seq": 3}
    assert other.events.count() == 1


@pytest.mark.parametrize(
    "changes", [{"kind": "no kind"}, {"person": "nobody"}, {"occurred_at": None}, {"id": None}]
)
def test_whatever_a_platform_hands_over_the_position_moves_on(changes, caplog):
    bot = make_bot()

    with caplog.at_level(logging.CRITICAL, "bots.inbox"):
        bad = replace(told(id="1"), **changes)
        inbox.store_patiently([brought(bot, bad, told(id="2"), cursor={"seq": 2})])

    assert [event.kind for event in events_of(bot)] == [Kind.GAP, Kind.MESSAGE_POSTED]
    assert cursor_of(bot) == {"seq": 2}


def test_a_position_that_cannot_be_stored_stays_behind_its_events(caplog):
    bot = make_bot()

    with caplog.at_level(logging.CRITICAL, "bots.inbox"):
        inbox.store_patiently([brought(bot, told(id="1"), cursor={"seq": object()})])

    assert [event.kind for event in events_of(bot)] == [Kind.MESSAGE_POSTED]
    assert cursor_of(bot) == {}


def test_nul_halves_of_surrogates_and_nan_survive_as_what_can_be_stored():
    bot = make_bot()
    odd = PersonInfo(id="odd-id", username="o\x00dd", name="half \ud83d")
    room = replace(LOBBY, id="room-id", topic="to\x00pic", title="\udc00")
    file = FileInfo(id="f", name="na\x00me", content_type="text/plain", size=1)

    receive(
        bot,
        told(
            text="nul \x00 half \ud83d whole 😀",
            person=odd,
            channel=room,
            card=Card(title="\x00"),
            files=(file,),
            raw={"k\x00ey": ["\ud83d", float("nan")]},
        ),
    )

    event = events_of(bot)[0]
    assert event.data["message"]["text"] == "nul \ufffd half ? whole 😀"
    assert event.raw == {"k\ufffdey": ["?", None]}
    message = bot.messages.get()
    assert message.text == "nul \ufffd half ? whole 😀"
    assert message.files[0]["name"] == "na\ufffdme"
    assert message.sender.name == "half ?"
    assert message.channel.topic == "to\ufffdpic"


# What events do to messages, channels and people ------------------------------------------------


def test_a_message_is_kept_with_all_it_carries():
    bot = make_bot()
    file = FileInfo(id="f1", name="plan.txt", content_type="text/plain", size=3)

    receive(bot, told(card=Card(title="Plan"), files=(file,), thread="m0"))

    message = bot.messages.get()
    assert (message.text, message.thread, message.sent_at) == ("words 1", "m0", NOON)
    assert (message.direction, message.sender.username) == (Direction.IN, "alice")
    assert (message.channel.name, message.card["title"]) == ("lobby", "Plan")
    assert message.files == [
        {"id": "f1", "name": "plan.txt", "content_type": "text/plain", "size": 3}
    ]


def test_edits_and_deletes_reach_the_message_also_in_the_same_batch():
    bot = make_bot()
    later = NOON + timedelta(minutes=1)

    receive(
        bot,
        told(id="1"),
        told(id="2"),
        told(Kind.MESSAGE_EDITED, id="3", message_id="m1", text="better", occurred_at=later),
        told(Kind.MESSAGE_EDITED, id="4", message_id="m1", text="best", occurred_at=later),
        told(Kind.MESSAGE_DELETED, id="5", message_id="m2", occurred_at=later),
        told(Kind.MESSAGE_EDITED, id="6", message_id="unknown", text="whatever"),
    )

    first, second = bot.messages.order_by("pk")
    assert (first.text, first.edited_at, first.deleted_at) == ("best", later, None)
    assert (second.text, second.edited_at, second.deleted_at) == ("words 2", None, later)
    assert bot.events.count() == 6
    assert events_of(bot)[0].data["message"]["text"] == "words 1"


def test_what_another_bot_knows_of_a_message_is_its_own_matter():
    bot, other = make_bot("echo"), make_bot("scribe")
    inbox.receive([brought(b, told(id="1")) for b in (bot, other)])

    receive(bot, told(Kind.MESSAGE_DELETED, id="2", message_id="m1"))

    assert bot.messages.get().deleted_at
    assert other.messages.get().deleted_at is None


def test_a_message_that_is_told_again_in_full_is_completed_without_a_second_event():
    bot = make_bot(handlers=["echo"])
    nameless, file = FileInfo(id="f1", name=""), FileInfo(id="f1", name="plan.txt", size=3)
    full = told(id="1", thread="m0", card=Card(title="Plan"), files=(file,))

    receive(bot, told(id="1", files=(nameless,)), told(id="2"))
    receive(bot, full, told(id="2"), told(id="3", message_id="m1", text="unlike"))
    receive(bot, told(id="1", thread="other", card=Card(title="Other"), files=(nameless,)))

    message = bot.messages.get(remote_id="m1")
    assert (message.thread, message.card["title"], message.files[0]["name"]) == (
        "m0",
        "Plan",
        "plan.txt",
    )
    assert [e.dedupe_key for e in events_of(bot)] == ["1", "2", "3"]
    assert events_of(bot)[0].data["message"]["thread"] == ""
    assert HandlerRun.objects.count() == 3


def test_what_is_only_a_hint_becomes_no_event_and_counts_all_the_same():
    bot = make_bot(handlers=["echo"])
    me = PersonInfo(id=bot.person.remote_id)
    hint = told(Kind.PARTICIPANT_JOINED, id="1", person=None, people=(me,), hint=True)

    receive(bot, hint)
    receive(bot, hint, told(Kind.PARTICIPANT_JOINED, id="2", people=(me,)))

    assert [e.dedupe_key for e in events_of(bot)] == ["2"]
    assert Participant.objects.filter(person=bot.person, channel__remote_id="lobby-id").exists()


# Threads that are deleted as a whole --------------------------------------------------------------


def deletion(message_id: str, **changes) -> Incoming:
    return told(Kind.MESSAGE_DELETED, id=f"gone:{message_id}", message_id=message_id, **changes)


def gone(bot: Bot) -> list[str]:
    found = bot.events.filter(kind=Kind.MESSAGE_DELETED).order_by("pk")
    return [event.data["message"]["remote_id"] for event in found]


def test_answers_that_are_deleted_with_their_thread_are_told_once():
    bot, other = make_bot("echo"), make_bot("scribe")
    answers = [told(id=str(n), thread="m1") for n in (2, 3)]
    inbox.receive([brought(b, told(id="1"), *answers, told(id="4")) for b in (bot, other)])

    receive(bot, deletion("m1", with_thread=True))
    receive(bot, deletion("m1", with_thread=True), deletion("m2"), deletion("m3"), catch_up=True)

    assert gone(bot) == ["m1", "m2", "m3"]
    left = bot.messages.filter(deleted_at=None)
    assert [message.remote_id for message in left] == ["m4"]
    assert {event.channel.remote_id for event in events_of(bot)} == {"lobby-id"}
    assert gone(other) == []


def test_an_answer_that_came_a_moment_before_its_thread_was_deleted_is_told_too():
    bot = make_bot()

    answer = told(id="2", thread="m1")
    receive(bot, told(id="1"), answer, deletion("m2"), deletion("m1", with_thread=True))
    receive(bot, told(id="3"), told(id="4", thread="m3"), deletion("m3", with_thread=True))

    assert gone(bot) == ["m2", "m1", "m3", "m4"]


def test_where_answers_stay_they_are_not_told_as_deleted():
    bot = make_bot()

    receive(bot, told(id="1"), told(id="2", thread="m1"), deletion("m1"))

    assert gone(bot) == ["m1"]


def test_a_long_thread_costs_no_more_queries_than_a_short_one():
    def queries(slug: str, quantity: int) -> int:
        bot = make_bot(slug)
        receive(bot, told(id="1"), *(told(id=f"a{n}", thread="m1") for n in range(quantity)))
        with CaptureQueriesContext(database) as captured:
            receive(bot, deletion("m1", with_thread=True))
        assert len(gone(bot)) == quantity + 1
        return len(captured)

    queries("first", 1)
    assert queries("second", 1) == queries("third", 40)


# Who takes part -----------------------------------------------------------------------------------


def test_joins_and_leaves_change_who_takes_part():
    bot = make_bot()

    receive(bot, told(Kind.PARTICIPANT_JOINED, id="1", people=(ALICE, BOB)))
    receive(bot, told(Kind.PARTICIPANT_LEFT, id="2", people=(ALICE,)))

    part = Participant.objects.filter(channel__remote_id="lobby-id").exclude(person=bot.person)
    assert [(p.person.username, p.joined_at) for p in part] == [("bob", NOON)]
    assert [p["username"] for p in events_of(bot)[0].data["people"]] == ["alice", "bob"]


def test_a_direct_channel_that_somebody_opened_is_the_bots_at_once():
    bot = make_bot()
    direct = ChannelInfo(id="direct-id", kind=ChannelKind.DIRECT, peer=ALICE)

    receive(bot, told(Kind.CHANNEL_CREATED, channel=direct))

    channel = Channel.objects.get(remote_id="direct-id")
    people = {p.person_id: p.person.username for p in channel.participants.all()}
    assert set(people.values()) == {"alice", bot.person.username}
    assert bot.person_id in people


def test_channels_are_described_changed_and_archived():
    bot = make_bot()

    receive(bot, told(Kind.CHANNEL_CREATED, id="1"))
    receive(bot, told(Kind.CHANNEL_CHANGED, id="2", channel=replace(LOBBY, title="Hall")))
    channel = Channel.objects.get(remote_id="lobby-id")
    assert (channel.title, channel.archived) == ("Hall", False)

    receive(bot, told(Kind.CHANNEL_DELETED, id="3", channel=None, channel_id="lobby-id"))
    channel.refresh_from_db()
    assert (channel.title, channel.archived) == ("Hall", True)


def test_a_channel_only_named_by_its_id_is_written_down_and_what_is_known_is_kept():
    bot = make_bot()
    lobby = make_channel(bot, "ops")

    receive(
        bot,
        told(id="1", channel=None, channel_id=lobby.remote_id),
        told(id="2", channel=None, channel_id="never-heard-of"),
    )

    first, second = events_of(bot)
    assert first.channel == lobby
    lobby.refresh_from_db()
    assert (lobby.name, lobby.kind) == ("ops", ChannelKind.PUBLIC)
    assert (second.channel.remote_id, second.channel.kind) == (
        "never-heard-of",
        ChannelKind.PRIVATE,
    )
    assert bot.messages.count() == 2


@pytest.mark.parametrize(
    ("incoming", "data"),
    [
        (
            told(Kind.REACTION_ADDED, message_id="m7", reaction="tada"),
            {"message": {"remote_id": "m7"}, "reaction": "tada"},
        ),
        (
            told(Kind.REACTION_REMOVED, message_id="m7", reaction="tada"),
            {"message": {"remote_id": "m7"}, "reaction": "tada"},
        ),
        (told(Kind.MESSAGE_READ, message_id="m7"), {"message": {"remote_id": "m7"}}),
        (told(Kind.TYPING), {}),
        (told(Kind.PRESENCE_CHANGED, presence=Presence.AWAY, channel=None), {"presence": "away"}),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Incoming) else "",
)
def test_what_happened_is_told_in_our_words_beside_the_platforms(incoming, data):
    bot = make_bot()

    receive(bot, incoming)

    event = events_of(bot)[0]
    assert event.kind == incoming.kind
    assert event.data.pop("person")["username"] == "alice"
    assert event.data == data
    assert event.raw == {"id": "1"}
    assert bot.messages.count() == 0


def test_a_gap_says_from_when_until_when():
    bot = make_bot()
    since = NOON - timedelta(hours=2)

    receive(bot, Incoming(kind=Kind.GAP, id="gap", occurred_at=NOON, since=since, text="pruned"))

    event = events_of(bot)[0]
    assert event.data == {
        "since": since.isoformat(),
        "until": NOON.isoformat(),
        "why": "pruned",
    }


# Handlers ---------------------------------------------------------------------------------------


def test_only_bots_with_the_handler_get_a_turn_and_never_at_their_own_doings():
    busy, idle = make_bot("echo", handlers=["echo"]), make_bot("scribe")
    own = told(id="2", own=True)

    inbox.receive([brought(bot, told(id="1"), own) for bot in (busy, idle)])
    receive(busy, told(id="1"))  # once more: no second turn

    runs = HandlerRun.objects.all()
    assert [(run.bot, run.event.dedupe_key) for run in runs] == [(busy, "1")]
    assert busy.messages.get(remote_id="m2").direction == Direction.OUT


# Size -------------------------------------------------------------------------------------------


def queries_for(count: int, slug: str) -> int:
    bot = make_bot(slug, handlers=["echo"])
    incoming = [told(id=str(n)) for n in range(count)]
    incoming += [
        told(Kind.MESSAGE_EDITED, id=f"e{n}", message_id=f"m{n}", text="new") for n in range(count)
    ]
    received = brought(bot, *incoming, cursor={"seq": count})
    with CaptureQueriesContext(database) as queries:
        inbox.receive([received])
    return len(queries)


def test_a_large_batch_costs_no_more_queries_than_a_small_one():
    queries_for(1, "first")  # writes down channel and people

    # SQLite takes so many values at a time; beyond that, only the inserts become more.
    assert queries_for(1, "second") == queries_for(40, "third")
    assert queries_for(200, "fourth") < queries_for(1, "fifth") + 10


@pytest.mark.skipif(database.vendor != "sqlite", reason="asks SQLite how it does it")
def test_a_batch_does_not_read_all_events_there_are():
    bots = [make_bot("first"), make_bot("second")]
    batch = [brought(bot, *(told(id=str(n)) for n in range(100))) for bot in bots]
    with CaptureQueriesContext(database) as captured:
        inbox.receive(batch)
    selects = [q["sql"] for q in captured if "JOIN bots_event" in q["sql"]]

    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {selects[0]}")
        plan = str(cursor.fetchall())

    assert "SEARCH bots_event USING" in plan
    assert "SCAN bots_event" not in plan


# The thread -------------------------------------------------------------------------------------


@pytest.fixture
def running():
    """An inbox whose thread runs, with a list of what it said was lost."""
    lost: list[tuple[int, int]] = []
    box = Inbox(on_lost=lambda connection_id, fence: lost.append((connection_id, fence)))
    box.start()
    yield box, lost
    box.stop(DEADLINE)
    assert not box.alive


@pytest.mark.django_db(transaction=True)
def test_what_is_handed_over_is_stored_in_order_and_losses_are_told(running):
    box, lost = running
    bot = make_bot()
    for number in range(500):
        box.put(brought(bot, told(id=str(number)), cursor={"seq": number}))
    late = brought(bot, told(id="late"), fence=99)
    box.put(late)

    box.wait_stored()

    assert [e.dedupe_key for e in events_of(bot)] == [str(n) for n in range(500)]
    assert cursor_of(bot) == {"seq": 499}
    assert lost == [(late.connection_id, 99)]


@pytest.mark.django_db(transaction=True)
def test_of_many_bots_each_ones_events_are_stored_in_order(running):
    box, _ = running
    bots = [make_bot(f"echo-{n}") for n in range(4)]
    for number in range(200):
        for bot in bots:
            box.put(brought(bot, told(id=str(number)), cursor={"seq": number}))

    box.wait_stored()

    for bot in bots:
        assert [e.dedupe_key for e in events_of(bot)] == [str(n) for n in range(200)]
        assert cursor_of(bot) == {"seq": 199}


@pytest.mark.django_db(transaction=True)
def test_stopping_stores_what_was_handed_over_before():
    bot = make_bot()
    box = Inbox()
    for number in range(300):
        box.put(brought(bot, told(id=str(number))))

    box.start()
    box.stop(DEADLINE)

    assert bot.events.count() == 300
    with pytest.raises(InboxEnded):
        box.wait_stored()


@pytest.mark.django_db(transaction=True)
def test_a_full_queue_holds_up_who_brings_more_and_loses_nothing():
    bot = make_bot()
    box = Inbox()
    pieces = [brought(bot, told(id=str(n))) for n in range(inbox.QUEUED + 50)]

    bringing = threading.Thread(target=lambda: [box.put(piece) for piece in pieces])
    bringing.start()
    bringing.join(0.3)
    assert bringing.is_alive()  # held up: nobody stores yet

    box.start()
    bringing.join(DEADLINE)
    assert not bringing.is_alive()
    box.stop(DEADLINE)
    assert bot.events.count() == len(pieces)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(database.vendor != "sqlite", reason="locks a database file")
def test_it_waits_for_a_database_that_is_away(monkeypatch, running, caplog):
    # Given a database that somebody keeps for longer than writers have patience
    monkeypatch.setitem(database.settings_dict["OPTIONS"], "timeout", 0.1)
    box, _ = running
    bot = make_bot()
    piece = brought(bot, told(), cursor={"seq": 1})
    path = database.settings_dict["NAME"]
    with closing(sqlite3.connect(path, isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")

        box.put(piece)

        until(lambda: "the database is away" in caplog.text)
        assert bot.events.count() == 0
        somebody.execute("ROLLBACK")

    box.wait_stored()
    assert cursor_of(bot) == {"seq": 1}
    assert bot.events.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(database.vendor != "sqlite", reason="locks a database file")
def test_nobody_waits_for_an_inbox_that_ended_while_its_database_was_away(monkeypatch, caplog):
    # Given a full inbox, and a database that somebody keeps
    monkeypatch.setitem(database.settings_dict["OPTIONS"], "timeout", 0.1)
    monkeypatch.setattr(inbox, "QUEUED", 2)
    bot = make_bot()
    box = Inbox()
    ended: list[InboxEnded] = []

    def bring():
        try:
            for number in itertools.count():
                box.put(brought(bot, told(id=str(number))))
        except InboxEnded as error:
            ended.append(error)

    bringing = threading.Thread(target=bring, daemon=True)
    path = database.settings_dict["NAME"]
    with closing(sqlite3.connect(path, isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        box.start()
        bringing.start()
        until(lambda: "the database is away" in caplog.text)

        # When it is stopped
        box.stop(timeout=0.1)

        # Then whoever brings more is told, and so is who waits
        bringing.join(DEADLINE)
        assert len(ended) == 1
        with pytest.raises(InboxEnded):
            box.wait_stored()
        somebody.execute("ROLLBACK")
    until(lambda: not box.alive)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_an_event_stays_when_its_handlers_cannot_be_given_a_turn(caplog):
    # Given a bot whose handler's turns the database refuses
    bot = make_bot(handlers=["echo"])
    bad = ValueError("no such row")

    def refuse(execute, sql, params, many, context):
        if "INSERT INTO bots_handlerrun" in sql:
            raise bad
        return execute(sql, params, many, context)

    # When messages come
    with database.execute_wrapper(refuse):
        inbox.store_patiently([brought(bot, told(id="1"), told(id="2"), cursor={"seq": 2})])

    # Then they are stored as what they are
    assert [event.kind for event in events_of(bot)] == ["message.posted", "message.posted"]
    assert bot.messages.count() == 2
    assert cursor_of(bot) == {"seq": 2}
    assert caplog.text.count("no handler gets a turn") == 2


def test_what_is_beyond_a_limit_of_the_database_becomes_a_gap_and_holds_up_nothing():
    # Given a database that will never take one of the events
    bot = make_bot()

    def refuse(execute, sql, params, many, context):
        if "INSERT INTO bots_event" in sql and "too much" in str(params):
            raise OperationalError("too much") from ProgramLimitExceeded("too much")
        return execute(sql, params, many, context)

    # When it comes with others
    with database.execute_wrapper(refuse):
        inbox.store_patiently(
            [brought(bot, told(id="1"), told(id="2", text="too much"), told(id="3"))]
        )

    # Then those are stored, and a gap stands for it
    kinds = [event.kind for event in events_of(bot)]
    assert kinds == ["message.posted", "gap", "message.posted"]


def test_a_handler_that_is_listed_twice_gets_one_turn():
    bot = make_bot()
    Bot.objects.filter(pk=bot.pk).update(handlers=["echo", "echo"])

    receive(bot, told())

    assert HandlerRun.objects.count() == 1
    bot.handlers = ["echo", "echo"]
    bot.full_clean()
    assert bot.handlers == ["echo"]
