"""`manage.py up`: web server, worker, beat and connections in one process, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError

from botadmin.celery import app
from botadmin.embedded import first_start
from botadmin.embedded.first_start import Access
from botadmin.embedded.lock import DataInUse, Lock
from botadmin.embedded.parts import Beat, Connections, Part, Web, Worker
from bots import lanes, processes
from bots.connections import supervisor

log = logging.getLogger(__name__)
EXIT_STOPPED, EXIT_DIED, EXIT_FORCED = 0, 1, 130
WATCH_SECONDS = 0.5
WORKER_READY_SECONDS = 10


class Command(BaseCommand):
    help = "Run botadmin: web server, worker, beat and connections in one process."

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)  # database, keys and files are for the user we run as
        stop = _stop_on_signals()
        _lock_data()  # the system lets go of it when the process ends
        listening = _listen(settings.BOTADMIN_BIND, settings.BOTADMIN_PORT)
        call_command("migrate", interactive=False, verbosity=0)
        if not settings.DATABASE_IS_SERVER:
            # Whatever is marked as held belonged to a run before this one: we have the lock.
            lanes.release_all()
            supervisor.release_all()
        access = first_start.ensure()

        # In the order in which they stop: no new requests, no new events, then the work that is
        # under way. The clock stays, the worker hears by it that it should stop.
        worker = Worker(app, threads=settings.BOTADMIN_WORKER_THREADS)
        parts: list[Part] = [
            _web(listening),
            Connections(settings.BOTADMIN_CONNECTIONS),
            worker,
            Beat(app),
        ]
        if stop.is_set():
            _exit(EXIT_STOPPED)
        _exit(self._run(parts, worker, access, stop))

    def _run(
        self, parts: Sequence[Part], worker: Worker, access: Access, stop: threading.Event
    ) -> int:
        """Start, watch and stop; the exit code."""
        code = EXIT_DIED
        try:
            for part in reversed(parts):
                part.start()
            worker.wait_until_ready(WORKER_READY_SECONDS)
            if _ended(parts) is None:
                self._greet(access)
            ended = _watch(parts, stop)
            if ended is None:
                code = EXIT_STOPPED
                self._say("Stopping. Ctrl-C again stops at once.")
            else:
                log.critical("The %s ended by itself, so everything stops.", ended.name)
        except Exception:
            # The outermost frame of the process. Other threads run on: without us nobody watches.
            log.exception("Watching failed, so everything stops.")
        _stop(parts)
        with suppress(DatabaseError):  # it may be why we stop; then others see us go silent
            processes.leave()
        return code

    def _greet(self, access: Access) -> None:
        bind = settings.BOTADMIN_BIND
        host = f"[{bind}]" if ":" in bind else bind
        changed = "(not the one of the first start any more)"
        self._say(
            f"botadmin {settings.VERSION} runs. Ctrl-C stops it.\n"
            f"\n"
            f"  URL        http://{host}:{settings.BOTADMIN_PORT}/\n"
            f"  Admin      {access.user}\n"
            f"  Password   {access.password or changed}\n"
            f"  API token  {access.token or changed}\n"
            f"  Data       {settings.BOTADMIN_DATA_DIR}\n"
        )

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _stop_on_signals() -> threading.Event:
    """An event that the first SIGINT or SIGTERM sets; the second ends the process at once."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        if stop.is_set():
            os._exit(EXIT_FORCED)
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return stop


def _lock_data() -> None:
    # Beside a SQLite file it proves more: that no other run writes to that file, whatever its
    # data directory.
    database = settings.DATABASES["default"]["NAME"]
    stem = str(settings.BOTADMIN_DATA_DIR / "up") if settings.DATABASE_IS_SERVER else str(database)
    lock = Lock(Path(f"{stem}.lock"))
    try:
        lock.take()
    except DataInUse as error:
        raise CommandError(
            f"botadmin runs already: {error}. Stop it first, or give this one data of its own"
            " with BOTADMIN_DATA_DIR (and another BOTADMIN_PORT)."
        ) from error


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket: taken before anything else, so that a port in use stops us early."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {host} port {port}: {error.strerror}."
            " Stop what uses it, or set BOTADMIN_PORT (and BOTADMIN_BIND)."
        ) from error
    return listening


def _web(listening: socket.socket) -> Web:
    return Web(
        get_wsgi_application(),
        listening,
        threads=settings.BOTADMIN_WEB_THREADS + settings.BOTADMIN_STREAMS,
        max_body_bytes=settings.BOTADMIN_MAX_BODY_BYTES,
        behind_proxy=settings.BOTADMIN_BEHIND_PROXY,
    )


def _watch(parts: Sequence[Part], stop: threading.Event) -> Part | None:
    """Wait until we are told to stop, or a part ended by itself: that one."""
    while (ended := _ended(parts)) is None and not stop.wait(WATCH_SECONDS):
        pass
    return ended


def _ended(parts: Sequence[Part]) -> Part | None:
    return next((part for part in parts if not part.alive), None)


def _stop(parts: Sequence[Part]) -> None:
    deadline = time.monotonic() + settings.BOTADMIN_STOP_SECONDS
    for part in parts:
        if not part.stop(max(0.1, deadline - time.monotonic())):
            log.warning("The %s is cut short; the next start goes on where it was.", part.name)


def _exit(code: int) -> NoReturn:
    """End now: threads of a pool that still wait for a platform must not keep the process."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
