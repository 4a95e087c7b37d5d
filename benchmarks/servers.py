"""Web servers in processes of their own: botadmin as it runs in this install, and an empty view.

With SQLite that is `manage.py up`; with PostgreSQL and Redis it is what the Procfile says.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from django.conf import settings

from bots import demo
from bots.models import ApiToken, Scope

ROOT = Path(__file__).parent.parent
TOKEN = "bench-token-of-a-throw-away-install"
START_SECONDS = 60
APPLICATION = "botadmin.wsgi:application"
Process = subprocess.Popen[bytes]


@contextmanager
def botadmin(*processes: str) -> Iterator[int]:
    """botadmin on the data of this install, with the demo and `TOKEN`; yields its port.

    In production form `processes` of the Procfile run besides web; `manage.py up` is all of them.
    """
    with ExitStack() as stack:
        port = _free_port()
        if settings.DATABASE_IS_SERVER:
            _fill()
            process = stack.enter_context(_running(_of_procfile("web"), _port(port)))
            for name in processes:
                stack.enter_context(_running(_of_procfile(name), {}))
        else:
            changes = _port(port) | {"BOTADMIN_API_TOKEN": TOKEN}
            command = [sys.executable, str(ROOT / "manage.py"), "up"]
            process = stack.enter_context(_running(command, changes))
        _wait_for(process, port, "/api/v1/health/live/", status=200)
        yield port


@contextmanager
def empty_view() -> Iterator[int]:
    """The same web server, middleware and threads, with a view that does nothing."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.empty_server"]
    if settings.DATABASE_IS_SERVER:
        command = _of_procfile("web")
        command[-1] = command[-1].replace(APPLICATION, "benchmarks.empty_server:application")
    with _running(command, _port(port)) as process:
        _wait_for(process, port, "/", status=202)
        yield port


def _port(port: int) -> dict[str, str]:
    return {"BOTADMIN_PORT": str(port)}


def _fill() -> None:
    """As the first start of `manage.py up` does it; nothing to do for a second server."""
    if ApiToken.objects.exists():
        return
    token = ApiToken(name="bench", scopes=Scope.values, all_bots=True)
    token.set_text(TOKEN)
    token.save()
    demo.seed()


def _of_procfile(name: str) -> list[str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    (command,) = (line.partition(": ")[2] for line in lines if line.startswith(f"{name}: "))
    return ["sh", "-c", f"exec {command}"]  # a shell fills in the variables


@contextmanager
def _running(command: Sequence[str], changes: Mapping[str, str]) -> Iterator[Process]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PATH": programs} | changes,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, and we stop it
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
