"""What several platforms' tests stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spaces.testing.mattermost import SimulatedMattermost
from spaces.tests.platforms.mattermost_company import Company


@pytest.fixture
def company() -> Iterator[Company]:
    with SimulatedMattermost(settings={"TeamSettings": {"MaxUsersPerTeam": 10_000}}) as server:
        company = Company(server)
        yield company
        company.close()
