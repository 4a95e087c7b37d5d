"""The supervisor: holds connections under leases, opens them a few at a time, heals them.

One per process that may hold connections. Every tick it renews what it holds, lets go of what is
no longer wanted or was changed, and claims what nobody holds, up to its limit and its fair share.
It works while the broker is down. Opening is blocking work and runs in a small pool, a few at a
time per host; reading is one thread (`bots.connections.reader`), storing one more (`bots.inbox`).
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db import connection as database
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from bots import backoff, clients, closing, processes, syncing
from bots.connections import states
from bots.connections.intake import Intake
from bots.connections.reader import Reader, Reading
from bots.inbox import Inbox, Received
from bots.models import Bot, Connection, Receive, State
from bots.processes import own_name
from spaces.platforms.contract import Platform, Stream
from spaces.platforms.errors import (
    CredentialsRefused,
    Misconfigured,
    PlatformError,
    RateLimited,
    Stale,
)
from spaces.platforms.messages import Cursor, Incoming

log = logging.getLogger(__name__)

TICK_SECONDS = 2.0
LEASE = timedelta(seconds=10)
OPENERS = 16  # threads that open connections
OPENING_PER_HOST = 4  # at once, so that a thousand bots do not knock over their server
FIRST_OF_HOST = 4  # openers kept for hosts on which none is being opened
CLAIMS_PER_TICK = 200
UP = (State.LIVE, State.CATCHING_UP)
RETRY_UNKNOWN = timedelta(seconds=60)  # for platforms whose own delays nobody knows


@dataclass(slots=True)
class Held:
    """A connection this process holds the lease on."""

    id: int
    bot_id: int
    space_id: int
    host: str
    fence: int
    generation: int
    first_delay: float
    longest_delay: float
    was_live: bool = False  # since it was started, whoever held it then
    failures: int = 0
    retry_at: float = 0.0  # time.monotonic()
    open: bool = False
    live_since: float = math.inf  # time.monotonic()
    dropped: bool = False
    platform: Platform | None = field(default=None, repr=False)
    intake: Intake | None = field(default=None, repr=False)  # of its newest stream


class Supervisor:
    """Start it, stop it; everything else is in the database."""

    def __init__(self, limit: int, *, tick_seconds: float = TICK_SECONDS, lease: timedelta = LEASE):
        self.limit = limit
        self._tick_seconds = tick_seconds
        self._lease = lease
        self._held: dict[int, Held] = {}
        # What the pool is busy with, also with those that were dropped meanwhile: id → host.
        self._opening: dict[int, str] = {}
        self._lock = threading.RLock()  # guards `_held` and the fields of what is in it
        self._ended: queue.Queue[tuple[Held, Exception]] = queue.Queue()
        # Settled, and not written down yet; with the time of the next try.
        self._untold: list[tuple[Held, Exception, datetime]] = []
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._reader = Reader()
        self._inbox = Inbox(on_lost=self._lost)
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix="opener")
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        processes.allow_files(self.limit)
        self._inbox.start()
        self._reader.start()
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Store what was read, and give the leases back so that others take over at once."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and self._inbox.alive and self._reader.alive

    def __len__(self) -> int:
        return len(self._held)

    # The loop -----------------------------------------------------------------------------------

    def _run(self) -> None:
        next_tick = 0.0
        while not self._stopping.is_set():
            try:
                # First: a lease that is renewed vouches for the state that is written beside it.
                self._settle_ended()
                if time.monotonic() >= next_tick:
                    self._tick()
                    next_tick = time.monotonic() + self._tick_seconds
                self._open_what_may()
            except Exception:
                # The outermost loop of the process: whatever it was, the next tick tries again.
                log.exception("the supervisor's turn failed")
                database.close()
                next_tick = time.monotonic() + self._tick_seconds
            self._wake.wait(self._pause(next_tick))
            self._wake.clear()
        self._shut_down()

    def _pause(self, next_tick: float) -> float:
        with self._lock:
            waiting = [
                one.retry_at
                for one in self._held.values()
                if not one.open and one.id not in self._opening
            ]
        soonest = min([next_tick, *(at for at in waiting if at > time.monotonic())])
        return max(0.01, soonest - time.monotonic())

    def _tick(self) -> None:
        processes.beat(connections=self.limit, held=len(self._held))
        self._renew()
        self._note_proofs()
        self._claim()

    def _renew(self) -> None:
        """Renew our leases together; drop what was taken, switched off or changed."""
        with self._lock:
            held = list(self._held.values())
        # Only what we know of: a lease that was taken and then forgotten must run out.
        mine = Connection.objects.filter(holder=own_name(), pk__in=[one.id for one in held])
        with transaction.atomic():
            # Locked in the order in which the inbox locks them: neither deadlocks the other.
            list(mine.select_for_update().order_by("pk").values_list("pk", flat=True))
            mine.update(lease_until=Now() + self._lease)
        rows = mine.values_list(
            "pk", "fence", "state", "bot__generation", "bot__enabled", "bot__receive"
        )
        ours = {pk: rest for pk, *rest in rows}
        for one in held:
            if one.id not in ours or ours[one.id][0] != one.fence:
                self._drop(one)
                continue
            _, state, generation, enabled, receive = ours[one.id]
            if not enabled or receive != Receive.WEBSOCKET:
                self._let_go(one, State.OFF)
            elif generation != one.generation:
                self._let_go(one, State.STARTING, "The settings were changed.")
            elif state == State.BAD_CREDENTIALS:
                self._drop(one)
                self._release(one)

    def _note_proofs(self) -> None:
        """Write down which of our connections have shown that they live since the last tick."""
        since = time.monotonic() - self._tick_seconds
        with self._lock:
            up = [one.id for one in self._held.values() if one.open]
        proven = [pk for pk in up if (self._reader.evidence(pk) or 0) >= since]
        mine = Connection.objects.filter(pk__in=proven, holder=own_name())
        with transaction.atomic():
            # What the inbox has locked, it proves itself; waiting for it could be a deadlock.
            free = mine.select_for_update(skip_locked=True).values_list("pk", flat=True)
            mine.filter(pk__in=list(free)).update(last_ok_at=Now())

    # Claiming and letting go --------------------------------------------------------------------

    def _claim(self) -> None:
        free = self._room()
        if free <= 0:
            self._hand_over(-free)
            return
        with self._lock:
            # An opener that comes too late must not meet its successor.
            busy = self._opening.keys() | self._held.keys()
        candidates = (
            wanted()
            .exclude(pk__in=busy)
            .filter(Q(lease_until=None) | Q(lease_until__lt=Now()))
            .filter(states.due())
            .select_related("bot__space")
            .order_by("?")[: min(free, CLAIMS_PER_TICK)]
        )
        for connection in candidates:
            was_live = connection.state in (*UP, *states.LOST)
            if self._lease_to_us(connection):
                self._take(connection, was_live=was_live)

    def _lease_to_us(self, connection: Connection) -> bool:
        """Claim it as it was read. What a holder that is gone said last is not vouched for: it is
        not live any more, also where opening has to wait for its turn."""
        with transaction.atomic():
            taken = Connection.objects.filter(
                Q(lease_until=None) | Q(lease_until__lt=Now()),
                pk=connection.pk,
                fence=connection.fence,
            ).update(holder=own_name(), fence=F("fence") + 1, lease_until=Now() + self._lease)
            if taken:
                connection.fence += 1
                if connection.state in UP:
                    states.move(connection, State.STARTING, fence=connection.fence)
        return bool(taken)

    def _room(self) -> int:
        """How many more we may hold: up to our limit and our share of all that are wanted."""
        limits = processes.alive().values_list("connections", flat=True)
        total = max(1, self.limit, sum(limits))
        share = math.ceil(wanted().count() * self.limit / total)
        return min(self.limit, share) - len(self._held)

    def _hand_over(self, surplus: int) -> None:
        """Give what is above our share to a process that joined; only a few each tick."""
        held = dict(self._held)
        still = wanted().filter(pk__in=held).values_list("pk", flat=True)
        surplus -= len(held) - len(still)  # those that were switched off go by the next renewal
        for pk in still[: max(0, min(surplus, OPENERS))]:
            self._pass_on(held[pk], "Handed over to another process.")

    def _take(self, connection: Connection, *, was_live: bool) -> None:
        bot = connection.bot
        try:
            options = clients.options(bot)
        except Misconfigured as error:  # a platform that is not installed any more
            states.refuse(bot, error, fence=connection.fence)
            Connection.objects.filter(pk=connection.pk, fence=connection.fence).update(
                holder="", lease_until=None, not_before=Now() + RETRY_UNKNOWN
            )
            return
        one = Held(
            id=connection.pk,
            bot_id=bot.pk,
            space_id=bot.space_id,
            host=urlsplit(bot.space.url).netloc or bot.space.slug,
            fence=connection.fence,
            generation=bot.generation,
            first_delay=options["reconnect_first_seconds"],
            longest_delay=options["reconnect_longest_seconds"],
            was_live=was_live,
            failures=connection.attempts,
        )
        with self._lock:
            self._held[one.id] = one

    def _let_go(self, one: Held, state: State, reason: str = "") -> None:
        self._drop(one)
        states.move(Connection(pk=one.id, bot_id=one.bot_id), state, fence=one.fence, reason=reason)
        self._release(one)

    def _pass_on(self, one: Held, reason: str) -> None:
        self._drop(one)
        row = Connection(pk=one.id, bot_id=one.bot_id)
        states.pass_on(row, fence=one.fence, reason=reason)
        self._release(one)

    def _release(self, one: Held) -> None:
        Connection.objects.filter(pk=one.id, fence=one.fence).update(holder="", lease_until=None)

    def _drop(self, one: Held) -> None:
        """Forget a connection and have it closed; what it brought already may still be stored."""
        with self._lock:
            if one.dropped:
                return
            one.dropped, one.open = True, False
            self._reader.remove(one.id)
            del self._held[one.id]
        self._close_platform(one)

    def _close_platform(self, one: Held) -> None:
        with self._lock:
            if one.id in self._opening:
                return  # its opener uses it still, and closes it in the end
            platform, one.platform = one.platform, None
        if platform is not None:
            closing.close_soon(platform)  # our caller serves all connections

    def _lost(self, connection_id: int, fence: int) -> None:
        # Called by the inbox: what was read under this fence is not ours any more.
        with self._lock:
            one = self._held.get(connection_id)
        if one is not None and one.fence == fence:
            self._drop(one)

    # Opening ------------------------------------------------------------------------------------

    def _open_what_may(self) -> None:
        now = time.monotonic()
        with self._lock:
            busy = Counter(self._opening.values())
            waiting = [
                one
                for one in self._held.values()
                if not one.open and one.id not in self._opening and one.retry_at <= now
            ]
            # Hosts on which few are being opened go first, and have some openers to themselves, so
            # that three hosts that hang keep nobody out. Seven would, until their calls time out.
            for one in sorted(waiting, key=lambda one: busy[one.host]):
                room = OPENERS - busy.total()
                if room <= 0:
                    return
                most = OPENING_PER_HOST if room > FIRST_OF_HOST else 1
                if busy[one.host] >= most:
                    continue
                self._opening[one.id] = one.host
                busy[one.host] += 1
                self._openers.submit(self._open, one)

    def _open(self, one: Held) -> None:
        """Connect, read from now on, and close the hole since the last time. Runs in the pool."""
        try:
            self._connect_and_catch_up(one)
        except Exception as error:
            self._note_end(one, one.intake, error)
        finally:
            database.close()
            with self._lock:
                del self._opening[one.id]
            if not one.open:
                self._close_platform(one)
            self._wake.set()

    def _connect_and_catch_up(self, one: Held) -> None:
        bot = Bot.objects.select_related("space", "connection").get(pk=one.bot_id)
        row = bot.connection
        one.generation = bot.generation
        if not states.begin(row, fence=one.fence, generation=bot.generation):
            self._drop(one)  # somebody else has it, or a login was refused meanwhile
            self._release(one)
            return
        platform = one.platform = clients.connect(bot)
        syncing.sync_channels(bot, platform)
        cursor = row.cursor or self._first_cursor(one, platform)
        intake = one.intake = Intake(partial(self._store, one))
        self._read(one, intake, platform, platform.open_stream(cursor))
        # The stream may have ended, and that been settled, a moment ago.
        states.move(row, State.CATCHING_UP, fence=one.fence, only_after=row.attempts, caught_up=0)
        progress = states.Progress(row, fence=one.fence)
        while self._catch_up(one, platform, cursor, progress) and not intake.caught_up():
            self._inbox.wait_stored()
            row.refresh_from_db(fields=["cursor"])
            cursor = row.cursor
        self._inbox.wait_stored()
        with self._lock:
            if not one.open:
                return
            one.live_since, one.was_live = time.monotonic(), True
        states.move(
            row,
            State.LIVE,
            fence=one.fence,
            only_from=State.CATCHING_UP,  # for the same reason
            reason="Connected and caught up.",
            attempts=0,
            caught_up=progress.count,
            last_ok_at=Now(),
        )

    def _read(self, one: Held, intake: Intake, platform: Platform, stream: Stream) -> None:
        with self._lock:
            if one.dropped:
                stream.close()
                return
            one.open = True
            try:
                self._reader.add(
                    Reading(
                        key=one.id,
                        stream=stream,
                        decode=platform.decode,
                        on_incoming=intake.receive,
                        on_end=partial(self._note_end, one, intake),
                        platform=platform.name,
                    )
                )
            except BaseException:
                stream.close()
                raise

    def _first_cursor(self, one: Held, platform: Platform) -> Cursor:
        cursor = platform.start_cursor()
        self._store(one, (), cursor)
        return cursor

    def _catch_up(
        self, one: Held, platform: Platform, cursor: Cursor, progress: states.Progress
    ) -> bool:
        """Fetch what happened since. False when it was dropped in the middle: then what its stream
        brought must not be stored either, since the next holder begins with what is missing."""
        for batch in platform.catch_up(cursor):
            if one.dropped:
                return False
            received = replace(
                self._received(one, batch.incoming, batch.cursor),
                reactions=batch.reactions,
                channels=batch.channels,
                catch_up=True,
            )
            self._inbox.put(received)
            progress.add(len(batch.incoming))
        return True

    def _store(self, one: Held, incoming: Sequence[Incoming], cursor: Cursor) -> None:
        self._inbox.put(self._received(one, incoming, cursor))

    def _received(self, one: Held, incoming: Sequence[Incoming], cursor: Cursor) -> Received:
        return Received(
            connection_id=one.id,
            bot_id=one.bot_id,
            space_id=one.space_id,
            fence=one.fence,
            incoming=incoming,
            cursor=cursor,
        )

    # Ending -------------------------------------------------------------------------------------

    def _note_end(self, one: Held, intake: Intake | None, error: Exception) -> None:
        # Called by the reader thread, which must go on reading the others, and by openers.
        with self._lock:
            if one.intake is not intake:
                return  # the stream that ended has been replaced already
            # Not tried again before this end is settled, or it would be taken for the next one's.
            one.open, one.retry_at = False, math.inf
            self._ended.put((one, error))
        self._wake.set()

    def _settle_ended(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._settle(*self._ended.get_nowait())
        while self._untold:
            ended = self._untold.pop(0)
            try:
                self._tell(*ended)
            except (OperationalError, InterfaceError):
                self._untold.insert(0, ended)  # the database is away, not the news
                raise

    def _settle(self, one: Held, error: Exception) -> None:
        """Take leave of a stream, and find when it is tried again."""
        with self._lock:
            if one.dropped:
                return
            one.open = False
            # One that comes up only to fall again is failing, whatever it was in between.
            steady = time.monotonic() - one.live_since > one.longest_delay
            one.failures, one.live_since = 1 if steady else one.failures + 1, math.inf
            wait = _delay(one, error)
            one.retry_at = time.monotonic() + wait
        self._reader.remove(one.id)
        self._close_platform(one)
        # Until it is told, another end of it may come, and then no time is known any more.
        self._untold.append((one, error, timezone.now() + timedelta(seconds=wait)))

    def _tell(self, one: Held, error: Exception, next_try: datetime) -> None:
        """Write down why a connection ended."""
        if one.dropped:
            return
        if isinstance(error, CredentialsRefused | Misconfigured):
            self._settle_refused(one, error)
            return
        if not isinstance(error, PlatformError):
            log.error("connection %s failed", one.id, exc_info=error)
        lost = State.STALE if isinstance(error, Stale) else State.RECONNECTING
        states.move(
            Connection(pk=one.id, bot_id=one.bot_id),
            lost if one.was_live else State.STARTING,
            fence=one.fence,
            reason=error.detail if isinstance(error, PlatformError) else _internal(error),
            next_step="Nothing to do: it reconnects by itself.",
            attempts=one.failures,
            not_before=next_try,
        )

    def _settle_refused(self, one: Held, error: CredentialsRefused | Misconfigured) -> None:
        bot = Bot.objects.select_related("connection").get(pk=one.bot_id)
        bot.generation = one.generation  # what was refused are the settings we connected with
        states.refuse(bot, error, fence=one.fence)
        if isinstance(error, CredentialsRefused):
            self._drop(one)
            self._release(one)

    def _shut_down(self) -> None:
        with self._lock:
            held = list(self._held.values())
        for one in held:
            self._drop(one)
        self._reader.stop(timeout=2.0)
        self._inbox.stop(timeout=5.0)
        for one in held:
            with suppress(DatabaseError):  # it may be gone; then the leases run out
                self._pass_on(one, "The process that held it was stopped.")
        with suppress(DatabaseError):
            processes.leave()
        database.close()
        # Last, because they may wait for a platform that does not answer; and not for long.
        self._openers.shutdown(wait=False, cancel_futures=True)
        patience = time.monotonic() + 2.0
        while self._opening and time.monotonic() < patience:
            self._wake.wait(0.1)
            self._wake.clear()
        closing.wait(max(0.0, patience - time.monotonic()))


def wanted() -> QuerySet[Connection]:
    """The connections that somebody should hold."""
    return Connection.objects.filter(states.startable(), bot__receive=Receive.WEBSOCKET)


def release_all() -> None:
    """Forget all leases. Only for the start of an install whose single process is known dead."""
    Connection.objects.exclude(holder="").update(holder="", lease_until=None, not_before=None)


def _delay(one: Held, error: Exception) -> float:
    if isinstance(error, RateLimited):
        return error.retry_after
    if isinstance(error, Misconfigured):
        return one.longest_delay
    return backoff.delay(one.failures, first=one.first_delay, longest=one.longest_delay)


def _internal(error: Exception) -> str:
    return f"An internal error ({type(error).__name__}); the log has the details."
