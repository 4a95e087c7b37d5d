"""The simulated server's time: it runs with the real one and can be moved forward.

Everything that waits asks this clock, so that a test moves an hour in no time.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count


@dataclass(order=True)
class Timer:
    due: float  # seconds on the clock
    number: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Belongs to the loop's thread, except for reading the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._ahead = 0.0
        self._timers: list[Timer] = []
        self._numbers = count()
        self._alarm: asyncio.TimerHandle | None = None

    def seconds(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._ahead

    def now(self) -> int:
        """Milliseconds since the epoch, as the wire has them."""
        return int(self.seconds() * 1000)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.seconds() + seconds, next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        self._set_alarm()
        return timer

    async def sleep(self, seconds: float) -> None:
        done = asyncio.Event()
        timer = self.call_later(seconds, done.set)
        try:
            await done.wait()
        finally:
            timer.cancel()

    async def advance(self, seconds: float, settle: Callable[[], Awaitable[None]]) -> None:
        """Move forward, stopping at every timer on the way; `settle` gives others a turn there.

        A negative number sets the clock back: timers then wait for as much longer.
        """
        if seconds < 0:
            self._ahead += seconds
            self._set_alarm()
            return
        goal = self.seconds() + seconds
        while self._timers and self._timers[0].due <= goal:
            self._ahead += max(0.0, self._timers[0].due - self.seconds())
            self._ring()
            await settle()
        self._ahead += max(0.0, goal - self.seconds())
        self._set_alarm()

    def stop(self) -> None:
        self._timers.clear()
        if self._alarm:
            self._alarm.cancel()

    def _set_alarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        if self._timers:
            wait = max(0.0, self._timers[0].due - self.seconds())
            self._alarm = self._loop.call_later(wait, self._ring)

    def _ring(self) -> None:
        now = self.seconds()
        while self._timers and self._timers[0].due <= now:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.callback()
        self._set_alarm()
