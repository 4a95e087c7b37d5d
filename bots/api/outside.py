"""How many requests may wait for something outside of this process at once.

A platform that hangs, or a job that takes long, would else hold all the threads that answer
requests, and with them every other client and the health checks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings

from bots.refusals import Busy


@contextmanager
def place() -> Iterator[None]:
    """One of the places for those who wait; there are half as many as threads. Raises `Busy`."""
    if not _places().acquire(blocking=False):
        raise Busy("Too many requests are waiting for platforms already.")
    try:
        yield
    finally:
        _places().release()


@cache
def _places() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(max(1, settings.BOTADMIN_WEB_THREADS // 2))
