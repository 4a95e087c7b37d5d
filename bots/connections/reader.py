"""One thread reads all the streams of a process.

A selector says which streams have something; each is read once per turn, so none starves another.
Heartbeats wait in a heap, so that a thousand idle streams cost next to nothing. What was read is
decoded and handed over right here: when the hand-over blocks, the reading stops, the peers' send
buffers fill up, and nothing is lost.

A frame that cannot be decoded ends the reading before anything later moves the position, so that
catching up brings what it told. A platform that keeps sending such frames would never be heard
that way: from the third within ten minutes on, a gap stands in their place.
"""

from __future__ import annotations

import heapq
import logging
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from uuid import uuid4

from spaces.platforms.contract import Stream
from spaces.platforms.errors import Misconfigured, PlatformError, Stale, Unavailable
from spaces.platforms.messages import Incoming, Kind

log = logging.getLogger(__name__)
UNDECODABLE_SECONDS = 600.0  # undecodable frames within this time belong together
MOST_ENDS = 2  # readings of one connection that end for them within that time


class Undecodable(Unavailable):
    """The platform sent what its own adapter does not understand."""

    code = "undecodable"
    next_step = "Nothing to do: what it told is fetched anew. If it lasts, its adapter needs a fix."


@dataclass(slots=True, kw_only=True)
class Reading:
    """A stream and what to do with what it brings.

    `on_incoming` may block; until it returns nothing else is read. `on_end` is called once, from
    the reader's thread, when the stream ended by itself, and must be quick.
    """

    key: int  # the connection's id
    stream: Stream
    decode: Callable[[bytes], list[Incoming]]
    on_incoming: Callable[[list[Incoming]], None]
    on_end: Callable[[Exception], None]
    platform: str = ""  # for the log


@dataclass(slots=True, eq=False)
class _Watch:
    """A reading in progress. Times are `time.monotonic()` seconds."""

    reading: Reading
    fd: int
    heard_at: float
    asked: bool = False  # a beat was sent since something was heard


