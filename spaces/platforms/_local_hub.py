"""Pushes new events of the local platform to its open streams: one thread for a whole process.

The thread reads the event log. Commits of its own process wake it at once; those of others it
notices by looking at the clocks of the spaces with listeners, one query every `TICK_SECONDS`. It
starts with the first stream, ends with the last one, and takes nothing down with it: streams of a
hub that died raise `Unavailable`, and their readers connect again.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Q

from spaces.models.local import LocalClock, LocalEvent, LocalMember
from spaces.platforms import _local_wire as wire
from spaces.platforms._local_log import NOT_FOR_ACTOR, event_json
from spaces.platforms.errors import Unavailable

log = logging.getLogger(__name__)

TICK_SECONDS = 0.05  # how late an event of another process may be noticed; costs 2 % of a core
RETRY_SECONDS = 0.5  # between two attempts while the database fails
EVENTS_PER_TICK = 1_000
MOST_FRAMES = 10_000  # waiting in one stream; its reader is then better off catching up
HEARTBEAT_SECONDS = 10.0
THREAD_NAME = "local-hub"


class LocalStream:
    """The reading end of one account's events; the hub holds the other. As contract.Stream."""

    heartbeat_seconds = HEARTBEAT_SECONDS

    def __init__(self, hub: Hub, space_id: int, account_id: int):
        self.space_id = space_id
        self.account_id = account_id
        self._hub = hub
        self._lock = threading.Lock()
        self._frames: list[bytes] = []
        self._gone = False
        self._near, self._far = socket.socketpair()  # one byte waits in it while frames do
        self._near.setblocking(False)

    def fileno(self) -> int:
        return self._near.fileno()

    def receive(self) -> list[bytes]:
        with self._lock:
            if self._gone:
                raise Unavailable("The local event stream has ended.")
            with suppress(BlockingIOError):
                self._near.recv(16)
            frames, self._frames = self._frames, []
            return frames

    def beat(self) -> None:
        self._hub.ping(self)

    def close(self) -> None:
        self.break_off()
        self._near.close()
        self._far.close()

    def push(self, frame: bytes) -> None:
        """The hub's side. A reader that has fallen far behind loses the stream, not the events."""
        with self._lock:
            if self._gone:
                return
            if not self._frames:
                self._far.send(b"\0")
            self._frames.append(frame)
            if len(self._frames) <= MOST_FRAMES:
                return
        self.break_off()

    def break_off(self) -> None:
        """Push no more, and let the reader know."""
        self._hub.forget(self)
        self.end()

    def end(self) -> None:
        """Make the reader notice that nothing comes any more."""
        with self._lock:
            if self._gone:
                return
            self._gone = True
            if not self._frames:
                self._far.send(b"\0")
            self._frames = []


class Hub:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._streams: set[LocalStream] = set()
        self._pinged: set[LocalStream] = set()
        self._positions: dict[int, int] = {}  # space → the newest event its streams were given

    def open(
        self,
        *,
        space_id: int,
        account_id: int,
        seq: int,
        make: Callable[[Hub, int, int], LocalStream] = LocalStream,
    ) -> LocalStream:
        """A stream of what happens after event `seq` at the latest."""
        stream = make(self, space_id, account_id)
        with self._lock:
            # Where the space has listeners already, the hub has given them all up to here, and
            # the new one will find that much by catching up.
            self._positions.setdefault(space_id, seq)
            self._streams.add(stream)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
                self._thread.start()
        return stream

    def forget(self, stream: LocalStream) -> None:
        with self._lock:
            self._streams.discard(stream)
            self._pinged.discard(stream)
            if all(other.space_id != stream.space_id for other in self._streams):
                self._positions.pop(stream.space_id, None)
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    def ping(self, stream: LocalStream) -> None:
        with self._lock:
            if stream in self._streams:
                self._pinged.add(stream)
        self.wake()

    def _run(self) -> None:
        failing = False
        try:
            while self._has_listeners():
                self._wake.wait(RETRY_SECONDS if failing else TICK_SECONDS)
                self._wake.clear()
                try:
                    self._tick()
                except DatabaseError as error:
                    if not failing:
                        log.warning("local events cannot be read, trying again: %s", error)
                    failing = True
                    connection.close()
                else:
                    failing = False
        except BaseException:
            self._abandon()
            raise
        finally:
            connection.close()

    def _has_listeners(self) -> bool:
        with self._lock:
            if not self._streams:
                self._thread = None  # said under the lock: the next stream starts a new one
            return bool(self._streams)

    def _abandon(self) -> None:
        with self._lock:
            streams, self._streams = self._streams, set()
            self._pinged.clear()
            self._positions.clear()
            self._thread = None
        for stream in streams:
            stream.end()

    def _tick(self) -> None:
        with self._lock:
            positions = dict(self._positions)
        clocks = LocalClock.objects.filter(space_id__in=positions).values_list("space_id", "seq")
        behind = {space: positions[space] for space, seq in clocks if seq > positions[space]}
        if behind:
            self._deliver(behind)
        # Answered only now: a hub that cannot read the log must not be taken for a live one.
        with self._lock:
            pinged, self._pinged = self._pinged, set()
        for stream in pinged:
            stream.push(wire.PONG)

    def _deliver(self, behind: dict[int, int]) -> None:
        news = Q()
        for space_id, seq in behind.items():
            news |= Q(space_id=space_id, seq__gt=seq)
        events = list(LocalEvent.objects.filter(news).order_by("space_id", "seq")[:EVENTS_PER_TICK])
        with self._lock:
            listeners: dict[int, dict[int, list[LocalStream]]] = {
                s: defaultdict(list) for s in behind
            }
            for stream in self._streams:
                if stream.space_id in listeners:
                    listeners[stream.space_id][stream.account_id].append(stream)
        stays = _stays(events, {account for heard in listeners.values() for account in heard})
        for event in events:
            heard = listeners[event.space_id]
            audience = set(heard)
            if event.room_id is not None:
                audience &= _present(stays[event.room_id], event.seq)
            if event.only_for_id is not None:
                audience &= {event.only_for_id}
            body = json.dumps(event_json(event), separators=(",", ":")).encode()
            for account_id in audience:
                if account_id == event.actor_id and event.kind in NOT_FOR_ACTOR:
                    continue
                for stream in heard.get(account_id, ()):
                    stream.push(wire.frame(account_id, body))
        self._advance(events)
        if len(events) == EVENTS_PER_TICK:
            self.wake()

    def _advance(self, events: Iterable[LocalEvent]) -> None:
        with self._lock:
            for event in events:
                # Gone when the last stream of the space has closed meanwhile.
                if event.space_id in self._positions:
                    self._positions[event.space_id] = event.seq


def _stays(events: list[LocalEvent], accounts: set[int]) -> dict[int | None, list[LocalMember]]:
    """Who of `accounts` was in the rooms of these events, by room, and from when until when."""
    found: dict[int | None, list[LocalMember]] = defaultdict(list)
    rooms = {event.room_id for event in events if event.room_id}
    if rooms:
        oldest = min(event.seq for event in events)
        for stay in LocalMember.objects.filter(
            Q(left_seq=None) | Q(left_seq__gte=oldest), room__in=rooms, account__in=accounts
        ):
            found[stay.room_id].append(stay)
    return found


def _present(stays: Iterable[LocalMember], seq: int) -> set[int]:
    return {
        stay.account_id
        for stay in stays
        if stay.joined_seq <= seq and (stay.left_seq is None or seq <= stay.left_seq)
    }


hub = Hub()
