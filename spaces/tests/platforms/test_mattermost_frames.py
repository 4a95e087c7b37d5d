"""Mattermost's websocket frame by frame, as only a server in the test's own hands sends them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import ChannelKind, Kind
from spaces.testing.websocket_server import Peer, WebSocketServer
from spaces.tests.platforms.mattermost_company import (
    Company,
    Ear,
    being_read,
    listening,
    texts_of,
    wait_until,
)

OTHER_ID = "o" * 26
HEARTBEAT_SECONDS = 0.5  # some of them without an answer are an outage, on a busy machine, too


def framed(event: str, data: Any, *, seq: Any = 1, **broadcast: Any) -> bytes:
    told = {"event": event, "data": data, "broadcast": broadcast, "seq": seq}
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    "frame",
    [
        framed("recap_updated", {"recap_id": "r"}),
        framed("custom_com.example_thing", None),
        framed("an_event_of_the_year_2030", {"post": "no json", "reaction": 7}),
        framed("status_change", {"user_id": OTHER_ID, "status": "on_the_moon"}),
        framed("group_added", {"teammate_ids": "[]"}, user_id=OTHER_ID),
        b'{"event": "unknown"}',
        b'{"status": "OK", "seq_reply": 3}',
        b'{"status": "FAIL", "seq_reply": 3, "error": {"id": "busy", "status_code": 503}}',
        b'{"status": "FAIL", "seq_reply": 3}',
        b'{"status": "FAIL", "seq_reply": 3, "error": "text"}',
    ],
)
def test_what_is_not_known_is_passed_over(company, frame):
    assert company.connected().decode(frame) == []


POST = {
    "id": "p" * 26,
    "create_at": 1,
    "update_at": 1,
    "edit_at": 0,
    "delete_at": 0,
    "user_id": OTHER_ID,
    "channel_id": "c" * 26,
    "root_id": "",
    "message": "hello",
    "type": "",
    "props": {},
}


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b"{" * 100_000,
        framed("posted", {}),
        framed("posted", "text"),
        framed("posted", {"post": "no json"}),
        framed("posted", {"post": "[]"}),
        framed("posted", {"post": "{}"}),
        framed("posted", {"post": {**POST, "create_at": "noon"}}),
        framed("posted", {"post": {**POST, "props": "text"}}),
        framed("posted", {"post": POST}, seq="one"),
        framed("reaction_added", {"reaction": "{}"}),
        b'{"event": ["posted"], "data": {}}',
        b'{"event": "posted", "data": {}, "broadcast": []}',
        b'{"event": "posted", "data": {}, "broadcast": "all"}',
    ],
)
def test_what_is_broken_is_called_no_frame(company, frame):
    bot = company.connected()

    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        bot.decode(frame)


def test_values_may_be_objects_as_well_as_json_in_text(company):
    bot = company.connected()
    as_text = framed("posted", {"post": json.dumps(POST), "channel_type": "O"})
    as_object = framed("posted", {"post": POST, "channel_type": "O"})

    (one,), (other,) = bot.decode(as_text), bot.decode(as_object)

    assert (
        (one.id, one.text, one.raw)
        == (other.id, other.text, other.raw)
        == (
            f"post:{POST['id']}",
            "hello",
            POST,
        )
    )


def test_a_group_that_names_its_channel_is_told_at_once(company):
    frame = framed("group_added", {"teammate_ids": "[]"}, channel_id="c" * 26, user_id=OTHER_ID)

    (told,) = company.connected().decode(frame)

    assert (told.kind, told.id) == (Kind.CHANNEL_CREATED, f"created:{'c' * 26}")
    assert told.channel_kind is ChannelKind.GROUP


def test_a_post_whose_props_are_nested_without_end_is_a_message_all_the_same(company):
    """Any member can write one, and must not be able to make a bot deaf."""
    bot = company.connected()
    nested = '{"a":' * 5_000 + "7" + "}" * 5_000
    post = json.dumps({**POST, "props": {"here": "deep"}}).replace('"deep"', nested)

    for frame in (
        framed("posted", {"post": post}),
        framed("posted", {"post": 0}).replace(b'"post": 0', b'"post": ' + post.encode()),
    ):
        (told,) = bot.decode(frame)
        assert (told.kind, told.text) == (Kind.MESSAGE_POSTED, "hello")
        json.dumps(told.raw)


# On a stream -------------------------------------------------------------------------------------


@contextmanager
def by_hand(company: Company, **options: Any) -> Iterator[tuple[Ear, Peer]]:
    """A stream whose other end is in the test's own hands, after its `hello`."""
    with WebSocketServer() as server:
        hello = framed("hello", {"connection_id": "x" * 26}, seq=0).decode()
        greeting = threading.Thread(target=lambda: server.peer("/ws").send(hello))
        greeting.start()
        with listening(company.connected(websocket_url=server.url("/ws"), **options)) as ear:
            greeting.join()
            yield ear, server.peer("/ws")


