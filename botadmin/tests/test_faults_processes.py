"""Processes that are killed, told to stop, or frozen and thawed, while people write and clients
send: nothing is lost, nothing comes twice, and others take over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from django.conf import settings

from botadmin.tests.mattermost_storm import POSTS
from botadmin.tests.processes import DEADLINE, until
from botadmin.tests.production import (
    HELD_ELSEWHERE_SECONDS,
    HOLDERS,
    LONG_SECONDS,
    WORKERS,
    Production,
    Traffic,
)

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.long]

ATTEMPTS = "SELECT max(attempts) FROM bots_job"
CHANGES = """SELECT data->>'state' FROM bots_event WHERE kind = 'connection.changed'
    AND occurred_at > %s"""
POLLED = "SELECT count(*) FROM bots_event WHERE kind = 'message.posted' AND bot_id = "
POLLED += "(SELECT id FROM bots_bot WHERE slug = 'bot-3')"
# A process of ours that stops in the middle of a transaction.
# It waits for no row while it holds others: that could be a deadlock, which is another story.
FREEZES_IN_A_TRANSACTION = """
import django, os, signal; django.setup()
from django.db import transaction
from bots.models import Connection, Lane
bots = {bots!r}
while True:
    with transaction.atomic():
        connections = Connection.objects.filter(bot__slug__in=bots)
        if len(connections.select_for_update(of=("self",), skip_locked=True)) < len(bots):
            continue
        list(Lane.objects.select_for_update(skip_locked=True))
        os.kill(os.getpid(), signal.SIGSTOP)
