"""Fairness among the threads of a worker: one bad neighbour hurts nobody.

A platform that hangs or a handler that sleeps cannot be interrupted, so room for the others is kept
beforehand, also while nobody else waits.
"""

from __future__ import annotations

import threading
from collections import Counter
from functools import cache

from django.conf import settings

from bots.models import Bot, Lane, LaneKind


class Bulkhead:
    """How many threads of this process one neighbour may hold.

    All jobs and polls of one space together get half of the threads, those of one bot a quarter,
    all handlers together half, and so do all deliveries, those of one subscription an eighth, so
    that a platform or a subscriber that hangs or a handler that sleeps leaves room for the others.
    A lane that finds no room is parked here and woken by the next one that
    leaves; a poll is simply due again soon.
    """

    def __init__(self, threads: int):
        self._running: Counter[str] = Counter()
        self._parked: dict[int, Lane] = {}  # by id, longest waiting first
        self._lock = threading.Lock()
        self.resize(threads)

    def resize(self, threads: int) -> None:
        self._half = max(1, threads // 2)
        self._quarter = max(1, threads // 4)
        self._eighth = max(1, threads // 8)

    def enter(self, lane: Lane) -> bool:
        with self._lock:
            if not self._enter(self._groups(lane)):
                self._parked.setdefault(lane.pk, lane)
                return False
            return True

    def enter_poll(self, bot: Bot) -> bool:
        with self._lock:
            return self._enter(self._platform_groups(bot))

    def leave(self, lane: Lane) -> int | None:
        """Returns the id of a parked lane that has room now."""
        with self._lock:
            return self._leave(self._groups(lane))

    def leave_poll(self, bot: Bot) -> int | None:
        """As `leave`."""
        with self._lock:
            return self._leave(self._platform_groups(bot))

    def _enter(self, groups: dict[str, int]) -> bool:
        if not self._room(groups):
            return False
        self._running.update(groups.keys())
        return True

    def _leave(self, groups: dict[str, int]) -> int | None:
        self._running.subtract(groups.keys())
        parked = self._parked.items()
        free = next((pk for pk, lane in parked if self._room(self._groups(lane))), None)
        if free is not None:
            del self._parked[free]
        return free

    def _room(self, groups: dict[str, int]) -> bool:
        return all(self._running[group] < most for group, most in groups.items())

    def _groups(self, lane: Lane) -> dict[str, int]:
        if lane.kind == LaneKind.HANDLERS:
            return {"handlers": self._half, f"handlers of {lane.bot_id}": self._quarter}
        if lane.kind == LaneKind.DELIVERIES:
            one = f"subscription {lane.subscription_id}"
            return {"deliveries": self._half, one: self._eighth}
        assert lane.bot is not None
        return self._platform_groups(lane.bot)

    def _platform_groups(self, bot: Bot) -> dict[str, int]:
        return {f"space {bot.space_id}": self._half, f"bot {bot.pk}": self._quarter}


@cache
def bulkhead() -> Bulkhead:
    """This process's. A Celery worker gives it the size of its pool."""
    return Bulkhead(settings.BOTADMIN_WORKER_THREADS)
