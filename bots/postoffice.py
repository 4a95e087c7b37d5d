"""The post office: what was stored is numbered and handed to subscribers, right after its commit.

Each worker has one, a thread of its own, so that events go out also while the broker is away or all
other threads are busy. It is told of what its own process stores; a process that has none asks a
worker by a task; and each looks by itself once a second, which finds what a crash left behind.
"""

from __future__ import annotations

import logging
import threading

from django.db import InterfaceError, OperationalError, connection

from bots import dispatch, sequence, wakeups

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


def sort() -> None:
    """Number what is committed, and hand it to the lanes of its subscribers.

    Who has far to go takes a step at a time, and those who are at the head never wait for it.
    """
    more = True
    while more:
        numbered = sequence.number()
        more = dispatch.dispatch() or numbered > 0


class PostOffice:
    """Sorts whenever there is something to sort."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="post office", daemon=True)

    def open(self) -> None:
        self._thread.start()
        wakeups.sort_here(self._wake.set)

    def close(self, seconds: float = 5.0) -> None:
        wakeups.sort_here(None)
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            try:
                sort()
            except (OperationalError, InterfaceError):
                log.warning("the database is away: events wait to be numbered")
                connection.close()
            except Exception:
                # The thread must survive whatever one event or subscription is like.
                log.exception("sorting events failed; it is tried again")
                connection.close()
        connection.close()
