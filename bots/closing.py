"""Closing platform objects without waiting for them.

Saying goodbye may hang as long as any other call to a platform, or raise; whoever lets go of one,
above all the threads that serve everybody, has better things to do. A few daemon threads per
process do it: those that hang hold up other goodbyes, and nothing else.
"""

from __future__ import annotations

import logging
import queue
import threading

from django.db import connection as database

from spaces.platforms.contract import Platform

log = logging.getLogger(__name__)

THREADS = 4

_waiting: queue.Queue[Platform] = queue.Queue()
_threads: list[threading.Thread] = []
_lock = threading.Lock()


def close(platform: Platform) -> None:
    """Close it here and now; what it raises goes to the log."""
    try:
        platform.close()
    except Exception:
        log.exception("a client of %s could not be closed", platform.name)


def close_soon(platform: Platform) -> None:
    """Have it closed by another thread."""
    _waiting.put(platform)
    with _lock:
        if len(_threads) < THREADS:
            thread = threading.Thread(target=_run, name="closing", daemon=True)
            _threads.append(thread)
            thread.start()


def wait(seconds: float) -> None:
    """Until all are closed that were to be, or for this long."""
    with _waiting.all_tasks_done:
        _waiting.all_tasks_done.wait_for(lambda: not _waiting.unfinished_tasks, seconds)


def _run() -> None:
    while True:
        platform = _waiting.get()
        close(platform)
        database.close()
        _waiting.task_done()