"""
LANES_OF = """SELECT kind || ' ' || key || ' held until ' || claimed_until FROM bots_lane
    WHERE holder LIKE '%%:' || %s || ':%%'"""


# Killed -----------------------------------------------------------------------------------------


def test_what_a_killed_worker_was_sending_is_sent_once_by_another(production, traffic):
    victim = worker_in_the_middle_of_a_send(production, traffic)

    production[victim].kill()
    traffic.company.server.controls.heal()
    production[victim].start()

    traffic.flow()
    traffic.judge()
    assert_nobody_stumbled(production)


def test_the_bots_of_a_killed_process_live_on_elsewhere_in_time(production, traffic):
    lost = production.held_by(HOLDERS[0])

    production[HOLDERS[0]].kill()
    killed_at = datetime.now(UTC)

    until(lambda: production.held_by(HOLDERS[1]) >= lost)
    traffic.judge()
    assert_held_in_time(production, lost, since=killed_at)
    assert_nobody_stumbled(production)


def let_be_polled(traffic: Traffic, bot: str) -> None:
    traffic.witness.polled.add(bot)
    traffic.company.ask("PATCH", f"/bots/{bot}/", {"receive": "poll"})


def test_without_beat_messages_go_on_and_with_another_so_does_polling(production, traffic):
    let_be_polled(traffic, "bot-3")
    polled = production.install.rows(POLLED)
    until(lambda: production.install.rows(POLLED) > polled)

    production["beat"].kill()
    traffic.accept()
    production["beat"].start()

    polled = production.install.rows(POLLED)
    until(lambda: production.install.rows(POLLED) > polled)
    traffic.judge()
    assert_nobody_stumbled(production)


def test_two_beats_double_nothing(production, traffic):
    let_be_polled(traffic, "bot-3")

    with production.another("beat"):
        traffic.flow()
        traffic.flow()

    traffic.judge()
    assert_nobody_stumbled(production)


def test_requests_that_a_killed_web_server_never_answered_are_done_once(production, traffic):
    traffic.accept()

    production["web"].kill()
    production["web"].start()

    traffic.accept()
    traffic.judge()
    assert_nobody_stumbled(production)


def test_a_web_server_goes_on_when_one_of_its_processes_is_killed(production, traffic):
    children = production["web"].children()

    os.kill(children[-1], signal.SIGKILL)

    until(lambda: children[-1] not in production["web"].children())
    traffic.accept()
    until(lambda: len(production["web"].children()) == len(children))
    traffic.judge()
    assert production["web"].runs


# Told to stop -----------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_stop_ends_what_it_does_and_wastes_no_attempt(production, traffic):
    until(lambda: WORKERS[0] in production.workers())
    pid = str(production[WORKERS[0]].pid)

    code = production[WORKERS[0]].stop()
    left = production.install.rows(LANES_OF, pid)

    traffic.flow()
    traffic.judge()
    assert code == 0
    assert left == []
    assert production.install.rows(ATTEMPTS) == [1]
    assert_nobody_stumbled(production)


def test_a_process_that_is_told_to_stop_hands_its_bots_over(production, traffic):
    lost = production.held_by(HOLDERS[0])
    pid = str(production[HOLDERS[0]].pid)

    told_at = datetime.now(UTC)
    code = production[HOLDERS[0]].stop()
    left = production.install.rows(LANES_OF, pid)

    traffic.judge()
    assert code == 0
    assert left == []
    assert_held_in_time(production, lost, since=told_at)
    assert production.install.rows(ATTEMPTS) == [1]
    assert_nobody_stumbled(production)


# Frozen and thawed ------------------------------------------------------------------------------


def test_a_holder_that_thaws_changes_nothing_of_bots_that_others_hold(production, traffic):
    frozen = production[HOLDERS[0]]
    lost = production.held_by(frozen.name)

    frozen.freeze()
    frozen_at = datetime.now(UTC)
    until(lambda: {*production.holders().values()} == {HOLDERS[1]})
    time.sleep(LONG_SECONDS)  # the long form: that long it is frozen
    thawed_at = datetime.now(UTC)
    frozen.thaw()
    until(lambda: bool(production.held_by(frozen.name)))  # it gets its share again, in peace

    traffic.judge()
    assert_held_in_time(production, lost, since=frozen_at)
    # A share is handed over; nobody lost a connection or was called deaf.
    changes = {*production.install.rows(CHANGES, thawed_at)}
    assert changes <= {"starting", "catching_up", "live"}


def test_a_worker_that_thaws_writes_nothing_about_what_others_have_sent(production, traffic):
    victim = worker_in_the_middle_of_a_send(production, traffic)
    production[victim].freeze()
    pid = str(production[victim].pid)
    traffic.company.server.controls.heal()

    until(
        lambda: not production.install.rows(LANES_OF, pid),
        lambda: str(production.install.rows(LANES_OF, pid)),
        seconds=2 * DEADLINE,  # a lane is leased for 30
    )
    time.sleep(LONG_SECONDS)
    production[victim].thaw()

    traffic.flow()
    traffic.judge()
    assert "was taken over; its new holder goes on" in production.install.log.read_text()


def test_what_a_process_had_locked_when_it_froze_others_have_in_time(production, traffic):
    lost = production.held_by(HOLDERS[0])
    frozen = subprocess.Popen(
        [sys.executable, "-c", FREEZES_IN_A_TRANSACTION.format(bots=sorted(lost))],
        env=production.install.env,
        cwd=settings.BASE_DIR,
    )
    try:
        assert os.WIFSTOPPED(os.waitpid(frozen.pid, os.WUNTRACED)[1])
        production[HOLDERS[0]].kill()
        killed_at = datetime.now(UTC)

        until(lambda: production.held_by(HOLDERS[1]) >= lost)
        traffic.flow()
    finally:
        frozen.kill()
        frozen.wait()

    traffic.judge()
    assert_held_in_time(production, lost, since=killed_at)
    assert_nobody_stumbled(production)


def worker_in_the_middle_of_a_send(production: Production, traffic: Traffic) -> str:
    """The name of a worker that waits for an answer to a post that the server has stored."""
    company = traffic.company
    company.server.controls.stall(place="after", method="POST", path=POSTS)
    seen, found = company.sent(), set[str]()

    def look() -> bool:
        fresh = company.sent() - seen  # for whose answers somebody waits, two seconds at most
        seen.update(fresh)
        found.update({production.worker_sending(text) for text in fresh} & {*WORKERS})
        return bool(found)

    until(look)
    return min(found)


def assert_held_in_time(production: Production, bots: set[str], *, since: datetime) -> None:
    seconds = production.seconds_until_held(bots, since)
    assert seconds.keys() == bots
    assert max(seconds.values()) < HELD_ELSEWHERE_SECONDS


def assert_nobody_stumbled(production: Production) -> None:
    """What happened to one process is no error in the others."""
    log = production.install.log.read_text()
    assert "Traceback" not in log, log
