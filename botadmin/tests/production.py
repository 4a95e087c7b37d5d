"""An install as in production: the lines of the Procfile as processes, on a PostgreSQL and a Redis
of its own; and what is judged of it when something was broken on purpose."""

from __future__ import annotations

import glob
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import requests
from django.conf import settings

from botadmin.testing.services import CannotStart, PostgreSQL, Redis
from botadmin.tests.mattermost_company import (
    BOTS,
    PEOPLE,
    SENDS,
    UNFINISHED,
    Company,
    Comparison,
    Person,
)
from botadmin.tests.mattermost_storm import MAY_BE_SHOWN, Witness
from botadmin.tests.processes import DEADLINE, TOKEN, Install, until

PROCFILE = dict(
    line.split(": ", 1) for line in (settings.BASE_DIR / "Procfile").read_text().splitlines()
)
# Names of processes, and which line of the Procfile each runs.
PROCESSES = {
    "web": "web",
    "worker-1": "worker",
    "worker-2": "worker",
    "connections-1": "connections",
    "connections-2": "connections",
    "beat": "beat",
}
WORKERS = ("worker-1", "worker-2")
HOLDERS = ("connections-1", "connections-2")
HELD_ELSEWHERE_SECONDS = 15.0  # after the death of a holder
TRUE_SECONDS = 10.0  # what is shown is true after so long at most
PATIENCE_SECONDS = 180.0  # of clients, whatever is away
# What is frozen or away stays so for that much longer; 60 makes a story as long as it was meant.
LONG_SECONDS = float(os.environ.get("BOTADMIN_TEST_LONG_SECONDS", "0"))
# How Python sleeps, until a moment of the monotonic clock, libfaketime 0.9.10 refuses.
SLEEP_BY_SELECT = """
import select, time
def sleep(seconds):
    select.select((), (), (), seconds)
time.sleep = sleep
"""
# The tables, and a token to ask by.
FIRST_START = f"""
import django; django.setup()
from django.core.management import call_command
from bots.models import ApiToken, Scope
from django.contrib.auth import get_user_model
call_command("migrate", verbosity=0)
token = ApiToken(name="production", scopes=Scope.values, all_bots=True)
token.created_by_id = get_user_model().objects.create_superuser("admin").pk
token.set_text({TOKEN!r})
token.save()
"""
# The first that a new holder writes. One that starts for a reason was let go by the old one.
HELD_SINCE = """SELECT b.slug, min(e.occurred_at) FROM bots_event e
    JOIN bots_bot b ON b.id = e.bot_id WHERE e.kind = 'connection.changed'
    AND NOT (e.data->>'state' = 'starting' AND e.data->>'reason' <> '') AND e.occurred_at > %s
    GROUP BY b.slug"""
HOLDERS_OF_BOTS = """SELECT b.slug, c.holder FROM bots_connection c
    JOIN bots_bot b ON b.id = c.bot_id WHERE c.holder <> ''"""
HOLDERS_OF_LANES = "SELECT holder FROM bots_lane WHERE holder <> '' AND kind = 'jobs'"
HOLDER_OF_JOB = """SELECT l.holder FROM bots_lane l JOIN bots_job j ON j.lane_id = l.id
    WHERE j.payload->>'text' = %s AND l.holder <> ''"""
HEARD = "SELECT count(*) FROM bots_event WHERE kind = 'message.posted'"
STUCK_LANES = "SELECT key FROM bots_lane WHERE due_at < now() - interval '10 seconds'"


