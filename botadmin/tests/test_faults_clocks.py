"""Processes of ours whose wall clock is wrong, among others whose clock is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from botadmin.tests.processes import until
from botadmin.tests.production import HOLDERS, WORKERS, clock_ahead

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.long]

TOLD_TEN_MINUTES_AHEAD = """SELECT id FROM bots_event WHERE kind = 'connection.changed'
    AND occurred_at > now() + interval '9 minutes'"""


def test_a_worker_and_a_holder_whose_clocks_are_ahead_lose_and_double_nothing(
    production, traffic, tmp_path: Path
):
    wrong = clock_ahead(tmp_path, minutes=10)
    for name in (WORKERS[0], HOLDERS[0]):
        production[name].stop()
        production[name].env |= wrong
        production[name].start()

    until(lambda: WORKERS[0] in production.workers())
    until(lambda: bool(production.held_by(HOLDERS[0])))
    until(lambda: bool(production.install.rows(TOLD_TEN_MINUTES_AHEAD)))

    traffic.flow()
    traffic.judge()
