"""Whether this install works, for those who start, stop and balance it."""

from __future__ import annotations

from dataclasses import dataclass

from celery import current_app
from django.db import DatabaseError, InterfaceError
from django.db.models import Min
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway

from bots import lanes, processes
from bots.models import LaneKind, Process

# A lane may wait behind a platform that hangs, which is that platform's trouble and not ours; when
# one waits this long, too few workers run.
LONGEST_OVERDUE_SECONDS = 300.0
BROKER_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found; None where the database could not tell."""

    database: bool
    broker: bool
    overdue_seconds: float | None  # how long the oldest due job has been waiting for a worker
    workers: int | None  # processes that ran a task a moment ago

    @property
    def on_time(self) -> bool:
        return self.overdue_seconds is not None and self.overdue_seconds <= LONGEST_OVERDUE_SECONDS

    @property
    def ready(self) -> bool:
        return self.database and self.broker and self.on_time and bool(self.workers)


def report() -> Report:
    try:
        overdue, alive = overdue_seconds(), workers()
    except (DatabaseError, InterfaceError):
        return Report(database=False, broker=broker_answers(), overdue_seconds=None, workers=None)
    return Report(database=True, broker=broker_answers(), overdue_seconds=overdue, workers=alive)


def overdue_seconds() -> float:
    """How long the oldest due job has been waiting for a worker."""
    due = lanes.due_lanes().filter(kind=LaneKind.JOBS).aggregate(at=Min("due_at"))["at"]
    return max(0.0, (timezone.now() - due).total_seconds()) if due else 0.0


def workers() -> int:
    """How many processes ran a task a moment ago."""
    return Process.objects.filter(worked_at__gt=Now() - processes.ALIVE).count()


def broker_answers() -> bool:
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
    except (BrokerAway, OSError):
        return False
    return True
