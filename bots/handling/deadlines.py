"""Time limits of handlers.

No thread can be ended from outside. A handler that takes too long loses its turn instead: a thread
of ours gives up for it, so that its lane goes on elsewhere, and from then on its call refuses to do
anything. The thread that it hangs in stays counted against the share of the threads that handlers
have (`bots.bulkhead`), until it really ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from django.db import connection

log = logging.getLogger(__name__)

_nobody_watches: ContextVar[bool] = ContextVar("nobody_watches", default=False)


class TimedOut(Exception):
    """The handler's time is over: somebody else may be at this event by now."""


class Turn:
    """The time that a handler has for one event."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.thread_id = threading.get_ident()
        self.ends = time.monotonic() + seconds
        self._decided = threading.Lock()  # taken once, by whoever says how the turn ended

    def check(self) -> None:
        """Raises `TimedOut` when the time is over."""
        if time.monotonic() >= self.ends:
            raise TimedOut(f"It did not end within {self.seconds:g} s.")

    def decide(self) -> bool:
        """Whether the caller is the one to write down how the turn ended."""
        return self._decided.acquire(blocking=False)


class Deadlines:
    """Watches the turns of a process. `give_up` of one that is late is called once, in a thread of
    its own, which no other turn's lateness waits for."""

    def __init__(self) -> None:
        self._turns: dict[Turn, Callable[[], None]] = {}
        self._changed = threading.Condition()
        self._looks_again = float("inf")  # time.monotonic()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, turn: Turn, give_up: Callable[[], None]) -> Iterator[None]:
        if _nobody_watches.get():
            yield
            return
        with self._changed:
            self._turns[turn] = give_up
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            if turn.ends < self._looks_again:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._turns.pop(turn, None)

    def _run(self) -> None:
        while True:
            for turn, give_up in self._late():
                if turn.decide():
                    threading.Thread(target=_finally_closed, args=(give_up,), daemon=True).start()

    def _late(self) -> list[tuple[Turn, Callable[[], None]]]:
        """Waits for the next that is late, or for a turn that ends sooner."""
        with self._changed:
            self._looks_again = min((turn.ends for turn in self._turns), default=float("inf"))
            seconds = min(self._looks_again - time.monotonic(), threading.TIMEOUT_MAX)
            if seconds > 0:
                self._changed.wait(seconds)
            now = time.monotonic()
            late = [turn for turn in self._turns if turn.ends <= now]
            return [(turn, self._turns.pop(turn)) for turn in late]


def _finally_closed(give_up: Callable[[], None]) -> None:
    try:
        give_up()
    except Exception:
        # Its lane is found by others when the lease on it runs out.
        log.exception("a handler that is late could not be given up")
    finally:
        connection.close()


@contextmanager
def unwatched() -> Iterator[None]:
    """Nobody gives up for the turns that this thread has meanwhile: those that are late are found
    late when they end. For tests, as no other thread sees what a test's transaction wrote."""
    token = _nobody_watches.set(True)
    try:
        yield
    finally:
        _nobody_watches.reset(token)


@cache
def deadlines() -> Deadlines:
    """This process's."""
    return Deadlines()
