"""The pytest plugin: `pytest_plugins = ["bots.testing.plugin"]` gives tests a `chat`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bots.testing.chat import Chat


@pytest.fixture
def chat(db: None) -> Iterator[Chat]:
    """A bot of the local platform with every handler that does not come with botadmin, and the
    people who talk to it."""
    # Here, as plugins are imported before Django is ready.
    from bots import clients
    from bots.testing.chat import Chat

    # Rolled back transactions give ids out again: no client of an earlier test may be found.
    clients.close_idle(older_than=0)
    yield Chat()
    clients.close_idle(older_than=0)
