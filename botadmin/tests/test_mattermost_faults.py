"""The whole product against a simulated Mattermost in which things go wrong on purpose.

`manage.py up` runs as a process, people write, clients send, and faults come at random. A failing
run prints its seed; BOTADMIN_TEST_SEED repeats it. `python -m benchmarks faults` is the long form.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from botadmin.tests.mattermost_company import (
    BOTS,
    PEOPLE,
    SENDS,
    Client,
    Company,
    Comparison,
    Person,
)
from botadmin.tests.mattermost_storm import (
    LIVE_AT_MOST_SECONDS,
    MAY_BE_SHOWN,
    SLACK_SECONDS,
    Storm,
    Witness,
)
from botadmin.tests.processes import Install, start_worker, until
from spaces.testing.mattermost import SimulatedMattermost

pytestmark = pytest.mark.long

SEED = int(os.environ.get("BOTADMIN_TEST_SEED", random.randrange(10**6)))
# Enough for one fault of each kind; more of them take longer.
STORM_SECONDS = float(os.environ.get("BOTADMIN_TEST_STORM_SECONDS", "4.5"))
TAKEN_OVER_SECONDS = 15.0  # after a kill, storm or not, by the rows of the database


@pytest.fixture
def install(tmp_path: Path, tables: Path) -> Iterator[Install]:
    install = Install(tmp_path)
    install.begin_with(tables)
    install.start()
    yield install
    install.clean_up()


@pytest.fixture
def company(server: SimulatedMattermost, install: Install) -> Company:
    return Company(server, install)


@pytest.fixture
def witness(company: Company) -> Iterator[Callable[..., Witness]]:
    started: list[Witness] = []

    def watch(*bots: str) -> Witness:
        started.append(Witness(company, *bots))
        started[-1].start()
        return started[-1]

    yield watch
    for one in started:
        one.stop()


def test_in_a_storm_of_faults_all_is_heard_and_sent_once_and_in_order(company, witness):
    print(f"BOTADMIN_TEST_SEED={SEED}")  # noqa: T201 - shown when the test fails
    chance = random.Random(SEED)
    company.enrol(*BOTS)
    people = [Person(company, name, chance, pause_seconds=0.15) for name in PEOPLE]
    clients = [company.client(bot, to, chance, pause_seconds=0.8) for bot, to in SENDS]
    storm = Storm(company, chance, down_seconds=2)
    seen = witness(*BOTS)
    for one in (*people, *clients):
        one.start()

    storm.rage(STORM_SECONDS, pause_seconds=0.25)

    storm.end()
    print(*storm.diary, sep="\n")  # noqa: T201 - shown when the test fails
    for one in (*people, *clients):
        one.stop()
        one.join()
    found = company.settle(BOTS, clients)
    seen.stop()
    assert_all_is_well(company, found, clients)
    assert_the_screen_was_true(seen)
    assert found.posts > 100
    assert found.sends > 50


def test_a_websocket_that_falls_silent_is_called_stale_and_nothing_is_missed(company, witness):
    company.enrol("bot-0")
    seen = witness("bot-0")
    company.say("before")
    before = len(company.states("bot-0"))

    company.server.controls.silence_sockets()
    company.say(*(f"during {number}" for number in range(20)))
    until(lambda: len(company.states("bot-0")) > before)
    until(lambda: company.are_live("bot-0"))
    company.say("after")

    found = company.settle(["bot-0"], [])
    seen.stop()
    assert company.states("bot-0")[before:] == ["stale", "catching_up", "live"]
    assert_all_is_well(company, found)
    assert_the_screen_was_true(seen)
    assert (found.posts, found.caught_up) == (22, 20)


def test_a_server_that_is_away_is_waited_for_and_then_gets_what_was_sent(company, witness):
    company.enrol("bot-0", "bot-4")
    seen = witness("bot-0", "bot-4")
    chance = random.Random(1)
    clients = [company.client(bot, to, chance) for bot, to in SENDS if bot in ("bot-0", "bot-4")]
    company.say("before")
    company.server.controls.drop_sockets()
    company.say(*(f"during {number}" for number in range(20)))

    company.server.controls.restart(down_seconds=600)
    until(lambda: {one["state"] for one in company.connections().values()} == {"reconnecting"})
    for client in clients:
        client.send(10)
    company.server.controls.come_up()
    company.say("after")

    found = company.settle(["bot-0", "bot-4"], clients)
    seen.stop()
    assert company.states("bot-0")[-3:] == ["reconnecting", "catching_up", "live"]
    assert_all_is_well(company, found, clients)
    assert_the_screen_was_true(seen)
    assert found.sends == 10 * len(clients)


def test_a_network_that_loses_every_packet_is_noticed_and_nothing_is_missed(
    company, proxy, witness
):
    company.url = proxy.url
    company.enrol("bot-0")
    seen = witness("bot-0")
    client = company.client("bot-0", {"channel": "lobby"}, random.Random(1))
    company.say("before")

    proxy.lose_packets()
    company.say(*(f"during {number}" for number in range(20)))
    client.send(10)
    until(lambda: company.connections()["bot-0"]["state"] == "reconnecting")
    company.say("later")
    proxy.pass_packets()
    company.say("after")

    found = company.settle(["bot-0"], [client])
    seen.stop()
    states = company.states("bot-0")
    assert states[states.index("live") + 1] == "stale"
    assert states[-3:] == ["reconnecting", "catching_up", "live"]
    assert_all_is_well(company, found, [client])
    assert_the_screen_was_true(seen)
    assert (found.posts, found.sends) == (23, 10)


def test_a_token_that_was_revoked_is_told_within_two_heartbeats(company):
    company.enrol("bot-0")
    company.say("before")

    company.server.controls.revoke_token(company.tokens["bot-0"])
    revoked_at = time.monotonic()
    company.say("during")
    until(lambda: company.connections()["bot-0"]["state"] == "bad_credentials")
    seconds = time.monotonic() - revoked_at
    company.tokens["new"] = company.server.make.token("bot-0")
    company.ask("PATCH", "/bots/bot-0/", {"credentials": {"token": company.tokens["new"]}})
    company.say("after")

    found = company.settle(["bot-0"], [])
    assert seconds < LIVE_AT_MOST_SECONDS + SLACK_SECONDS
    assert_all_is_well(company, found)
    assert found.posts == 3


def assert_all_is_well(company: Company, found: Comparison, clients: Sequence[Client] = ()) -> None:
    log = company.install.log.read_text()
    assert "Traceback" not in log, log
    assert [client.problem for client in clients if client.problem] == []
    assert (found.lost, found.gaps, found.doubled) == ([], [], [])
    assert (found.sends_out_of_order, found.events_out_of_order) == ([], [])
    assert company.install.rows("SELECT DISTINCT state FROM bots_job") == ["succeeded"]
    assert company.secrets_on_disk() == []


def assert_the_screen_was_true(seen: Witness) -> None:
    assert seen.looks > 2  # a few are enough: what they saw is what counts
    assert seen.untrue == []
    assert set().union(*(one.shown for one in seen.watched.values())) <= MAY_BE_SHOWN


# Two processes that hold connections ---------------------------------------------------------


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with Workers(tmp_path) as workers:
        yield workers


class Workers:
    """An install on PostgreSQL and Redis: one process for the web, two that hold connections."""

    def __init__(self, folder: Path) -> None:
        self._server = os.environ["DATABASE_URL"]
        self._name = f"faults_{uuid4().hex}"
        self.install = Install(
            folder,
            DATABASE_URL=f"{self._server.rpartition('/')[0]}/{self._name}",
            BROKER_URL=f"{os.environ['BROKER_URL'].rpartition('/')[0]}/1",
            BOTADMIN_CONNECTIONS="0",
        )
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Workers:
        self._execute(f"CREATE DATABASE {self._name}")
        self.install.start()
        options = ("--concurrency", "4", "--connections", "10", "--loglevel", "INFO")
        for _ in range(2):
            self._processes.append(
                start_worker(*options, env=self.install.env, output=self.install.log)
            )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.install.clean_up()
        self._execute(f"DROP DATABASE {self._name} WITH (FORCE)")

    def _execute(self, command: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as database:
            database.execute(command.encode())

    def holders(self) -> Counter[int]:
        """How many connections each process holds, by its pid."""
        holders = self.install.rows("SELECT holder FROM bots_connection WHERE holder <> ''")
        return Counter(int(holder.split(":")[1]) for holder in holders)

    def kill(self, pid: int) -> None:
        (process,) = (one for one in self._processes if one.pid == pid)
        process.kill()
        process.wait()


@pytest.mark.services
def test_the_bots_of_a_killed_worker_live_on_elsewhere_in_the_middle_of_a_storm(server, workers):
    print(f"BOTADMIN_TEST_SEED={SEED}")  # noqa: T201 - shown when the test fails
    chance = random.Random(SEED)
    company = Company(server, workers.install)
    company.enrol(*BOTS)
    until(lambda: len(workers.holders()) == 2)  # they share
    people = [Person(company, name, chance, pause_seconds=0.15) for name in PEOPLE]
    clients = [company.client(bot, to, chance, pause_seconds=0.8) for bot, to in SENDS]
    storm = Storm(company, chance, down_seconds=2)
    for one in (*people, *clients):
        one.start()

    storm.rage(STORM_SECONDS / 2, pause_seconds=0.25)
    victim, _ = workers.holders().most_common(1)[0]
    workers.kill(victim)
    killed_at = time.monotonic()
    storm.rage(STORM_SECONDS / 2, pause_seconds=0.25)

    storm.end()
    print(*storm.diary, sep="\n")  # noqa: T201 - shown when the test fails
    until(lambda: victim not in workers.holders())
    seconds = time.monotonic() - killed_at
    until(company.are_live)
    for one in (*people, *clients):
        one.stop()
        one.join()
    found = company.settle(BOTS, clients)
    assert_all_is_well(company, found, clients)
    assert seconds < TAKEN_OVER_SECONDS
