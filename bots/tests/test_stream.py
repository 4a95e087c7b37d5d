"""The stream of events: server-sent events that resume where a reader was cut off."""

from __future__ import annotations

import errno
import fcntl
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User

from bots import sequence, silence, stream
from bots.models import ApiToken, Bot
from bots.refusals import Busy
from bots.sequence import Wanted
from bots.stream import Feed
from bots.tests import cast
from bots.tests.builders import make_bot, make_channel, make_client, make_event
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db(transaction=True)

STREAM = "/api/v1/events/stream/"
DEADLINE = 60.0


class Reader:
    """Reads a stream as the specification of server-sent events has it."""

    def __init__(self, answer):
        assert answer.status_code == 200, answer.content
        self.answer = answer
        self.last_id = ""
        self.retry = ""
        self.comments = 0
        self._chunks = iter(answer.streaming_content)
        self._text = ""

    def events(self, number: int) -> list[dict[str, str]]:
        """The next ones."""
        found: list[dict[str, str]] = []
        deadline = time.monotonic() + DEADLINE
        while len(found) < number:
            assert time.monotonic() < deadline, found
            found += self.some()
        assert len(found) == number
        return found

    def some(self) -> list[dict[str, str]]:
        """What comes with the next chunk; raises StopIteration at the end."""
        self._text += next(self._chunks).decode()
        *blocks, self._text = self._text.split("\n\n")
        return [event for block in blocks if (event := self._event(block))]

    def ends(self) -> bool:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            try:
                assert self.some() == []
            except StopIteration:
                return True
        return False

    def _event(self, block: str) -> dict[str, str] | None:
        fields = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name == "":
                self.comments += 1
            else:
                assert name not in fields, "each stands on one line"
                fields[name] = value
        self.last_id = fields.get("id", self.last_id)
        self.retry = fields.get("retry", self.retry)
        return fields if "data" in fields else None


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("echo")
    sequence.number()
    return bot


@pytest.fixture
def read(monkeypatch) -> Iterator[Callable[..., Reader]]:
    """Opens streams; all are closed at the end, and the feed rests."""
    monkeypatch.setattr(stream, "COMMENT_SECONDS", 0.1)
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.1)
    readers = []

    def open_one(client=None, last_event_id=None, **query):
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        readers.append(Reader((client or make_client()).get(STREAM, query, headers=headers)))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.answer.close()
    deadline = time.monotonic() + DEADLINE
    while any(thread.name == "feed" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the feed's thread goes on without followers"
        time.sleep(0.01)


def make_events(bot, number=1, channel=None, **changes):
    events = [str(make_event(bot, channel, **changes).pk) for _ in range(number)]
    sequence.number()
    return events


def ids(events):
    return [json.loads(event["data"])["id"] for event in events]


# What is sent -----------------------------------------------------------------------------------


def test_an_event_is_what_the_list_says_of_it(bot, read):
    begin = sequence.head()
    reader = read()
    make_events(bot, data={"message": {"text": "hello"}})

    (event,) = reader.events(1)

    (listed,) = make_client().get("/api/v1/events/", {"after": begin}).json()["results"]
    assert event["id"] == str(begin + 1)
    assert event["event"] == "message.posted"
    assert json.loads(event["data"]) == listed
    assert int(reader.retry) > 0
    assert reader.answer["Content-Type"] == "text/event-stream"
    assert reader.answer["X-Accel-Buffering"] == "no"
    assert reader.answer["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb\r", "a\u2028b\u2029c\x85d\x0ce", "\n\n", "𝄞 ü"])
def test_whatever_a_text_holds_the_data_is_one_line(bot, read, text):
    reader = read()
    make_events(bot, data={"message": {"text": text}})

    (event,) = reader.events(1)

    assert event["data"].splitlines() == [event["data"]]
    assert json.loads(event["data"])["data"]["message"]["text"] == text


def test_when_there_is_nothing_to_tell_that_is_told_and_how_far_it_goes(bot, read):
    reader = read(kind="gap")
    make_events(bot, 3)

    deadline = time.monotonic() + DEADLINE
    while reader.last_id != str(sequence.head()):
        assert reader.some() == []
        assert time.monotonic() < deadline

    assert reader.comments > 0


# Where it begins --------------------------------------------------------------------------------


def test_a_stream_begins_now(bot, read):
    make_events(bot, 3)
    reader = read()

    later = make_events(bot, 2)

    assert ids(reader.events(2)) == later


def test_a_reader_that_was_cut_off_before_its_first_event_has_a_place_to_resume(bot, read):
    first = read()
    first.some()
    first.answer.close()
    events = make_events(bot, 2)

    assert ids(read(last_event_id=first.last_id).events(2)) == events


def test_a_reader_resumes_after_what_it_had(bot, read):
    begin = sequence.head()
    events = make_events(bot, 4)

    assert ids(read(after=begin + 1).events(3)) == events[1:]
    assert ids(read(last_event_id=begin + 3).events(1)) == events[3:]
    assert ids(read(after=begin, last_event_id=begin + 3).events(1)) == events[3:]


def test_who_was_away_for_long_gets_all_of_it_and_then_what_happens_now(bot, read, monkeypatch):
    monkeypatch.setattr(stream, "PAGE", 10)
    monkeypatch.setattr(stream, "KEPT", 5)
    begin = sequence.head()
    missed = make_events(bot, 95)
    live = read()  # its feed knows nothing of those
    live.some()
    reader = read(after=begin)

    assert ids(reader.events(95)) == missed
    now = make_events(bot, 30)  # more than is kept in memory
    assert ids(reader.events(30)) == now
    assert ids(live.events(30)) == now


