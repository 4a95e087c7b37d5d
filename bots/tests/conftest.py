"""What every story about bots leaves behind it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bots import scrub
from bots.tests.receiver import Receiver
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


@pytest.fixture
def receiver(settings):
    """Takes webhooks on this machine, which may be called meanwhile."""
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with Receiver() as receiver:
        yield receiver
