"""Networks between our processes and their database or broker that lose or hold up every packet,
and close nothing, while people write and clients send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from botadmin.testing.services import PostgreSQL, Redis
from botadmin.tests.mattermost_company import BOTS
from botadmin.tests.mattermost_storm import Proxy
from botadmin.tests.production import LONG_SECONDS

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.long]

STALL_SECONDS = 20.0 + LONG_SECONDS
STALLS = pytest.mark.parametrize(
    "stall", [Proxy.lose_packets, Proxy.hold_packets], ids=["lost", "late"]
)


@pytest.fixture
def to_database(database: PostgreSQL) -> Iterator[Proxy]:
    with closing(Proxy(database.port)) as proxy:
        yield proxy


@pytest.fixture
def database_url(database: PostgreSQL, to_database: Proxy) -> str:
    return database.url_at(to_database.port)


@pytest.fixture
def to_broker(broker: Redis) -> Iterator[Proxy]:
    with closing(Proxy(broker.port)) as proxy:
        yield proxy


@pytest.fixture
def broker_url(broker: Redis, to_broker: Proxy) -> str:
    return broker.url_at(to_broker.port)


@STALLS
def test_a_network_to_the_database_that_stalls_is_waited_for(
    stall: Callable[[Proxy], None], to_database, traffic
):
    traffic.flow()

    stall(to_database)
    time.sleep(STALL_SECONDS)  # it stalls for that long
    to_database.pass_packets()

    traffic.flow()
    traffic.judge()


@STALLS
def test_a_network_to_the_broker_that_stalls_holds_up_no_connection(
    stall: Callable[[Proxy], None], to_broker, company, traffic
):
    traffic.flow()

    stall(to_broker)
    traffic.accept()
    time.sleep(STALL_SECONDS)
    assert company.are_live(*BOTS)
    to_broker.pass_packets()

    traffic.flow()
    traffic.judge()
