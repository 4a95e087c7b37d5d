"""What goes wrong on command: requests that hang, vanish, are refused or answered too late.

A fault matches requests by method, path prefix and user, and is used up by count or by time.
The first matching one acts, in the order they were set, so that a test knows what it gets.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from .clock import Clock


class Place(StrEnum):
    """Where on its way a request meets the fault."""

    BEFORE = "before"  # nothing was done yet
    DURING = "during"  # a post is marked as in progress, and not yet stored
    AFTER = "after"  # all is done, the answer is not written


class Kind(StrEnum):
    STALL = "stall"
    CUT = "cut"  # the connection ends without an answer
    ERROR = "error"  # an answer that is not the handler's
    TOO_MANY = "too_many"
    BREAK_OFF = "break_off"  # a list ends in an error in the middle


@dataclass(kw_only=True, eq=False)
class Fault:
    kind: Kind
    place: Place
    method: str = ""
    path: str = ""
    user_id: str = ""
    left: int | None = None  # None: as often as it takes
    until: float | None = None  # seconds on the clock
    seconds: float | None = None  # of a stall; None: until released
    status: int = 500
    by: str = "server"  # or "proxy": who answers an error
    retry_after: int = 1
    released: asyncio.Event = field(default_factory=asyncio.Event)
    met: int = 0  # requests that ran into it

    def matches(self, method: str, path: str, user_id: str) -> bool:
        return (
            self.method.upper() in ("", method)
            and path.startswith(self.path)
            and self.user_id in ("", user_id)
        )


class Cut(Exception):
    """A request ends without an answer."""


class Faults:
    def __init__(self, clock: Clock):
        self._clock = clock
        self._faults: list[Fault] = []
        self._hanging: set[Fault] = set()
        self._deaths = 0

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """All is well again: hanging requests go on, and the rest is forgotten."""
        self.release()
        self._faults.clear()

    def release(self) -> None:
        """Let go of every request that hangs; stalls end with it."""
        for fault in self._hanging:
            fault.released.set()
        self._faults = [fault for fault in self._faults if fault.kind != Kind.STALL]

    def die(self) -> None:
        """The process is gone: what hangs is neither done nor answered."""
        self._deaths += 1
        self.release()

    def take(self, place: Place, method: str, path: str, user_id: str) -> Fault | None:
        """The fault this request meets at this place, counted as used."""
        now = self._clock.seconds()
        self._faults = [
            one for one in self._faults if one.left != 0 and (one.until is None or one.until > now)
        ]
        for fault in self._faults:
            if fault.place == place and fault.matches(method, path, user_id):
                fault.met += 1
                if fault.left is not None:
                    fault.left -= 1
                return fault
        return None

    async def hang(self, fault: Fault) -> None:
        """Wait as the fault says. Raises Cut when the server did not live to see the end."""
        deaths = self._deaths
        self._hanging.add(fault)
        await self._wait(fault)
        if deaths != self._deaths:
            raise Cut

    async def _wait(self, fault: Fault) -> None:
        if fault.seconds is None:
            await fault.released.wait()
            return
        elapsed = asyncio.Event()
        timer = self._clock.call_later(fault.seconds, elapsed.set)
        waits = [asyncio.ensure_future(one.wait()) for one in (elapsed, fault.released)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for wait in waits:
                wait.cancel()


@dataclass(kw_only=True)
class FrameFault:
    kind: str  # duplicate, reorder or omit
    left: int
    user_id: str = ""


class FrameFaults:
    """What becomes of the next events on websockets."""

    def __init__(self) -> None:
        self._faults: list[FrameFault] = []

    def add(self, fault: FrameFault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def take(self, user_id: str) -> str:
        """The kind of fault the next event for this user meets, "" for none."""
        for fault in self._faults:
            if fault.left and fault.user_id in ("", user_id):
                fault.left -= 1
                return fault.kind
        return ""