class Process:
    """One line of the Procfile. In a session of its own, so that what it starts ends with it."""

    def __init__(self, name: str, install: Install) -> None:
        self.name = name
        self.env = install.env  # may be made different for this one
        self._install = install
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self._install.log.open("ab") as output:
            self._process = subprocess.Popen(
                ["sh", "-c", f"exec {PROCFILE[PROCESSES[self.name]]}"],
                env={**self.env, "PATH": programs},
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """With all that it started, as the end of a container or of a machine does."""
        if self._process:
            with suppress(ProcessLookupError):  # it ended by itself, and was seen to
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """Tell it to stop and wait; the exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(DEADLINE)
        self._process = None
        return code

    def freeze(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def children(self) -> list[int]:
        """The pids of the processes it started itself."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]


class Production:
    """All of it: `with Production(folder, database, broker) as production`. The URLs say how its
    processes reach the servers, where that is not straight; whoever judges does."""

    def __init__(
        self,
        folder: Path,
        database: PostgreSQL,
        broker: Redis,
        *,
        database_url: str = "",
        broker_url: str = "",
    ) -> None:
        self.database = database
        self.broker = broker
        self.install = Install(
            folder,
            DATABASE_URL=database.url,
            BROKER_URL=broker.url,
            BOTADMIN_CONNECTIONS="10",
            BOTADMIN_ALLOWED_NETWORKS="127.0.0.0/8",  # webhooks go to this machine
        )
        self._urls = {
            "DATABASE_URL": database_url or database.url,
            "BROKER_URL": broker_url or broker.url,
        }
        self.processes = {name: self._process(name) for name in PROCESSES}

    def __enter__(self) -> Production:
        try:
            first = [sys.executable, "-c", FIRST_START]
            subprocess.run(first, env=self.install.env, cwd=settings.BASE_DIR, check=True)
            for process in self.processes.values():
                process.start()
            until(self.answers, self.install.log.read_text)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()

    @contextmanager
    def another(self, name: str) -> Iterator[Process]:
        """One more of the same kind, for as long as the context lasts."""
        process = self._process(name)
        process.start()
        try:
            yield process
        finally:
            process.kill()

    def _process(self, name: str) -> Process:
        process = Process(name, self.install)
        process.env = {**process.env, **self._urls}
        return process

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def answers(self) -> bool:
        """Whether the web says that it and the database are there."""
        with requests.Session() as session:
            session.trust_env = False
            url = f"http://127.0.0.1:{self.install.port}/api/v1/health/ready/"
            try:
                return session.get(url, timeout=DEADLINE).status_code == 200
            except requests.RequestException:
                return False

    # Who holds what ----------------------------------------------------------------------------

    def holders(self) -> dict[str, str]:
        """The name of the process that holds each bot's connection; its pid, when it is gone."""
        return {bot: self._named(holder) for bot, holder in self.install.records(HOLDERS_OF_BOTS)}

    def held_by(self, name: str) -> set[str]:
        """The bots whose connections a process holds."""
        return {bot for bot, holder in self.holders().items() if holder == name}

    def workers(self) -> set[str]:
        """Who works on a lane of jobs now, named as above."""
        return {self._named(holder) for holder in self.install.rows(HOLDERS_OF_LANES)}

    def worker_sending(self, text: str) -> str:
        """Who works on the lane of the message with this text; empty when nobody does."""
        return next(map(self._named, self.install.rows(HOLDER_OF_JOB, text)), "")

    def _named(self, holder: str) -> str:
        pid = holder.split(":")[1]
        found = (one.name for one in self.processes.values() if one.runs and str(one.pid) == pid)
        return next(found, pid)

    def seconds_until_held(self, bots: Set[str], since: datetime) -> dict[str, float]:
        """How long after that moment each was first held anew, as the rows say; only of those that
        were."""
        found = self.install.records(HELD_SINCE, since)
        return {bot: (at - since).total_seconds() for bot, at in found if bot in bots}


# What goes on meanwhile, and how it is judged ---------------------------------------------------


class Traffic:
    """People who write, clients that send, and a witness, until the end is asked for."""

    def __init__(self, company: Company, chance: random.Random) -> None:
        self.company = company
        self.witness = Witness(company, *BOTS, live_at_most_seconds=TRUE_SECONDS)
        how = {"pause_seconds": 0.8, "patience_seconds": PATIENCE_SECONDS}
        self.clients = [company.client(bot, to, chance, **how) for bot, to in SENDS]
        self._people = [Person(company, name, chance, pause_seconds=0.4) for name in PEOPLE]

    def start(self) -> None:
        for one in (*self._people, *self.clients, self.witness):
            one.start()

    def stop(self) -> None:
        for writer in (*self._people, *self.clients):
            writer.stop()
        for one in (*self._people, *self.clients):
            one.join()
        self.witness.stop()

    def accept(self) -> None:
        """Wait until every client had something more accepted."""
        before = [len(client.accepted) for client in self.clients]
        until(
            lambda: all(
                len(client.accepted) > n for client, n in zip(self.clients, before, strict=True)
            ),
            lambda: str([client.problem for client in self.clients]),
        )

    def flow(self) -> None:
        """Wait until every client had something more accepted, all that was accepted until then
        has been sent, and something more was heard."""
        (heard,) = self.company.install.rows(HEARD)
        self.accept()
        (newest,) = self.company.install.rows("SELECT max(id) FROM bots_job")
        older = f"{UNFINISHED} AND id <= {newest}"
        until(lambda: not self.company.install.rows(older))
        until(lambda: self.company.install.rows(HEARD)[0] > heard)

    def judge(self) -> Comparison:
        """Let everything come to its end, and compare both sides."""
        self.stop()
        found = self.company.settle(BOTS, self.clients, patience_seconds=2 * DEADLINE)
        complaints = {what: list for what, list in self.complaints(found).items() if list}
        assert not complaints, complaints
        assert found.gaps == []
        assert self.company.are_live(*BOTS)
        return found

    def complaints(self, found: Comparison) -> dict[str, list[str]]:
        """All that can be wrong when everything has come to its end, and what of it is."""
        rows = self.company.install.rows
        shown = (one.shown for one in self.witness.watched.values())
        return {
            "refused requests": [client.problem for client in self.clients if client.problem],
            "lost": found.lost,
            "doubled": found.doubled,
            "sends out of order": found.sends_out_of_order,
            "events out of order": found.events_out_of_order,
            "jobs that ended badly": rows("SELECT state FROM bots_job WHERE state <> 'succeeded'"),
            "lanes that are stuck": rows(STUCK_LANES),
            "untrue": self.witness.untrue,
            "unexpected states": sorted(set().union(*shown) - MAY_BE_SHOWN),
            "files with secrets": self.company.secrets_on_disk(),
        }


def let_files_grow_to(process: Process, size: int) -> None:
    """What a full disk is to those who write files: beyond this size, in bytes, is no room."""
    for pid in process.children():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def clock_ahead(folder: Path, *, minutes: int) -> dict[str, str]:
    """The environment of a Python process whose wall clock is that much ahead, and whose monotonic
    clock is not. `folder` keeps a file for it."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise CannotStart("libfaketime is not installed: apt-get install faketime")
    (folder / "sitecustomize.py").write_text(SLEEP_BY_SELECT)
    return {
        "LD_PRELOAD": found[0],
        "FAKETIME": f"+{minutes}m",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(folder),
    }