class Reader:
    """Start it once; `add`, `remove` and the questions may come from any thread at any time."""

    def __init__(self) -> None:
        self._watches: dict[int, _Watch] = {}
        self._lock = threading.Lock()  # who takes a watch out of the dict is the one to end it
        self._commands: deque[tuple[Callable[[_Watch], None], _Watch]] = deque()
        self._beats: list[tuple[float, int, _Watch]] = []  # due at, tie breaker, whose
        self._serial = count()
        self._undecodable: dict[int, list[float]] = {}  # when readings ended for it, by key
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __len__(self) -> int:
        return len(self._watches)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout: float) -> bool:
        """End all readings silently and close their streams. False when the thread is still held
        up after `timeout` seconds, say by an `on_incoming` that blocks. May be called again."""
        with self._lock:
            self._stopping.set()
        if self._thread.ident is None:
            self._shut_down()  # never started
            return True
        self._wake()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def add(self, reading: Reading) -> None:
        """Start reading; the stream is the reader's from now on.

        Raises `ValueError` for a key that is being read already, `RuntimeError` after `stop`; the
        stream is then still the caller's.
        """
        if not 0 < reading.stream.heartbeat_seconds < threading.TIMEOUT_MAX:
            raise ValueError(f"a heartbeat every {reading.stream.heartbeat_seconds} s is none")
        # That the stream was opened is the first proof of life.
        watch = _Watch(reading, reading.stream.fileno(), heard_at=time.monotonic())
        with self._lock:
            if self._stopping.is_set():
                raise RuntimeError("the reader has been stopped")
            if reading.key in self._watches:
                raise ValueError(f"connection {reading.key} is being read already")
            self._watches[reading.key] = watch
            self._commands.append((self._begin, watch))
        self._wake()

    def remove(self, key: int) -> None:
        """Stop reading and close the stream; `on_end` is not called. What was received before may
        still be handed over while this returns. An unknown key is no error."""
        with self._lock:
            if watch := self._watches.pop(key, None):
                self._commands.append((self._let_go, watch))
        self._wake()

    def evidence(self, key: int) -> float | None:
        """`time.monotonic()` of the last proof of life; `None` when the key is not being read."""
        watch = self._watches.get(key)
        return watch.heard_at if watch else None

    # In the reader's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            # What is due is judged by the time before the look: after the reader was held up, all
            # that arrived in the meantime is read before anybody is called stale.
            looked_at = time.monotonic()
            readable = self._selector.select(self._patience(looked_at))
            heard_at = time.monotonic()
            for ready, _ in readable:
                if self._stopping.is_set():
                    break
                if ready.data is None:
                    self._obey()
                else:
                    ready.data.heard_at, ready.data.asked = heard_at, False
                    self._guard(self._read, ready.data)
            self._send_beats(looked_at)
        self._shut_down()

    def _patience(self, now: float) -> float | None:
        """Seconds until the next beat is due, `None` for ever."""
        return max(0.0, self._beats[0][0] - now) if self._beats else None

    def _obey(self) -> None:
        with suppress(OSError):  # nothing to drain, or stopped before
            self._wakened.recv(4096)
        while self._commands:
            command, watch = self._commands.popleft()
            self._guard(command, watch)

    def _begin(self, watch: _Watch) -> None:
        if not self._is_watched(watch):
            return  # removed before it began; its closing is the next command
        self._selector.register(watch.fd, selectors.EVENT_READ, watch)
        # The first beat comes at random, lest a thousand streams opened together beat together.
        every = watch.reading.stream.heartbeat_seconds
        self._beat_at(time.monotonic() + every * random.random(), watch)

    def _read(self, watch: _Watch) -> None:
        if not self._is_watched(watch):
            return
        reading = watch.reading
        incoming: list[Incoming] = []
        try:
            for frame in reading.stream.receive():
                try:
                    incoming += reading.decode(frame)
                except ValueError:
                    incoming.append(self._undecoded(watch, len(frame)))
        finally:  # also when a later frame ended the stream
            if incoming and self._is_watched(watch):
                reading.on_incoming(incoming)

    def _send_beats(self, now: float) -> None:
        while self._beats and self._beats[0][0] <= now:
            watch = heapq.heappop(self._beats)[2]
            if self._is_watched(watch):
                self._guard(self._beat, watch)

    def _beat(self, watch: _Watch) -> None:
        now = time.monotonic()
        every = watch.reading.stream.heartbeat_seconds
        silent_at = watch.heard_at + 2 * every
        if watch.asked and now >= silent_at:
            raise Stale(f"Nothing was heard for {now - watch.heard_at:.0f} s.")
        watch.reading.stream.beat()
        self._beat_at(min(now + every, silent_at) if watch.asked else now + every, watch)
        watch.asked = True

    def _beat_at(self, due: float, watch: _Watch) -> None:
        heapq.heappush(self._beats, (due, next(self._serial), watch))

    def _guard(self, step: Callable[[_Watch], None], watch: _Watch) -> None:
        """Whatever goes wrong in a step ends this reading and no other."""
        try:
            step(watch)
        except (PlatformError, Misconfigured) as reason:
            self._end(watch, reason)
        except Exception as reason:
            key, platform = watch.reading.key, watch.reading.platform
            log.exception("connection %s (%s): reading failed", key, platform)
            self._end(watch, reason)

    def _end(self, watch: _Watch, reason: Exception) -> None:
        with self._lock:
            if not self._is_watched(watch):
                return  # removed meanwhile, so nobody is told
            del self._watches[watch.reading.key]
        self._let_go(watch)
        try:
            watch.reading.on_end(reason)
        except Exception:
            log.exception("connection %s: on_end failed", watch.reading.key)

    def _let_go(self, watch: _Watch) -> None:
        with suppress(KeyError, ValueError):  # it never began, or was closed by somebody else
            self._selector.unregister(watch.fd)
        try:
            watch.reading.stream.close()
        except Exception:
            log.exception("connection %s: closing failed", watch.reading.key)

    def _shut_down(self) -> None:
        with self._lock:
            left = list(self._watches.values())
            self._watches.clear()
        self._obey()
        for watch in left:
            self._let_go(watch)
        self._selector.close()
        self._waker.close()
        self._wakened.close()

    def _undecoded(self, watch: _Watch, size: int) -> Incoming:
        """What stands for a frame nobody understands. Raises `Undecodable` to have it fetched."""
        key, now = watch.reading.key, time.monotonic()
        ends = [at for at in self._undecodable.get(key, ()) if now - at < UNDECODABLE_SECONDS]
        if len(ends) < MOST_ENDS:
            self._undecodable[key] = [*ends, now]
            # Sizes only: the frame, and the error about it, may hold private text.
            raise Undecodable(f"A frame of {size} bytes could not be read.") from None
        moment = datetime.now(UTC)
        return Incoming(
            kind=Kind.GAP,
            id=f"undecodable:{uuid4().hex}",
            occurred_at=moment,
            since=moment,
            text=f"The platform sent {size} bytes that could not be read.",
        )

    # Between threads ------------------------------------------------------------------------------

    def _is_watched(self, watch: _Watch) -> bool:
        return self._watches.get(watch.reading.key) is watch

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake anyway; closed: it is gone
            self._waker.send(b"\0")
