"""Start `manage.py` as people do: as a process, with an environment of its own; stop it, kill it,
and look at what it left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

MANAGE = settings.BASE_DIR / "manage.py"
DEADLINE = 60.0  # seconds for anything to happen
PATIENCE = 2 * DEADLINE  # where others work on the same machine, and nothing but waiting is lost
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.1  # seconds between two looks
TOKEN = "ba_processes"  # of an install's API


def environment(**changes: str) -> dict[str, str]:
    """Ours without anything that is meant for the tests; each test names its data directory."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BOTADMIN_", "DJANGO_")) and not name.endswith("_URL")
    }
    return kept | changes


def manage(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(
    *arguments: str, env: Mapping[str, str], output: Path | None = None
) -> subprocess.Popen[str]:
    """What it prints goes to the end of the file, or into a pipe that the caller must empty."""
    with output.open("ab") if output else contextlib.nullcontext(subprocess.PIPE) as stdout:
        return subprocess.Popen(
            [sys.executable, str(MANAGE), *arguments],
            env=dict(env),
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )


def start_worker(*arguments: str, env: Mapping[str, str], output: Path) -> subprocess.Popen[str]:
    """A Celery worker as in production, apart from its pool: threads, so that it is one process."""
    command = [sys.executable, "-m", "celery", "-A", "botadmin", "worker", "--pool", "threads"]
    with output.open("ab") as stdout:
        return subprocess.Popen(
            [*command, *arguments],
            env=dict(env),
            cwd=settings.BASE_DIR,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Install:
    """An install of its own: data, port and log file. It is started again after each end.

    It lives on SQLite, unless the changes of its environment name a DATABASE_URL.
    """

    def __init__(self, folder: Path, **changes: str) -> None:
        self.data = folder / "var"
        self.log = folder / "log"
        self.log.touch()
        self.port = free_port()
        self.env = environment(
            BOTADMIN_DATA_DIR=str(self.data),
            BOTADMIN_PORT=str(self.port),
            BOTADMIN_API_TOKEN=TOKEN,
            DJANGO_SETTINGS_MODULE="botadmin.settings",
            **changes,
        )
        self._process: subprocess.Popen[str] | None = None

    def begin_with(self, tables: Path) -> None:
        """Let its first start find this SQLite file, and have nothing to migrate."""
        self.data.mkdir()
        shutil.copy(tables, self.data / tables.name)

    def start(self) -> None:
        greeted = self.log.read_text().count("  Data  ")
        process = self._process = start("up", env=self.env, output=self.log)
        until(
            lambda: self.log.read_text().count("  Data  ") > greeted or process.poll() is not None
        )
        assert process.poll() is None, self.log.read_text()

    def end(self, number: signal.Signals) -> int:
        """Send the signal and wait; the exit code."""
        assert self._process
        self._process.send_signal(number)
        return self._process.wait(DEADLINE)

    def clean_up(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """The first column of what the query finds in the database."""
        return [row[0] for row in self.records(query, *values)]

    def records(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the query finds in the database."""
        if url := self.env.get("DATABASE_URL"):
            with psycopg.connect(url) as server:
                return server.execute(query.encode(), values).fetchall()
        with closing(sqlite3.connect(self.data / "db.sqlite3", timeout=DEADLINE)) as database:
            return database.execute(query, values).fetchall()

    def survivors(self) -> list[str]:
        """Processes that still run on our data."""
        mine = f"BOTADMIN_DATA_DIR={self.data}\0".encode()
        return [
            path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if mine in _of(path)
        ]


def until(
    condition: Callable[[], bool],
    explain: Callable[[], str] = lambda: "",
    *,
    seconds: float = PATIENCE,
) -> None:
    deadline = time.monotonic() + seconds
    pause = SHORTEST_PAUSE
    while not condition():
        assert time.monotonic() < deadline, f"it never happened; {explain()}"
        time.sleep(pause)
        # Those who ask an install take the processor from it.
        pause = min(1.5 * pause, LONGEST_PAUSE)


def _of(environ: Path) -> bytes:
    try:
        return environ.read_bytes()
    except OSError:  # it has ended meanwhile, or belongs to somebody else
        return b""
