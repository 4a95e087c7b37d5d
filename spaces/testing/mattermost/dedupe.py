"""The server's only protection against doubles: `pending_post_id`, for half a minute, in memory."""

from __future__ import annotations

from collections import OrderedDict

from .clock import Clock

DEDUPE_SECONDS = 30
DEDUPE_ENTRIES = 25_000
IN_PROGRESS = ""


class Dedupe:
    """What became of a `pending_post_id` in the last half minute. Lives in memory only."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._entries: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def get(self, pending: str) -> str | None:
        """The post's id, `IN_PROGRESS`, or None when nothing is known."""
        post_id, until = self._entries.get(pending, ("", 0.0))
        return post_id if until > self._clock.seconds() else None

    def put(self, pending: str, post_id: str) -> None:
        self._entries.pop(pending, None)
        self._entries[pending] = (post_id, self._clock.seconds() + DEDUPE_SECONDS)
        if len(self._entries) > DEDUPE_ENTRIES:
            self._entries.popitem(last=False)

    def forget(self, pending: str) -> None:
        self._entries.pop(pending, None)

    def clear(self) -> None:
        self._entries.clear()
