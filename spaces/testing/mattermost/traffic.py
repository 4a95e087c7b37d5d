"""Who asked when: how many clients were at it at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Traffic:
    """For each token, when its first request came and when its last one was answered."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[float, float]] = {}  # time.monotonic()

    @contextmanager
    def of(self, token: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            first, _ = self._spans.get(token, (began, began))
            self._spans[token] = first, time.monotonic()

    def forget(self) -> None:
        """Begin anew."""
        self._spans.clear()

    def most_at_once(self) -> int:
        """Of tokens that were between their first request and their last."""
        begins = [(began, 1) for began, _ in self._spans.values()]
        ends = [(ended, -1) for _, ended in self._spans.values()]
        most = now = 0
        for _, change in sorted(begins + ends):
            now += change
            most = max(most, now)
        return most
