"""A PostgreSQL and a Redis of one's own, on free ports, for as long as a command runs.

    python -m botadmin.testing.services -- pytest -m services

The command finds them in DATABASE_URL and BROKER_URL; its exit code is ours. Nothing stays.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

START_SECONDS = 30


class CannotStart(Exception):
    """A server is not installed, or does not come up; the text says which and why."""


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Yields a DATABASE_URL. Nothing is written to disk for safety's sake: tests need none."""
    with _folder("botadmin-postgresql-") as folder:
        port = _free_port()
        data, as_user = folder / "data", _unprivileged(folder)
        initdb = [_postgresql_program("initdb"), "-D", str(data), "-U", "botadmin", "-A", "trust"]
        _run([*as_user, *initdb, "-E", "UTF8", "--no-sync"])
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "300",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*as_user, _postgresql_program("postgres"), "-D", str(data), *options]
        ready = [_postgresql_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        with _server(command, folder / "log", lambda: _succeeds(ready)):
            createdb = [_postgresql_program("createdb"), "-h", "127.0.0.1", "-p", str(port)]
            _run([*createdb, "-U", "botadmin", "botadmin"])
            yield f"postgres://botadmin@127.0.0.1:{port}/botadmin"


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Yields a BROKER_URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise CannotStart("redis-server is not installed: apt-get install redis-server")
    with _folder("botadmin-redis-") as folder:
        port = _free_port()
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
        command += ["--appendonly", "no", "--dir", str(folder)]
        with _server(command, folder / "log", lambda: _listens(port)):
            yield f"redis://127.0.0.1:{port}/0"


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


@contextlib.contextmanager
def _server(command: Sequence[str], log: Path, is_up: Callable[[], bool]) -> Iterator[None]:
    with log.open("wb") as output:
        # Its own session: Ctrl-C at the terminal is for the tests, we stop it when they are done.
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{command} does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # PostgreSQL: stop without waiting for clients
        process.wait(START_SECONDS)


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
