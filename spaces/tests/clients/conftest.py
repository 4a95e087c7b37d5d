"""One simulated server per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spaces.testing.mattermost import SimulatedMattermost
from spaces.tests.clients.office import Office


@pytest.fixture
def office() -> Iterator[Office]:
    with SimulatedMattermost() as server:
        office = Office(server)
        yield office
        office.close()
