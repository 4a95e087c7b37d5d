"""What a stream brings, stored behind what is fetched of the time before it.

A connection hears from now on before it asks what it missed, or there would be a hole between. So
what its stream brings waits until all that happened before is on its way to be stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from spaces.platforms.messages import Cursor, Incoming

MOST_EARLY = 10_000  # events that wait; of those that come on top we only know that there were some


class Intake:
    """Of one stream. `store` takes values and the position after them, in order; it may block."""

    def __init__(self, store: Callable[[Sequence[Incoming], Cursor], None]):
        self._store = store
        self._early: list[Incoming] | None = []  # None: nothing waits any more
        self._is_whole = True
        self._ordering = threading.Lock()

    def receive(self, incoming: Sequence[Incoming]) -> None:
        with self._ordering:
            if self._early is None:
                self._store(incoming, _after(incoming))
            elif self._is_whole and len(self._early) + len(incoming) <= MOST_EARLY:
                self._early += incoming
            else:
                self._is_whole = False  # nor does anything later wait: it would overtake

    def caught_up(self) -> bool:
        """All that happened before the stream began, or before this said False, was handed over to
        be stored. Then what waits is next, and what comes from now on is stored as it comes.

        False when there was no room for all that came: what was left out has to be fetched before
        anything else, which begins to wait now.
        """
        with self._ordering:
            early, is_whole = self._early, self._is_whole
            self._early, self._is_whole = None if is_whole else [], True
            if early:
                # It moves no position: what was fetched meanwhile may be further already.
                self._store(early, {})
            return is_whole


def _after(incoming: Sequence[Incoming]) -> Cursor:
    position: dict[str, Any] = {}
    for value in incoming:
        position.update(value.cursor)
    return position
