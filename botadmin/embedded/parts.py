"""The four parts that run side by side in one process, each started, watched and stopped alike."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Protocol

from celery import Celery
from celery.beat import Service
from celery.worker import state as worker_state
from django.core.handlers.wsgi import WSGIHandler
from waitress import create_server, wasyncore

from bots import stream
from bots.connections.supervisor import Supervisor


class Part(Protocol):
    name: str

    def start(self) -> None: ...

    @property
    def alive(self) -> bool: ...

    def stop(self, seconds: float) -> bool:
        """Finish what is under way; False when it took longer than `seconds`."""
        ...


class Web:
    """The web server: waitress on a socket that listens already."""

    name = "web server"

    def __init__(
        self,
        application: WSGIHandler,
        listening: socket.socket,
        *,
        threads: int,
        max_body_bytes: int,
        behind_proxy: bool,
    ) -> None:
        self._server = create_server(
            application,
            sockets=[listening],
            threads=threads,
            ident=None,
            # Django refuses bodies that are too large, in words that a client understands. This is
            # for what is so large that it is not worth receiving.
            max_request_body_size=4 * max_body_bytes,
            clear_untrusted_proxy_headers=not behind_proxy,
            asyncore_use_poll=True,
            connection_limit=1000,
            log_socket_errors=False,  # clients that go away are no errors of ours
        )
        self._stop = threading.Event()
        self._thread = _thread("web", self._serve)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, seconds: float) -> bool:
        self._server.accepting = False
        stream.feed.end()
        self._server.task_dispatcher.shutdown(timeout=seconds)
        self._stop.set()
        self._server.pull_trigger()
        self._thread.join(1)
        return not self._server.task_dispatcher.threads

    def _serve(self) -> None:
        while not self._stop.is_set():
            wasyncore.loop(timeout=1, use_poll=True, map=self._server._map, count=1)
        wasyncore.close_all(self._server._map)


class Worker:
    """A Celery worker with a pool of threads. It leaves the process's signals alone."""

    name = "worker"

    def __init__(self, app: Celery, *, threads: int) -> None:
        self._ready = threading.Event()
        self._worker = app.WorkController(
            hostname="embedded@localhost",
            pool="threads",
            concurrency=threads,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
            ready_callback=self._on_ready,
        )
        self._thread = _thread("worker", self._worker.start)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wait_until_ready(self, seconds: float) -> bool:
        return self._ready.wait(seconds)

    def stop(self, seconds: float) -> bool:
        # Celery's own way to ask: the consumer looks at it after each message, and beat, which
        # stops last, sends one every second.
        worker_state.should_stop = 0  # type: ignore[assignment]  # the stubs know only None
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _on_ready(self, consumer: object) -> None:
        self._ready.set()


class Connections:
    """The supervisor that holds the connections of the bots."""

    name = "connection supervisor"

    def __init__(self, limit: int) -> None:
        self._supervisor = Supervisor(limit=limit)

    def start(self) -> None:
        self._supervisor.start()

    @property
    def alive(self) -> bool:
        return self._supervisor.alive

    def stop(self, seconds: float) -> bool:
        self._supervisor.stop(seconds)
        return not self._supervisor.alive


class Beat:
    """The clock that sends periodic tasks."""

    name = "beat"

    def __init__(self, app: Celery) -> None:
        # The longest nap decides how fast it can be stopped.
        self._service = Service(app, max_interval=1, scheduler_cls=app.conf.beat_scheduler)
        self._thread = _thread("beat", self._service.start)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, seconds: float) -> bool:
        self._service.stop()
        self._thread.join(seconds)
        return not self._thread.is_alive()


def _thread(name: str, run: Callable[[], object]) -> threading.Thread:
    # Daemons: the process decides when it ends, not the slowest of them.
    return threading.Thread(target=run, name=name, daemon=True)
