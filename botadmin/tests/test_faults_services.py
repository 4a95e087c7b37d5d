"""The broker and the database are stopped, emptied, cut off and away for a while, while people
write and clients send: nothing is lost and nothing comes twice."""

from __future__ import annotations

import time

import pytest

from botadmin.tests.mattermost_company import BOTS
from botadmin.tests.processes import until
from botadmin.tests.production import LONG_SECONDS
from bots.connections.supervisor import LEASE

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.long]

FENCES = "SELECT b.slug, c.fence FROM bots_connection c JOIN bots_bot b ON b.id = c.bot_id"
RECONNECTING = {"reconnecting"}
AWAY_SECONDS = 6.0  # longer than anybody waits for a database connection


def test_a_broker_that_stops_holds_up_what_is_sent_and_no_connection(production, traffic):
    fences = production.install.records(FENCES)

    production.broker.stop()
    traffic.accept()
    assert traffic.company.are_live(*BOTS)
    production.broker.start()

    traffic.flow()
    traffic.judge()
    assert sorted(production.install.records(FENCES)) == sorted(fences)


def test_a_broker_that_forgets_everything_forgets_no_message(production, traffic):
    for _ in range(3):
        traffic.accept()
        production.broker.flush()

    traffic.flow()
    traffic.judge()


def test_a_database_that_restarts_is_found_again(production, traffic):
    traffic.accept()

    production.database.stop()
    production.database.start()

    traffic.flow()
    traffic.judge()


def test_database_connections_that_are_cut_are_made_anew(production, traffic):
    for _ in range(3):
        traffic.accept()
        production.database.cut()

    traffic.flow()
    traffic.judge()


def test_a_database_that_is_away_is_waited_for(production, traffic):
    traffic.accept()

    production.database.stop()
    until(lambda: not production.answers())
    time.sleep(LONG_SECONDS or AWAY_SECONDS)  # away that long
    production.database.start()

    traffic.flow()
    traffic.judge()


def test_bots_that_lost_the_platform_while_the_database_was_away_are_not_called_live(
    production, company, traffic
):
    production.database.stop()
    company.server.controls.go_down()
    time.sleep(LONG_SECONDS or LEASE.total_seconds())  # so that nothing that was written holds
    production.database.start()

    until(lambda: {one["state"] for one in company.connections_if_told().values()} == RECONNECTING)
    company.server.controls.come_up()

    traffic.flow()
    traffic.judge()
