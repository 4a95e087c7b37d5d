"""What every story about bots leaves behind it."""

from __future__ import annotations

import pytest

from spaces.testing import faulty


@pytest.fixture(autouse=True)
def _end_scripts():
    yield
    faulty.reset()
