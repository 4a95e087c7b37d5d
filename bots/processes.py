"""Who we are among the processes of this install, and who else is alive."""

from __future__ import annotations

import logging
import os
import resource
import socket
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

from django.db.models import QuerySet
from django.db.models.functions import Now

from bots.models import Process

# A process that was silent for longer is taken for dead.
ALIVE = timedelta(seconds=10)

FORGOTTEN = timedelta(minutes=10)
FILES_EACH = 2  # of a connection: its stream, and the session that opened it
OTHER_FILES = 256  # of the database, the broker, the logs, what is sent meanwhile

log = logging.getLogger(__name__)

_RUN = uuid4().hex[:8]  # tells a restarted process from its predecessor with the same pid


def own_name() -> str:
    """Unique to this run of this process; asks for the pid each time because workers fork."""
    return f"{socket.gethostname()}:{os.getpid()}:{_RUN}"[:100]


def beat(*, connections: int = 0, held: int = 0) -> None:
    """Say that this process is alive, how many connections it may hold, and how many it holds."""
    Process.objects.update_or_create(
        name=own_name(), defaults={"seen_at": Now(), "connections": connections, "held": held}
    )


def allow_files(connections: int) -> None:
    """Let this process have as many files open as so many connections take. Systems begin with
    1,024, and everybody may go up to a limit of the administrator's."""
    wanted = FILES_EACH * connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, wanted):
        return
    if not _is_enough(hard, wanted):
        log.warning(
            "%s connections want %s open files; this process may have %s. Raise LimitNOFILE of the "
            "service, or let processes hold fewer.",
            connections,
            wanted,
            hard,
        )
        wanted = hard
    with suppress(ValueError, OSError):  # some systems have yet another limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_enough(limit: int, wanted: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= wanted


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
