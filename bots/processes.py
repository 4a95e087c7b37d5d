"""Who we are among the processes of this install, and who else is alive."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from uuid import uuid4

from django.db.models import QuerySet
from django.db.models.functions import Now

from bots.models import Process

# A process that was silent for longer is taken for dead.
ALIVE = timedelta(seconds=10)

FORGOTTEN = timedelta(minutes=10)

_RUN = uuid4().hex[:8]  # tells a restarted process from its predecessor with the same pid


def own_name() -> str:
    """Unique to this run of this process; asks for the pid each time because workers fork."""
    return f"{socket.gethostname()}:{os.getpid()}:{_RUN}"[:100]


def beat(*, connections: int = 0, held: int = 0) -> None:
    """Say that this process is alive, how many connections it may hold, and how many it holds."""
    Process.objects.update_or_create(
        name=own_name(), defaults={"seen_at": Now(), "connections": connections, "held": held}
    )


def worked() -> None:
    """Say that this process runs tasks; called by one that comes every second."""
    Process.objects.update_or_create(
        name=own_name(), defaults={"seen_at": Now(), "worked_at": Now()}
    )


def tidy() -> None:
    """Forget processes that have been silent for long."""
    Process.objects.filter(seen_at__lt=Now() - FORGOTTEN).delete()


def leave() -> None:
    Process.objects.filter(name=own_name()).delete()


def alive() -> QuerySet[Process]:
    return Process.objects.filter(seen_at__gt=Now() - ALIVE)
