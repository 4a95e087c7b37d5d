"""A network that loses every packet, a clock that jumps, and a disk that is full, in production."""

from __future__ import annotations

import resource
import time
from uuid import uuid4

import pytest
import requests

from botadmin.tests.mattermost_company import Company
from botadmin.tests.mattermost_storm import Proxy
from botadmin.tests.processes import until
from botadmin.tests.production import LONG_SECONDS, TRUE_SECONDS, let_files_grow_to

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.long]

MEGABYTE = 1024 * 1024
SECONDS_OF_JUMP = 600.0
HANDED_IN = "SELECT id FROM bots_storedfile"
GO_ON = "SELECT state FROM bots_job WHERE payload->>'text' = 'with a file'"


@pytest.fixture
def platform_url(proxy: Proxy) -> str:
    """A network in between that can be cut."""
    return proxy.url


def test_a_network_that_loses_every_packet_is_told_and_survived(company, proxy, traffic):
    traffic.flow()

    proxy.lose_packets()
    lost_at = time.monotonic()
    until(lambda: not {one["state"] for one in company.connections().values()} & {"live"})
    seconds = time.monotonic() - lost_at
    time.sleep(LONG_SECONDS)  # lost for that long
    proxy.pass_packets()

    traffic.flow()
    traffic.judge()
    assert seconds < TRUE_SECONDS


def test_a_platform_whose_clock_jumps_ahead_loses_and_doubles_nothing(company, traffic):
    traffic.flow()

    company.server.controls.advance(SECONDS_OF_JUMP)

    traffic.flow()
    traffic.judge()


def test_a_full_disk_refuses_files_keeps_no_half_ones_and_stops_no_text(
    company, production, traffic
):
    key = uuid4().hex
    let_files_grow_to(production["web"], MEGABYTE)

    small, large = hand_in(company, 2 * MEGABYTE, key), hand_in(company, 4 * MEGABYTE, key)
    kept = [path for path in (production.install.data / "files").rglob("*") if path.is_file()]
    rows = production.install.rows(HANDED_IN)
    traffic.flow()
    let_files_grow_to(production["web"], resource.RLIM_INFINITY)
    later = hand_in(company, 4 * MEGABYTE, key)

    traffic.judge()
    assert (small.status_code, small.json()["code"]) == (507, "no_room")
    assert (large.status_code, large.json()["code"]) == (507, "no_room")
    assert (kept, rows) == ([], [])
    assert later.status_code == 202
    assert production.install.rows(GO_ON) == ["succeeded"]


def hand_in(company: Company, size: int, key: str) -> requests.Response:
    return company.request(
        "POST",
        "/bots/bot-2/messages/",
        data={"channel": "lobby", "text": "with a file"},
        files={"files": ("figures.bin", b"x" * size)},
        headers={"Idempotency-Key": key},
    )
