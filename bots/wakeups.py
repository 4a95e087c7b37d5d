"""Wake-ups: telling workers that there is something to do. They carry ids and no work, and may be
lost: the rows are the truth, and whoever sweeps finds them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from celery import current_app
from kombu.exceptions import OperationalError as BrokerError

log = logging.getLogger(__name__)

SORT_WITHIN_SECONDS = 60.0  # those who sort look by themselves, too
BROKER_PAUSE_SECONDS = 5.0  # how long a broker that is away is not asked again

_broker_away_until = 0.0
_sorter: Callable[[], None] | None = None


def ask(task: str, *arguments: object, expires: float | None = None) -> None:
    """Ask any worker to run a task of `bots.tasks`, unless it cannot start within `expires`
    seconds. A broker that is away is left alone for a moment."""
    global _broker_away_until
    if time.monotonic() < _broker_away_until:
        return
    try:
        current_app.send_task(f"bots.tasks.{task}", arguments, expires=expires, retry=False)
    except (BrokerError, OSError):
        _broker_away_until = time.monotonic() + BROKER_PAUSE_SECONDS
        log.warning("the broker is away: work waits for the next sweep that reaches it")


def sort_soon() -> None:
    """Have events numbered and handed on: by this process, if it can, else by any worker."""
    if not sort_if_here():
        ask("sort_events", expires=SORT_WITHIN_SECONDS)


def sort_if_here() -> bool:
    """As `sort_soon`, by this process or not at all; whether it can."""
    if _sorter is not None:
        _sorter()
    return _sorter is not None


def sort_here(sorter: Callable[[], None] | None) -> None:
    """From now on `sort_soon` calls this, and no worker."""
    global _sorter
    _sorter = sorter
