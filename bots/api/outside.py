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

PATIENCE_SECONDS = 5.0


@contextmanager
def place() -> Iterator[None]:
    """One of the places for those who wait; there are half as many as threads. Raises `Busy`."""
    if not _places().acquire(blocking=False):
        raise _busy()
    try:
        yield
    finally:
        _places().release()


@contextmanager
def place_soon() -> Iterator[None]:
    """As `place`, for what a page asks several of at once: it waits a moment for its turn. Who
    waits holds a thread, too, so at most a quarter as many as threads may."""
    if not _waiting().acquire(blocking=False):
        raise _busy()
    try:
        is_mine = _places().acquire(timeout=PATIENCE_SECONDS)
    finally:
        _waiting().release()
    if not is_mine:
        raise _busy()
    try:
        yield
    finally:
        _places().release()


def _busy() -> Busy:
    return Busy("Too many requests are waiting for platforms already. Try again in a few seconds.")


@cache
def _places() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(max(1, settings.BOTADMIN_WEB_THREADS // 2))


@cache
def _waiting() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(max(1, settings.BOTADMIN_WEB_THREADS // 4))