def test_large_events_are_not_kept_for_long_and_arrive_nevertheless(bot, read, monkeypatch):
    monkeypatch.setattr(stream, "KEPT_BYTES", 1_000)
    reader = read()

    events = make_events(bot, 3, data={"message": {"text": "x" * 2_000}})

    assert ids(reader.events(3)) == events


@pytest.mark.parametrize("given", [{"after": "soon"}, {"after": "99999999"}, {"kind": "coffee"}])
def test_what_cannot_be_streamed_is_a_problem_also_to_readers_of_streams(bot, given):
    answer = make_client().get(STREAM, given, headers={"Accept": "text/event-stream"})

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("last", ["soon", "99999999", "now?"])
def test_a_place_that_never_was_is_a_problem(bot, last):
    answer = make_client().get(STREAM, headers={"Last-Event-ID": last})

    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["Last-Event-ID"]


def test_a_stream_has_no_head(bot):
    assert make_client().head(STREAM).status_code == 405


# For whom ---------------------------------------------------------------------------------------


def test_readers_get_what_they_ask_for_of_what_they_may_see(bot, read):
    other = make_bot("other")
    lobby = make_channel(bot, "lobby")
    sequence.number()
    everything, mine = read(), read(make_client(bots=[bot]))
    gaps, in_lobby = read(kind="gap"), read(bot="echo", channel="lobby")
    bob = read(cast.bob(other))

    said = make_events(bot, channel=lobby)
    gap = make_events(bot, kind=Kind.GAP)
    theirs = make_events(other)
    install = make_events(None, kind=Kind.INCIDENT_OPENED)

    assert ids(everything.events(4)) == said + gap + theirs + install
    assert ids(mine.events(2)) == said + gap
    assert ids(gaps.events(1)) == gap
    assert ids(in_lobby.events(1)) == said
    assert ids(bob.events(1)) == theirs


def test_charlie_hears_nothing(bot, read):
    reader = read(cast.charlie())

    make_events(bot)

    for _ in range(3):
        assert reader.some() == []


def test_a_token_for_all_bots_hears_those_that_are_added_later(bot, read):
    reader = read()

    events = make_events(make_bot("late"), 1)

    assert ids(reader.events(1)) == events


def test_a_bot_that_is_added_to_a_token_is_heard_and_one_taken_away_is_not(bot, read):
    other = make_bot("other")
    sequence.number()
    reader = read(make_client(bots=[bot]))
    ApiToken.objects.get().bots.set([other])
    reader.comments = 0
    while reader.comments < 3:  # it was asked again by then
        assert reader.some() == []

    make_events(bot)
    events = make_events(other)

    assert ids(reader.events(1)) == events


def revoke_token():
    ApiToken.objects.all().delete()


def take_scope():
    ApiToken.objects.update(scopes=["send"])


def expire_token():
    ApiToken.objects.update(expires_at="2020-01-01T00:00:00Z")


@pytest.mark.parametrize("change", [revoke_token, take_scope, expire_token])
def test_a_stream_ends_when_its_token_may_read_no_more(bot, read, change):
    reader = read()

    change()

    assert reader.ends()


def test_a_stream_ends_when_the_bot_it_asks_for_is_no_longer_theirs(bot, read):
    reader = read(make_client(bots=[bot]), bot="echo")

    ApiToken.objects.get().bots.clear()

    assert reader.ends()


def log_out(client):
    client.logout()


def lock_out(client):
    User.objects.update(is_active=False)


def change_password(client):
    user = User.objects.get(username="bob")
    user.set_password("another")
    user.save()


@pytest.mark.parametrize("change", [log_out, lock_out, change_password])
def test_a_stream_ends_with_the_session_of_its_reader(bot, read, change):
    bob = cast.bob(bot)
    reader = read(bob)
    event = make_events(bot)
    assert ids(reader.events(1)) == event

    change(bob)

    assert reader.ends()


# How many, and until when -----------------------------------------------------------------------


def test_a_closed_stream_gives_its_place_back_also_when_it_was_never_read(bot, read, settings):
    settings.BOTADMIN_STREAMS = 1
    client = make_client()

    read(client).answer.close()
    reader = read(client)

    refused = client.get(STREAM, headers={"Accept": "text/event-stream"})
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
    reader.answer.close()
    reader.answer.close()
    read(client)


def test_all_streams_end_when_the_process_does():
    feed = Feed()
    follower = feed.follow(Wanted(), 0)
    chunks = iter(stream.Stream(follower, Wanted))
    next(chunks)

    feed.end()

    assert list(chunks) == []
    with pytest.raises(Busy):
        feed.follow(Wanted(), 0)
    follower.close()


def test_a_client_that_takes_nothing_any_more_is_dropped_and_others_are_not(monkeypatch):
    monkeypatch.setattr(silence, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, connected(server) as (_, taken):
        silence.limit()
        with connected(server) as (idle, kept):
            assert fails(lambda: taken.send(b"x" * 65536)) == errno.ETIMEDOUT

            kept.sendall(b"still here")
            assert idle.recv(100) == b"still here"


@contextmanager
def connected(server: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client that has room for little, and what the server has of it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(DEADLINE)
            yield client, accepted


def fails(act: Callable[[], object]) -> int | None:
    """Do it until it fails; the number of the error."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            act()
        except OSError as error:
            return error.errno
    return None


def test_the_limit_leaves_files_and_the_locks_on_them_alone(tmp_path):
    """A process loses its locks on a file when it closes any copy of its number: SQLite's."""
    path = tmp_path / "locked"
    take = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with path.open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)

        silence.limit()

        other = subprocess.run([sys.executable, "-c", take, str(path)], capture_output=True)
        assert b"BlockingIOError" in other.stderr
