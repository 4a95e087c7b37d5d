"""What was read from the database a moment ago, so that a busy client does not ask it again for
each request: their token, their bot, their channels.

Other processes change these rows without telling, so nothing is believed for longer than
BOTADMIN_RECENT_SECONDS; nor is it ever believed that something is not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.conf import settings

MOST = 10_000  # entries; then all are forgotten, which costs a query each

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key. They are shared by threads: nobody may change one."""

    def __init__(self) -> None:
        self._values: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        read_at, value = self._values.get(key, (0.0, None))
        if time.monotonic() - read_at < settings.BOTADMIN_RECENT_SECONDS:
            return value
        return None

    def get_or_read(self, key: K, read: Callable[[], V | None]) -> V | None:
        if (value := self.get(key)) is not None:
            return value
        asked_at = time.monotonic()
        if (value := read()) is not None:
            self.put(key, value, read_at=asked_at)
        return value

    def put(self, key: K, value: V, *, read_at: float) -> None:
        """`read_at`: of `time.monotonic`, from before the database was asked."""
        if len(self._values) >= MOST:
            self._values.clear()
        self._values[key] = read_at, value
