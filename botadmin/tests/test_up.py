"""`manage.py up` as an operator meets it: as a process."""

from __future__ import annotations

import json
import queue
import re
import shutil
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
import requests

from botadmin.tests.processes import environment, free_port, manage, start

pytestmark = pytest.mark.long

START_SECONDS, STOP_SECONDS = 120, 10


class Running:
    """A running `manage.py up` and what it printed."""

    def __init__(self, data: Path, **changes: str) -> None:
        self.port = free_port()
        self.env = environment(BOTADMIN_DATA_DIR=str(data), BOTADMIN_PORT=str(self.port), **changes)
        self.process = start("up", env=self.env)
        self.output = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        assert self.process.stdout
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reader.start()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while text not in self.output:
            line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"it ended:\n{self.output}"
            self.output += line

    def greeted_with(self, label: str) -> str:
        self.wait_for("  Data  ")
        found = re.search(rf"^  {label} +(.+)$", self.output, re.MULTILINE)
        assert found
        return found[1]

    def ask_to_stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self, stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                self._lines.put(line)
        self._lines.put(None)


@pytest.fixture
def run_up(tmp_path) -> Iterator[Callable[..., Running]]:
    """Starts one on the data of this test; what still runs at its end is killed."""
    started: list[Running] = []

    def run(**changes: str) -> Running:
        started.append(Running(tmp_path / "var", **changes))
        return started[-1]

    yield run
    for running in started:
        running.kill()


@pytest.fixture
def first_up(run_up) -> Running:
    """One that finds nothing: no keys, no database."""
    return run_up()


@pytest.fixture
def up(run_up, tmp_path, tables) -> Running:
    """One that finds a database without anything in it, which takes it half the time."""
    (tmp_path / "var").mkdir()
    shutil.copy(tables, tmp_path / "var")
    return run_up()


def test_it_answers_with_all_that_pages_need_and_tells_how_to_get_in(first_up):
    password, token = first_up.greeted_with("Password"), first_up.greeted_with("API token")

    assert requests.get(first_up.url("/api/v1/health/live/"), timeout=60).status_code == 200
    bearer = {"Authorization": f"Bearer {token}"}
    assert (
        requests.get(first_up.url("/api/v1/bots/"), headers=bearer, timeout=60).status_code == 200
    )
    assert requests.get(first_up.url("/api/v1/bots/"), timeout=60).status_code == 401
    with requests.Session() as browser:
        login = browser.get(first_up.url("/"), timeout=60)
        form = {
            "username": first_up.greeted_with("Admin"),
            "password": password,
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            "next": "/admin/",
        }
        page = browser.post(login.url, data=form, headers={"Referer": login.url}, timeout=60)
    assert page.url == first_up.url("/admin/")
    assert page.status_code == 200
    assert requests.get(first_up.url("/static/admin/js/core.js"), timeout=60).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked(up, number):
    up.wait_for("  Data  ")

    assert up.ask_to_stop(number) == 0

    with pytest.raises(requests.ConnectionError):
        requests.get(up.url(), timeout=1)


def test_asked_twice_it_stops_at_once(up):
    up.wait_for("  Data  ")
    up.process.send_signal(signal.SIGINT)
    up.wait_for("Stopping")
    up.process.send_signal(signal.SIGINT)

    assert up.process.wait(STOP_SECONDS) in (0, 130)


def test_a_second_one_on_the_same_data_is_refused(up):
    up.wait_for("  Data  ")

    second = manage("up", env=up.env | {"BOTADMIN_PORT": str(free_port())})

    assert second.returncode == 1
    assert f"botadmin runs already: process {up.process.pid} holds" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        done = manage("up", env=environment(BOTADMIN_DATA_DIR=str(tmp_path), BOTADMIN_PORT=port))

    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "BOTADMIN_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_one_leaves_nothing_that_stops_the_next(run_up):
    first = run_up()
    password, token = first.greeted_with("Password"), first.greeted_with("API token")
    first.kill()

    second = run_up()

    assert (second.greeted_with("Password"), second.greeted_with("API token")) == (password, token)
    assert second.ask_to_stop(signal.SIGTERM) == 0


def test_the_environment_decides_name_password_and_token_of_the_first_start(run_up):
    given = {
        "BOTADMIN_ADMIN_USER": "root",
        "BOTADMIN_ADMIN_PASSWORD": "correct horse",
        "BOTADMIN_API_TOKEN": "ba_given",
    }

    running = run_up(**given)

    greeted = [running.greeted_with(label) for label in ("Admin", "Password", "API token")]
    assert greeted == list(given.values())
    bearer = {"Authorization": "Bearer ba_given"}
    assert requests.get(running.url("/api/v1/bots/"), headers=bearer, timeout=60).ok
    assert running.ask_to_stop(signal.SIGTERM) == 0


def test_what_it_writes_is_for_its_owner_only(first_up, tmp_path):
    first_up.wait_for("  Data  ")
    assert first_up.ask_to_stop(signal.SIGTERM) == 0

    files = [path for path in (tmp_path / "var").rglob("*") if path.is_file()]

    assert {path.name for path in files} >= {"db.sqlite3", "secret_key", "first_start.json"}
    assert {path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()
    assert json.loads((tmp_path / "var/keys/first_start.json").read_text())["user"] == "admin"
