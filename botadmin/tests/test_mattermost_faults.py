"""The whole product against a simulated Mattermost in which things go wrong on purpose.

`manage.py up` runs as a process, people write, clients send, and faults come at random. A failing
run prints its seed; BOTADMIN_TEST_SEED repeats it. `python -m benchmarks faults` is the long form.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
from botadmin.tests.mattermost_storm import BUT, Proxy, Storm, Witness, hears
from botadmin.tests.processes import Install, until
from spaces.testing.mattermost import SimulatedMattermost

SEED = int(os.environ.get("BOTADMIN_TEST_SEED", random.randrange(10**6)))
STORM_SECONDS = 8.0


@pytest.fixture
def server() -> Iterator[SimulatedMattermost]:
    with SimulatedMattermost() as server:
        yield server


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    install = Install(tmp_path)
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
    clients = [company.client(bot, to, chance, pause_seconds=0.4) for bot, to in SENDS]
    storm = Storm(company, chance, down_seconds=2)
    seen = witness(*BOTS)
    for one in (*people, *clients):
        one.start()

    storm.rage(STORM_SECONDS, pause_seconds=0.25)

    storm.end()
    for one in (*people, *clients):
        one.stop()
        one.join()
    found = company.settle(BOTS, clients)
    seen.stop()
    assert_all_is_well(company, found, clients)
    assert_the_screen_was_true(seen)
    assert found.posts > 100
    assert found.sends > 50


def assert_all_is_well(company: Company, found: Comparison, clients: Sequence[Client] = ()) -> None:
    assert [client.problem for client in clients if client.problem] == []
    assert (found.lost, found.doubled) == ([], [])
    assert (found.sends_out_of_order, found.events_out_of_order) == ([], [])
    assert company.install.rows("SELECT DISTINCT state FROM bots_job") == ["succeeded"]
    assert company.secrets_on_disk() == []
    log = company.install.log.read_text()
    assert "Traceback" not in log, log


def assert_the_screen_was_true(seen: Witness) -> None:
    assert seen.looks > 10
    assert seen.untrue == []
    assert set().union(*(one.shown for one in seen.watched.values())) <= BUT
