"""What the stories about whole installs stand on."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from botadmin.testing.services import PostgreSQL, Redis
from botadmin.tests.browser import browser, chromium
from botadmin.tests.mattermost_company import BOTS, Company
from botadmin.tests.mattermost_storm import Proxy
from botadmin.tests.processes import environment, manage, until
from botadmin.tests.production import HOLDERS, Production, Traffic
from spaces.testing.mattermost import SimulatedMattermost

__all__ = ["browser", "chromium"]  # fixtures


def once_a_run(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """What `make` leaves at the path it is given, for all workers of this run."""
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    made = run / name
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(made)
    return made


def migrate(data: Path, **changes: str) -> None:
    migrated = manage("migrate", env=environment(BOTADMIN_DATA_DIR=str(data), **changes))
    assert migrated.returncode == 0, migrated.stderr


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables."""
    return once_a_run(tmp_path_factory, "migrated", migrate) / "db.sqlite3"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a PostgreSQL with all tables."""

    def make(folder: Path) -> None:
        with PostgreSQL() as database:
            migrate(folder.with_name("cluster-keys"), DATABASE_URL=database.url)
            database.copy_to(folder)

    return once_a_run(tmp_path_factory, "cluster", make)


@pytest.fixture
def server() -> Iterator[SimulatedMattermost]:
    with SimulatedMattermost() as server:
        yield server


@pytest.fixture
def proxy(server: SimulatedMattermost) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def platform_url(server: SimulatedMattermost) -> str:
    """Where botadmin looks for the platform."""
    return server.url


@pytest.fixture
def database(cluster: Path) -> Iterator[PostgreSQL]:
    """One of its own, with all tables."""
    with PostgreSQL(like=cluster) as database:
        yield database


@pytest.fixture
def database_url(database: PostgreSQL) -> str:
    """Where botadmin looks for it."""
    return database.url


@pytest.fixture
def broker() -> Iterator[Redis]:
    with Redis() as broker:
        yield broker


@pytest.fixture
def broker_url(broker: Redis) -> str:
    return broker.url


@pytest.fixture
def production(
    tmp_path: Path, database: PostgreSQL, broker: Redis, database_url: str, broker_url: str
) -> Iterator[Production]:
    urls = {"database_url": database_url, "broker_url": broker_url}
    with Production(tmp_path, database, broker, **urls) as production:
        yield production
    print(production.install.log.read_text())  # noqa: T201 - shown when the test fails


@pytest.fixture
def company(server: SimulatedMattermost, platform_url: str, production: Production) -> Company:
    """Its bots are live, and both processes hold some of them."""
    company = Company(server, production.install)
    company.url = platform_url
    company.enrol(*BOTS)
    until(lambda: {*production.holders().values()} == {*HOLDERS})
    return company


@pytest.fixture
def traffic(company: Company) -> Iterator[Traffic]:
    """People write and clients send all the time."""
    traffic = Traffic(company, random.Random(1))
    traffic.start()
    yield traffic
    traffic.stop()