def actions(peer: Peer) -> list[str]:
    return [json.loads(peer.received.get(timeout=60))["action"] for _ in range(2)]


def test_between_heartbeats_only_the_connection_is_asked(company):
    with by_hand(company, websocket_ping_seconds=0.001, heartbeat_seconds=1000) as (ear, peer):
        assert actions(peer) == ["ping", "ping"]  # when it was opened

        for _ in range(5):
            ear.stream.beat()
        with being_read(ear):
            peer.ping()  # comes back when all before it was read

        assert peer.received.empty()


def test_the_bot_says_nothing_but_pings_so_that_no_channel_is_withheld(company):
    with by_hand(company, heartbeat_seconds=HEARTBEAT_SECONDS) as (ear, peer):
        actions(peer)
        wait_until(lambda: ear.stream.beat() or not peer.received.empty())

        assert json.loads(peer.received.get()) == {"seq": 3, "action": "ping"}


def test_a_hello_in_the_middle_begins_a_new_numbering(company):
    with by_hand(company) as (ear, peer):
        peer.send(framed("posted", {"post": POST}, seq=1))
        ear.hear_text("hello")
        peer.send(framed("hello", {"connection_id": "y" * 26}, seq=0).decode())
        peer.send(framed("posted", {"post": {**POST, "message": "after"}}, seq=1))
        told = ear.hear_text("after")

    assert told.cursor["resume"] == ["y" * 26, 2]


def test_an_event_without_a_number_is_told_and_leaves_the_numbering(company):
    with by_hand(company) as (ear, peer):
        peer.send('{"event": "typing", "data": {"user_id": "u"}, "broadcast": {}}')
        peer.send(framed("posted", {"post": POST}, seq=1))

        ear.hear_text("hello")

    assert Kind.TYPING in {one.kind for one in ear.told}


def test_a_close_of_the_servers_is_told_after_what_came_before(company):
    with by_hand(company) as (ear, peer):
        peer.send(framed("posted", {"post": POST}, seq=1))
        closing = threading.Thread(target=lambda: peer.close(1001, "maintenance"))
        closing.start()

        with pytest.raises(Unavailable):
            ear.hear_the_end()
        ear.stream.close()
        closing.join()

    assert texts_of(ear.told) == ["hello"]


def test_a_lost_frame_is_noticed_at_once_though_nothing_more_comes(company):
    """Not at the next heartbeat, which may be half a minute away."""
    with by_hand(company) as (ear, peer):
        frames = [framed("posted", {"post": POST}, seq=number).decode() for number in (1, 3)]
        peer.send_many(frames)
        wait_until(lambda: peer.received.qsize() >= 2)  # the pings of the opening
        answering = threading.Thread(target=lambda: answer_the_next_ping(peer))
        answering.start()

        with pytest.raises(Unavailable) as caught:
            ear.hear_the_end()
        answering.join()

    assert caught.value.code == "sequence_gap"
    assert texts_of(ear.told) == ["hello"]


def answer_the_next_ping(peer: Peer) -> None:
    asked = [json.loads(peer.received.get(timeout=5)) for _ in range(3)]
    peer.send(json.dumps({"status": "OK", "seq_reply": asked[-1]["seq"]}))


def test_an_answer_that_overtakes_the_hello_of_a_new_connection_is_no_resume(company):
    """The server answers and greets from two places at once."""
    old, new = "x" * 26, "y" * 26
    path = f"/ws?connection_id={old}&sequence_number=7"
    with WebSocketServer() as server:
        bot = company.connected(websocket_url=server.url("/ws"))
        answering = threading.Thread(
            target=lambda: server.peer(path).send('{"status": "OK", "seq_reply": 1}')
        )
        answering.start()
        with listening(bot, {"resume": [old, 7]}) as ear:
            answering.join()
            hello = framed("hello", {"connection_id": new}, seq=0).decode()
            server.peer(path).send_many([hello, framed("posted", {"post": POST}).decode()])
            told = ear.hear_text("hello")

    assert told.cursor["resume"] == [new, 2]
