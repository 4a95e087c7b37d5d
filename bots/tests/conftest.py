"""What every story about bots leaves behind it."""

from __future__ import annotations

import pytest

from bots import scrub
from spaces.testing import faulty


@pytest.fixture(autouse=True)
def _no_secrets_of_others(monkeypatch):
    """What one story called a secret may be a word in another."""
    monkeypatch.setattr(scrub, "_known", set())
    monkeypatch.setattr(scrub, "_forms", ())


@pytest.fixture(autouse=True)
def _end_scripts():
    yield
    faulty.reset()
