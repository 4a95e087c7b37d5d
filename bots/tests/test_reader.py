import json
import logging
import socket
import threading
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest

from bots.connections.reader import Reader, Reading, Undecodable
from spaces.platforms.errors import CredentialsRefused, Stale, Unavailable
from spaces.platforms.messages import Incoming, Kind
from spaces.platforms.websocket import Closed, WebSocketStream
from spaces.testing.websocket_server import TIMEOUT, WebSocketServer

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with WebSocketServer() as server:
        yield server


@pytest.fixture
def reader():
    reader = Reader()
    reader.start()
    yield reader
    assert reader.stop(TIMEOUT)


def decode(frame):
    """The platform of these tests: a JSON text is a message, `goodbye` ends the login."""
    text = json.loads(frame)
    if text == "goodbye":
        raise CredentialsRefused("The login is over.")
    if text == "bug":
        raise KeyError("nobody thought of this")
    return [Incoming(kind=Kind.MESSAGE_POSTED, id=text, occurred_at=NOW, text=text)]


class Heard:
    """What a reader hands over, and how it ended."""

    def __init__(self):
        self.texts = []
        self.ends = []
        self._changed = threading.Condition()

    def on_incoming(self, incoming):
        with self._changed:
            self.texts += [one.text for one in incoming]
            self._changed.notify_all()

    def on_end(self, reason):
        with self._changed:
            self.ends.append(reason)
            self._changed.notify_all()

    def wait_for_texts(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.texts) >= count, TIMEOUT), self.texts
            return self.texts

    def wait_for_end(self):
        with self._changed:
            assert self._changed.wait_for(lambda: self.ends, TIMEOUT), "it did not end"
            return self.ends[0]


def read(reader, server, key=1, *, path="", heartbeat_seconds=30.0, **changes):
    """Let the reader read a new stream; returns what is heard on it, and the server's end."""
    path = path or f"/{key}"
    stream = WebSocketStream(server.url(path), heartbeat_seconds=heartbeat_seconds)
    heard = Heard()
    how = {"decode": decode, "on_incoming": heard.on_incoming, "on_end": heard.on_end} | changes
    reader.add(Reading(key=key, stream=stream, platform="test", **how))
    return heard, server.peer(path)


