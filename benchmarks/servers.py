"""Web servers in processes of their own: botadmin as `manage.py up` runs it, and an empty view."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOKEN = "bench-token-of-a-throw-away-install"
START_SECONDS = 60
Process = subprocess.Popen[bytes]


@contextmanager
def embedded() -> Iterator[int]:
    """`manage.py up` on the data of this install, with the demo and `TOKEN`; yields its port."""
    port = _free_port()
    changes = {"BOTADMIN_PORT": str(port), "BOTADMIN_API_TOKEN": TOKEN}
    with _running([str(ROOT / "manage.py"), "up"], changes) as process:
        _wait_for(process, port, "/api/v1/health/live/", status=200)
        yield port


@contextmanager
def empty_view() -> Iterator[int]:
    """The same web server, middleware and threads, with a view that does nothing."""
    port = _free_port()
    with _running(["-m", "benchmarks.empty_view"], {"BOTADMIN_PORT": str(port)}) as process:
        _wait_for(process, port, "/", status=202)
        yield port


@contextmanager
def _running(command: Sequence[str], changes: Mapping[str, str]) -> Iterator[Process]:
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=os.environ | changes, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)


def _wait_for(process: Process, port: int, path: str, *, status: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port, path, status):
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"nothing answers on port {port}")
        time.sleep(0.1)


def _answers(port: int, path: str, status: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == status
        except OSError:
            return False


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
