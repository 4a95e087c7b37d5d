"""A PostgreSQL and a Redis of one's own, on free ports, for as long as a command runs.

    python -m botadmin.testing.services -- pytest -m services

The command finds them in DATABASE_URL and BROKER_URL; its exit code is ours. Nothing stays.
Stories that break servers have some of their own and stop, start, cut and flush them.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psycopg
from redis import Redis as RedisClient

START_SECONDS = 30
# What tests can do without: after a power cut there is nothing they would want to find.
UNSAFE = {"fsync": "off", "full_page_writes": "off"}


class CannotStart(Exception):
    """A server is not installed, or does not come up; the text says which and why."""


class Server:
    """A server program of one's own, below a folder and on a port that both stay when it is
    stopped and started again. As a context it runs, and nothing of it is left at the end."""

    name = ""  # of the folder

    def __init__(self) -> None:
        self.port = _free_port()
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """How it is reached where something that listens on another port passes all on to it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(_folder(f"botadmin-{self.name}-"))
            stack.callback(self.stop)
            self._prepare()
            self.start()
            self._fill()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Returns when it answers. Does nothing to one that runs."""
        if self._process:
            return
        log = self.folder / "log"
        with log.open("ab") as output:
            # Its own session: Ctrl-C at the terminal is for the tests, we stop it after them.
            self._process = subprocess.Popen(
                self._command(),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{self.name} does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, without waiting for clients. What was committed is there at the next start."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_SECONDS)
            self._process = None

    def _prepare(self) -> None:
        """What the folder needs before the first start."""

    def _fill(self) -> None:
        """What has to be in it once it runs."""

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _is_up(self) -> bool:
        raise NotImplementedError


class PostgreSQL(Server):
    """With no `settings` it is as safe as PostgreSQL is by itself. `like` is where another one left
    a copy of its data, for this one to begin with; nothing is in it otherwise."""

    name = "postgresql"

    def __init__(self, settings: Mapping[str, str] = UNSAFE, *, like: Path | None = None) -> None:
        super().__init__()
        self._settings = settings
        self._like = like

    def url_at(self, port: int) -> str:
        return f"postgres://botadmin@127.0.0.1:{port}/botadmin"

    def cut(self) -> None:
        """End every connection that somebody has."""
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        others += " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(others)

    def copy_to(self, folder: Path) -> None:
        """Stop, and leave a copy of the data there, which is as it is after a clean end."""
        self.stop()
        _copy(self._data, folder)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> None:
        self._as_user = _unprivileged(self.folder)
        if self._like:
            _copy(self._like, self._data)
            return
        initdb = [_postgresql_program("initdb"), "-D", str(self._data), "-U", "botadmin"]
        _run([*self._as_user, *initdb, "-A", "trust", "-E", "UTF8", "--no-sync"])

    def _fill(self) -> None:
        if self._like:
            return
        createdb = [_postgresql_program("createdb"), "-h", "127.0.0.1", "-p", str(self.port)]
        _run([*createdb, "-U", "botadmin", "botadmin"])

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "300",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = _postgresql_program("postgres")
        return [*self._as_user, program, "-D", str(self._data), *options]

    def _is_up(self) -> bool:
        ready = [_postgresql_program("pg_isready"), "-q", "-h", "127.0.0.1"]
        return _succeeds([*ready, "-p", str(self.port)])


class Redis(Server):
    """Keeps nothing: stopping it is losing what is in it."""

    name = "redis"

    def url_at(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    def flush(self) -> None:
        """Forget everything, while everybody stays connected."""
        with RedisClient.from_url(self.url) as client:
            client.flushall()

    def _command(self) -> list[str]:
        program = shutil.which("redis-server")
        if program is None:
            raise CannotStart("redis-server is not installed: apt-get install redis-server")
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return [program, *where, "--save", "", "--appendonly", "no"]

    def _is_up(self) -> bool:
        return _listens(self.port)


@contextlib.contextmanager
def postgresql(settings: Mapping[str, str] = UNSAFE) -> Iterator[str]:
    """Yields a DATABASE_URL, for those who leave the server alone."""
    with PostgreSQL(settings) as server:
        yield server.url


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Yields a BROKER_URL, as above."""
    with Redis() as server:
        yield server.url


def main(arguments: Sequence[str]) -> int:
    command = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if not command:
        sys.stderr.write("Which command? python -m botadmin.testing.services -- pytest\n")
        return 2
    try:
        with postgresql() as database_url, redis() as broker_url:
            urls = {"DATABASE_URL": database_url, "BROKER_URL": broker_url}
            return subprocess.run(command, env=os.environ | urls, check=False).returncode
    except CannotStart as error:
        sys.stderr.write(f"{error}\n")
        return 2


@contextlib.contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _unprivileged(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: the words to put before a command so that it does not,
    having given `folder` to the user it will run as."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            return ["setpriv", *ids]
    raise CannotStart("There is no user postgres or nobody to run PostgreSQL as.")


def _postgresql_program(name: str) -> str:
    # Debian keeps them out of PATH, one folder a version.
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=_version) or [
        shutil.which(name) or ""
    ]
    if not found[-1]:
        raise CannotStart(f"PostgreSQL's {name} is not installed: apt-get install postgresql")
    return found[-1]


def _version(path: str) -> float:
    return float(Path(path).parts[4])


def _copy(data: Path, to: Path) -> None:
    _run(["cp", "--archive", str(data), str(to)])  # it stays its owner's and nobody else's


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise CannotStart(f"{command} failed:\n{done.stderr[-2000:]}")


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _listens(port: int) -> bool:
    with contextlib.closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
