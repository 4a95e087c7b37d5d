"""Following the sequence: what is new reaches everybody who waits for it, once it is numbered.

One thread looks for new events on behalf of all who follow in this process, and keeps the newest in
memory, ready to be sent. Who is further behind reads pages of the database until they are not.
Nobody who waits holds a connection to the database.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from bots import sequence
from bots.models import SequenceEntry
from bots.refusals import Busy
from bots.sequence import Page, Wanted

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
PAGE = 500  # events read at once
# How much of the newest is kept in memory.
KEPT = 2_000  # events
KEPT_BYTES = 8 * 1024**2
# How many read pages at once, however many are behind: connections to the database are for all.
READERS = 2
COMMENT_SECONDS = 15.0  # a stream that has nothing to tell says so: who is gone is noticed
CHECK_SECONDS = 10.0  # how often a stream asks whether its reader may still read
RETRY_MILLISECONDS = 1000  # after which a reader that was cut off comes back

DATABASE_AWAY = (OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class Told:
    """An event as streams send it."""

    entry: SequenceEntry  # without the event, which is large
    frame: bytes


def frame(entry: SequenceEntry) -> bytes:
    """A server-sent event. In ASCII: some readers take other characters for ends of lines."""
    data = json.dumps(sequence.as_json(entry), separators=(",", ":"))
    return f"id: {entry.seq}\nevent: {entry.kind}\ndata: {data}\n\n".encode("ascii")


def _told(entry: SequenceEntry) -> Told:
    return Told(
        SequenceEntry(
            seq=entry.seq,
            event_id=entry.event_id,
            bot_id=entry.bot_id,
            channel_id=entry.channel_id,
            kind=entry.kind,
        ),
        frame(entry),
    )


class Follower:
    """Somebody who goes on from a position in the sequence; `close` gives their place back."""

    def __init__(self, feed: Feed, wanted: Wanted, after: int) -> None:
        self.wanted = wanted  # may be changed at any time
        self.position = after  # everything wanted up to it was given
        self._feed = feed
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the process is about to end."""
        return self._feed.ended

    def next(self, seconds: float) -> Sequence[bytes]:
        """The next that is wanted, as frames; may be none, after `seconds` or sooner."""
        kept = self._feed.after(self.position, seconds)
        if kept is None:
            page = self._feed.read(self.wanted, self.position)
            self.position = page.seq
            return [frame(entry) for entry in page.entries]
        told, self.position = kept
        return [one.frame for one in told if self.wanted.has(one.entry)]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._feed.leave()


class Feed:
    """What all followers of this process share. Its thread runs while there are any."""

    def __init__(self) -> None:
        self.ended = False
        self._changed = threading.Condition()
        self._followers = 0
        self._thread: threading.Thread | None = None
        # Everything after `_since` and up to `_until`.
        self._kept: deque[Told] = deque()
        self._kept_bytes = 0
        self._since = self._until = 0
        self._reading = threading.BoundedSemaphore(READERS)

    def follow(self, wanted: Wanted, after: int) -> Follower:
        """Raises `Busy` when too many follow already. The caller's thread has no connection to the
        database afterwards, where there is a pool: it may wait for long."""
        with _borrowed_connection(), self._changed:
            if self.ended or self._followers >= settings.BOTADMIN_STREAMS:
                raise Busy(
                    "Too many streams are open here already, or requests that wait for events.",
                    code="too_many_streams",
                )
            if self._thread is None:
                self._since = self._until = sequence.head()
                self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                self._thread.start()
            self._followers += 1
        return Follower(self, wanted, after)

    def leave(self) -> None:
        with self._changed:
            self._followers -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let everybody go, and nobody in again."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def after(self, seq: int, seconds: float) -> tuple[Sequence[Told], int] | None:
        """All that comes after `seq`, and how far that goes; waits for up to `seconds` when there
        is nothing. None when that is more than what is kept."""
        with self._changed:
            self._changed.wait_for(lambda: self._until > seq or self.ended, seconds)
            if seq < self._since:
                return None
            newest_first = list(takewhile(lambda one: one.entry.seq > seq, reversed(self._kept)))
            return newest_first[::-1], max(seq, self._until)

    def read(self, wanted: Wanted, after: int) -> Page:
        """From the database, for those who are far behind."""
        with self._reading, _borrowed_connection():
            nothing = Page(entries=(), seq=after)
            return next(sequence.read(wanted, after=after, limit=PAGE), nothing)

    def _run(self) -> None:
        while self._is_followed():
            try:
                self._look()
            except DATABASE_AWAY:
                log.warning("the database is away: nobody hears of new events")
                connection.close()
            except Exception:
                # The thread must survive whatever one event is like: many wait for it.
                log.exception("reading new events failed; it is tried again")
                connection.close()
        connection.close()

    def _is_followed(self) -> bool:
        with self._changed:
            if self._followers:
                self._changed.wait(LOOK_SECONDS)
            if not self._followers:
                self._thread = None
                self._kept.clear()
                self._kept_bytes = 0
            return self._followers > 0

    def _look(self) -> None:
        for page in sequence.read(Wanted(), after=self._until, limit=PAGE):
            told = [_told(entry) for entry in page.entries]
            with self._changed:
                self._keep(told)
                self._until = page.seq
                self._changed.notify_all()

    def _keep(self, told: Sequence[Told]) -> None:
        self._kept.extend(told)
        self._kept_bytes += sum(len(one.frame) for one in told)
        while len(self._kept) > KEPT or self._kept_bytes > KEPT_BYTES:
            oldest = self._kept.popleft()
            self._kept_bytes -= len(oldest.frame)
            self._since = oldest.entry.seq


feed = Feed()


class Stream:
    """What a follower gets as server-sent events: the body of an answer without an end.

    `wanted_now` says what the reader may and wants to read by now, None when nothing any more.
    """

    def __init__(self, follower: Follower, wanted_now: Callable[[], Wanted | None]) -> None:
        self._follower = follower
        self._wanted_now = wanted_now
        self._chunks = self._run()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._chunks.close()
        self._follower.close()

    def _run(self) -> Generator[bytes, None, None]:
        yield f"retry: {RETRY_MILLISECONDS}\n".encode() + self._comment()
        told_at = checked_at = time.monotonic()
        try:
            while not self._follower.ended:
                due = min(told_at + COMMENT_SECONDS, checked_at + CHECK_SECONDS)
                frames = self._follower.next(max(0.0, due - time.monotonic()))
                now = time.monotonic()
                if now - checked_at >= CHECK_SECONDS:
                    checked_at = now
                    if not self._may_go_on():
                        return
                if frames or now - told_at >= COMMENT_SECONDS:
                    told_at = now
                    yield b"".join(frames) or self._comment()
        except DATABASE_AWAY:
            log.warning("the database is away: a stream ends, its reader will be back")
            connection.close()

    def _may_go_on(self) -> bool:
        with _borrowed_connection():
            wanted = self._wanted_now()
        if wanted is None:
            return False
        self._follower.wanted = wanted
        return True

    def _comment(self) -> bytes:
        """Nothing, and how far that goes: a reader that is cut off now need not look there."""
        return f": nothing new\nid: {self._follower.position}\n\n".encode()


@contextmanager
def _borrowed_connection() -> Iterator[None]:
    """Back to the pool afterwards, where there is one."""
    yield
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