def until(condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        threading.Event().wait(0.005)


def reader_thread():
    return next(thread for thread in threading.enumerate() if thread.name == "reader")


def test_what_arrives_is_decoded_and_handed_over_in_order(reader, server):
    heard, peer = read(reader, server)

    peer.send_many([f'"{n}"' for n in range(1_000)])

    assert heard.wait_for_texts(1_000) == [str(n) for n in range(1_000)]


def test_two_hundred_streams_are_heard_while_one_floods(reader, server):
    flood_is_over = threading.Event()
    flooded, flooding_peer = read(reader, server, 0)

    def flood():
        while not flood_is_over.is_set():
            flooding_peer.send_many(['"water"'] * 500)

    everybody = [read(reader, server, key) for key in range(1, 200)]
    flooding = threading.Thread(target=flood)
    flooding.start()
    flooded.wait_for_texts(1_000)
    for _, peer in everybody:
        peer.send('"one"')

    for heard, _ in everybody:
        assert heard.wait_for_texts(1) == ["one"]
    flood_is_over.set()
    flooding.join(TIMEOUT)
    assert len(reader) == 200


def test_a_silent_peer_is_stale_after_two_heartbeats_and_answering_ones_are_not(reader, server):
    answering, _ = read(reader, server, 1, heartbeat_seconds=0.5)
    started = time.monotonic()
    silent, peer = read(reader, server, 2, heartbeat_seconds=0.5)
    peer.go_deaf()

    end = silent.wait_for_end()

    assert isinstance(end, Stale)
    assert isinstance(end, Unavailable)
    assert end.code == "stale"
    assert time.monotonic() - started >= 1.0
    assert reader.evidence(2) is None
    seen = reader.evidence(1)
    until(lambda: reader.evidence(1) > seen + 1.5)
    assert answering.ends == []


def test_evidence_is_the_time_of_the_last_proof_of_life(reader, server):
    before = time.monotonic()
    _, peer = read(reader, server)
    opened = reader.evidence(1)
    assert before <= opened <= time.monotonic()

    peer.ping()

    assert opened < reader.evidence(1) <= time.monotonic()


def test_a_hand_over_that_blocks_stops_the_reading_and_loses_nothing(reader, server):
    inbox_is_full, there_is_room = threading.Event(), threading.Event()
    slow = Heard()

    def on_incoming(incoming):
        inbox_is_full.set()
        assert there_is_room.wait(TIMEOUT)
        slow.on_incoming(incoming)

    _, slow_peer = read(reader, server, 1, on_incoming=on_incoming)
    other, other_peer = read(reader, server, 2)
    slow_peer.send('"first"')
    assert inbox_is_full.wait(TIMEOUT)
    other_peer.send('"meanwhile"')
    slow_peer.send_many(['"more"'] * 3_000)

    assert (slow.texts, other.texts) == ([], [])
    there_is_room.set()
    assert slow.wait_for_texts(3_001)[:2] == ["first", "more"]
    assert other.wait_for_texts(1) == ["meanwhile"]


class Line:
    """A stream that says what it is told to, and tells when it is asked for proof of life."""

    heartbeat_seconds = 0.5

    def __init__(self):
        self.near, self.far = socket.socketpair()
        self.asked = threading.Event()

    def fileno(self):
        return self.near.fileno()

    def receive(self):
        return [self.near.recv(4_096)]

    def beat(self):
        self.asked.set()

    def close(self):
        self.near.close()
        self.far.close()


def test_nobody_is_called_stale_because_the_reader_was_held_up(reader, server):
    line, heard = Line(), Heard()

    def hold_up(incoming):
        stale_at = reader.evidence(2) + 2 * line.heartbeat_seconds
        until(lambda: time.monotonic() > stale_at)
        line.far.send(b'"here I am"')  # in time, but nobody looked

    _, peer = read(reader, server, 1, on_incoming=hold_up)
    reader.add(
        Reading(
            key=2, stream=line, decode=decode, on_incoming=heard.on_incoming, on_end=heard.on_end
        )
    )
    assert line.asked.wait(TIMEOUT)
    peer.send('"hold"')

    assert heard.wait_for_texts(1) == ["here I am"]
    assert heard.ends == []


def test_a_removed_reading_ends_silently_while_its_stream_floods(reader, server):
    heard, peer = read(reader, server)
    flooding = threading.Thread(target=peer.ping_until_closed)
    peer.send_many(['"water"'] * 5_000)
    flooding.start()
    heard.wait_for_texts(100)

    reader.remove(1)
    reader.remove(1)

    flooding.join(TIMEOUT)  # it goes on until the client closes
    assert not flooding.is_alive()
    assert (len(reader), reader.evidence(1), heard.ends) == (0, None, [])


def test_a_reading_may_be_removed_by_its_own_hand_over(reader, server):
    heard = Heard()

    def on_incoming(incoming):
        reader.remove(1)
        heard.on_incoming(incoming)

    _, peer = read(reader, server, on_incoming=on_incoming)
    peer.send('"last"')

    assert heard.wait_for_texts(1) == ["last"]
    assert len(reader) == 0


def test_a_key_can_be_read_again_from_the_end_of_its_stream(reader, server):
    again = []

    def on_end(reason):
        again.append(read(reader, server, 1, path="/again"))

    _, peer = read(reader, server, 1, on_end=on_end)
    peer.drop()
    until(lambda: again)
    heard, new_peer = again[0]
    new_peer.send('"back"')

    assert heard.wait_for_texts(1) == ["back"]


def test_a_frame_that_cannot_be_decoded_ends_the_reading_before_later_ones_are_taken(
    reader, server, caplog
):
    heard, peer = read(reader, server)

    with caplog.at_level(logging.DEBUG, logger="bots"):
        peer.send_many(['"first"', "private words", '"later"'])
        end = heard.wait_for_end()

    assert heard.texts == ["first"]  # catching up fetches the others
    assert isinstance(end, Undecodable)
    assert "13 bytes" in end.detail
    assert "private" not in end.detail + caplog.text


def test_a_platform_that_keeps_sending_such_frames_is_heard_and_gaps_stand_for_them(reader, server):
    for n in range(2):
        heard, peer = read(reader, server, path=f"/{n}")
        peer.send("private words")
        heard.wait_for_end()

    heard, peer = read(reader, server, path="/again")
    peer.send_many(['"first"', "private words", '"later"'])

    assert heard.wait_for_texts(3) == [
        "first",
        "The platform sent 13 bytes that could not be read.",
        "later",
    ]
    assert heard.ends == []


def test_an_end_told_by_the_platform_comes_after_what_was_said_before(reader, server):
    heard, peer = read(reader, server)

    peer.send_many(['"last words"', '"goodbye"', '"unheard"'])

    assert isinstance(heard.wait_for_end(), CredentialsRefused)
    assert heard.texts == ["last words"]
    assert len(heard.ends) == 1


@pytest.mark.parametrize("place", ["decode", "on_incoming"])
def test_a_bug_ends_only_its_own_reading_and_is_logged(reader, server, caplog, place):
    def on_incoming(incoming):
        raise KeyError("a bug in the hand-over")

    changes = {"on_incoming": on_incoming} if place == "on_incoming" else {}
    broken, broken_peer = read(reader, server, 1, **changes)
    healthy, healthy_peer = read(reader, server, 2)

    broken_peer.send('"bug"' if place == "decode" else '"hi"')

    assert isinstance(broken.wait_for_end(), KeyError)
    assert "Traceback" in caplog.text
    healthy_peer.send('"well"')
    assert healthy.wait_for_texts(1) == ["well"]


def test_a_bug_in_on_end_harms_nobody(reader, server, caplog):
    def on_end(reason):
        raise RuntimeError("a bug in on_end")

    _, broken_peer = read(reader, server, 1, on_end=on_end)
    healthy, healthy_peer = read(reader, server, 2)

    broken_peer.drop()
    until(lambda: "a bug in on_end" in caplog.text)
    healthy_peer.send('"well"')

    assert healthy.wait_for_texts(1) == ["well"]


def test_a_dropped_connection_is_told_once(reader, server):
    heard, peer = read(reader, server)

    peer.drop()

    assert isinstance(heard.wait_for_end(), Unavailable)
    assert len(reader) == 0
    assert len(heard.ends) == 1


def test_a_close_by_the_platform_is_told_with_its_code_after_the_last_message(reader, server):
    heard, peer = read(reader, server)

    peer.send('"last"')
    peer.close(1012, "restarting")

    end = heard.wait_for_end()
    assert isinstance(end, Closed)
    assert end.status == 1012
    assert heard.texts == ["last"]


def test_a_key_is_read_once(reader, server):
    read(reader, server)

    with (
        closing(WebSocketStream(server.url())) as stream,
        pytest.raises(ValueError, match="connection 1 is being read already"),
    ):
        reader.add(Reading(key=1, stream=stream, decode=decode, on_incoming=print, on_end=print))


def test_a_stream_without_a_heartbeat_is_refused(reader, server):
    with (
        closing(WebSocketStream(server.url(), heartbeat_seconds=0)) as stream,
        pytest.raises(ValueError, match="heartbeat"),
    ):
        reader.add(Reading(key=1, stream=stream, decode=decode, on_incoming=print, on_end=print))


def test_stopping_closes_all_streams_and_tells_nobody(server):
    reader = Reader()
    reader.start()
    everybody = [read(reader, server, key) for key in range(5)]

    assert reader.stop(TIMEOUT)

    for heard, peer in everybody:
        until(lambda peer=peer: peer.is_closed())
        assert heard.ends == []
    assert len(reader) == 0
    with closing(WebSocketStream(server.url())) as stream, pytest.raises(RuntimeError):
        reader.add(Reading(key=1, stream=stream, decode=decode, on_incoming=print, on_end=print))


def test_stopping_does_not_wait_longer_than_told_for_a_hand_over(server):
    with ExitStack() as at_the_end:
        blocked, go_on = threading.Event(), threading.Event()

        def on_incoming(incoming):
            blocked.set()
            go_on.wait(TIMEOUT)

        reader = Reader()
        at_the_end.callback(lambda: reader.stop(TIMEOUT))
        at_the_end.callback(go_on.set)
        reader.start()
        _, peer = read(reader, server, on_incoming=on_incoming)
        peer.send('"hold"')
        assert blocked.wait(TIMEOUT)

        assert not reader.stop(0.01)
        go_on.set()
        assert reader.stop(TIMEOUT)


def test_a_reader_that_never_started_can_be_stopped(server):
    reader = Reader()
    _, peer = read(reader, server)

    assert reader.stop(TIMEOUT)
    until(peer.is_closed)


def test_idle_streams_cost_next_to_no_processor_time(reader, server):
    for key in range(100):
        read(reader, server, key)
    clock = time.pthread_getcpuclockid(reader_thread().ident)
    before = time.clock_gettime(clock)

    threading.Event().wait(0.5)  # of doing nothing

    assert time.clock_gettime(clock) - before < 0.1
