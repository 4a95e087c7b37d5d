"""Lanes: claims, order, fairness and wake-ups."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from bots import lanes, runner
from bots.bulkhead import Bulkhead, bulkhead
from bots.models import Job, JobKind, Lane, LaneKind, Priority, WorkState
from bots.tests.builders import (
    database_cut_off_at,
    make_bot,
    make_channel,
    make_job,
    make_space,
    run_lanes,
)
from spaces.models import LocalMessage
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

DEADLINE = 60.0  # seconds


@pytest.fixture
def few_threads():
    """So few that a bot has one."""
    bulkhead().resize(4)
    yield
    bulkhead().resize(settings.BOTADMIN_WORKER_THREADS)


def drain_and_close(lane_id):
    lanes.drain(lane_id)
    connection.close()


def test_a_lane_is_claimed_by_one_only():
    bot = make_bot()
    job = make_job(bot, make_channel(bot))
    lane = Lane.objects.get(pk=job.lane_id)

    first, second = lanes.Claim.take(lane), lanes.Claim.take(lane)

    assert first is not None
    assert second is None


def test_a_lane_of_a_dead_worker_is_taken_over_with_a_higher_fence():
    bot = make_bot()
    job = make_job(bot, make_channel(bot))
    dead = lanes.Claim.take(Lane.objects.get(pk=job.lane_id))
    Lane.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))

    alive = lanes.Claim.take(Lane.objects.get(pk=job.lane_id))

    assert alive.fence > dead.fence
    with pytest.raises(lanes.LeaseLost), transaction.atomic():
        dead.confirm()
    with pytest.raises(lanes.LeaseLost):
        dead.ensure(1000)


def test_a_lane_that_got_work_while_it_was_emptied_stays_due():
    bot = make_bot()
    channel = make_channel(bot)
    job = make_job(bot, channel, "first")
    claim = lanes.Claim.take(Lane.objects.get(pk=job.lane_id))
    (begun,) = lanes.begin(claim, Job)
    Job.objects.filter(pk=begun.pk).update(state=WorkState.SUCCEEDED)
    make_job(bot, channel, "came meanwhile")

    claim.release()

    assert lanes.due_lanes().filter(pk=job.lane_id).exists()


def test_an_empty_lane_sleeps():
    bot = make_bot()
    make_job(bot, make_channel(bot))

    run_lanes()

    assert list(Lane.objects.values_list("due_at", "holder", "claimed_until")) == [(None, "", None)]


def test_one_lane_for_one_target_however_often_it_is_used():
    bot = make_bot()
    channel = make_channel(bot)

    for _ in range(3):
        make_job(bot, channel)

    assert Lane.objects.count() == 1


def test_many_jobs_are_put_in_with_few_queries(django_assert_max_num_queries):
    bot = make_bot()
    channels = [make_channel(bot, f"room-{n}") for n in range(10)]

    def put(count: int) -> None:
        entries = [
            lanes.Entry(key=f"channel:{n % 10}", work=Job(bot=bot, kind=JobKind.POST))
            for n in range(count)
        ]
        with transaction.atomic():
            lanes.put(LaneKind.JOBS, bot, entries)

    assert len(channels) == 10
    put(10)
    with django_assert_max_num_queries(4):  # savepoints, lanes, jobs
        put(1)
    with django_assert_max_num_queries(4):
        put(50)


def test_interactive_lanes_go_before_bulk_lanes_that_were_first():
    bot = make_bot(space=make_space("shaky", platform="faulty"))
    slow, urgent = make_channel(bot, "slow"), make_channel(bot, "urgent")
    bulk = make_job(bot, slow, "bulk", priority=Priority.BULK)
    Lane.objects.filter(pk=bulk.lane_id).update(priority=Priority.BULK)
    make_job(bot, urgent, "now")
    faulty.reset()

    lanes.drain(bulk.lane_id)

    texts = [c.args[0].text for c in faulty.calls if c.operation == "post_message"]
    faulty.reset()
    assert texts == ["now", "bulk"]


def test_a_drain_stops_after_its_turn_and_leaves_the_lane_due():
    bot = make_bot()
    channel = make_channel(bot)
    for n in range(60):
        make_job(bot, channel, str(n))
    lane = Lane.objects.select_related("bot__space", "bot__connection").get()
    claim = lanes.Claim.take(lane)
    claim.turn_ends = 0

    runner.work(claim)
    claim.release()

    assert lanes.due_lanes().filter(pk=lane.pk).exists()
    assert Job.objects.filter(state=WorkState.QUEUED, attempts=0).count() == 60


def test_one_space_holds_half_of_the_threads_and_one_bot_a_quarter():
    bots = [make_bot(f"bot-{n}") for n in range(3)]
    other = make_bot("elsewhere", space=make_space("other"))
    bulkhead = Bulkhead(threads=8)
    crowd = [make_lanes(bot, 4) for bot in bots]

    entered = [[lane for lane in own if bulkhead.enter(lane)] for own in crowd]
    (outside,) = make_lanes(other, 1)

    assert [len(own) for own in entered] == [2, 2, 0]
    assert bulkhead.enter(outside)


def test_a_parked_lane_is_woken_by_the_next_one_that_leaves():
    bot = make_bot()
    bulkhead = Bulkhead(threads=4)
    first, second = make_lanes(bot, 2)

    assert bulkhead.enter(first)
    assert not bulkhead.enter(second)

    assert bulkhead.leave(first) == second.pk
    assert bulkhead.enter(second)


@pytest.mark.django_db(transaction=True)
def test_who_leaves_goes_on_with_a_parked_lane_and_asks_no_broker(few_threads):
    bot = make_bot(space=make_space("shaky", platform="faulty"))
    first, second = (make_job(bot, make_channel(bot, name), name) for name in ("first", "second"))
    begun, may_end = threading.Event(), threading.Event()

    def wait_there(do):
        begun.set()
        may_end.wait(DEADLINE)
        return do()

    faulty.script(wait_there)
    worker = threading.Thread(target=drain_and_close, args=[first.lane_id])
    worker.start()
    begun.wait(DEADLINE)
    lanes.drain(second.lane_id)  # finds no room
    second.refresh_from_db()
    waited = second.state

    may_end.set()
    worker.join(DEADLINE)

    second.refresh_from_db()
    assert (waited, second.state) == (WorkState.QUEUED, WorkState.SUCCEEDED)


def test_interactive_lanes_go_before_parked_bulk_lanes(few_threads):
    bot = make_bot(space=make_space("shaky", platform="faulty"))
    first, parked = (
        make_job(bot, make_channel(bot, name), name, priority=Priority.BULK)
        for name in ("first", "parked")
    )

    def meanwhile(do):
        lanes.drain(parked.lane_id)  # finds no room
        make_job(bot, make_channel(bot, "urgent"), "now")
        return do()

    faulty.script(meanwhile)

    lanes.drain(first.lane_id)

    texts = [c.args[0].text for c in faulty.calls if c.operation == "post_message"]
    assert texts == ["first", "now", "parked"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "statement", ['UPDATE "bots_job"', 'SELECT "bots_lane"."wakeups"'], ids=["turn", "end of it"]
)
def test_a_lane_whose_turn_the_database_cut_off_is_free_at_once(statement):
    bot = make_bot()
    job = make_job(bot, make_channel(bot))

    with database_cut_off_at(statement), pytest.raises(OperationalError):
        lanes.drain(job.lane_id)

    assert lanes.due_lanes().filter(pk=job.lane_id).exists()


def test_handlers_never_hold_more_than_half_of_the_threads():
    bot = make_bot()
    bulkhead = Bulkhead(threads=8)

    handlers = make_lanes(bot, 8, kind=LaneKind.HANDLERS)
    assert sum(bulkhead.enter(lane) for lane in handlers) == 2
    (jobs,) = make_lanes(bot, 1)
    assert bulkhead.enter(jobs)


def test_polls_count_among_the_threads_of_their_bot():
    bulkhead = Bulkhead(threads=8)
    bot = make_bot("one")
    (lane,) = make_lanes(bot, 1)

    assert [bulkhead.enter_poll(bot) for _ in range(3)] == [True, True, False]
    assert not bulkhead.enter(lane)

    assert bulkhead.leave_poll(bot) == lane.pk


def test_a_worker_shares_out_the_threads_that_it_has():
    threads = bulkhead()
    bot = make_bot("one")
    try:
        current_app.WorkController(pool="threads", concurrency=2)
        assert [threads.enter_poll(bot) for _ in range(2)] == [True, False]
        threads.leave_poll(bot)
    finally:
        threads.resize(settings.BOTADMIN_WORKER_THREADS)


def test_a_broker_that_is_away_costs_nothing_but_the_wakeup(tmp_path):
    script = """
from django.core.management import call_command
from bots import demo, jobs, lanes, lifecycle
call_command("migrate", verbosity=0)
bot = demo.seed()
for _ in range(3):
    lifecycle.sync(bot, requested_by="test")
print("stored", bot.jobs.count(), "due", lanes.due_lanes().count())
"""
    environment = {
        "BOTADMIN_DATA_DIR": str(tmp_path),
        "BROKER_URL": "redis://127.0.0.1:1/0",  # nobody listens there
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "DJANGO_SETTINGS_MODULE": "botadmin.settings",
    }

    run = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
        cwd=settings.BASE_DIR,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "stored 4 due 1" in run.stdout
    assert run.stderr.count("the broker is away") == 1


def test_the_sweep_finds_every_lane_that_is_due():
    bot = make_bot()
    for n in range(5):
        make_job(bot, make_channel(bot, f"room-{n}"))

    assert lanes.sweep() == 5


@pytest.mark.django_db(transaction=True)
def test_twenty_threads_that_drain_one_lane_send_everything_once_and_in_order():
    bot = make_bot()
    channel = make_channel(bot)
    texts = [str(n) for n in range(100)]
    for text in texts:
        make_job(bot, channel, text)
    lane_id = Job.objects.values_list("lane_id", flat=True).first()

    def drain() -> None:
        try:
            while lanes.due_lanes().filter(pk=lane_id).exists():
                lanes.drain(lane_id)
        finally:
            connection.close()

    threads = [threading.Thread(target=drain) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    run_lanes()  # a thread may have seen the lane held by another just before it became due

    sent = LocalMessage.objects.filter(room=channel.remote_id).order_by("pk")
    assert list(sent.values_list("text", flat=True)) == texts


def make_lanes(bot, count: int, kind: LaneKind = LaneKind.JOBS) -> list[Lane]:
    return [Lane.objects.create(kind=kind, bot=bot, key=f"{kind} {n}") for n in range(count)]


def test_who_lost_the_lane_puts_nothing_back():
    # Given a worker that was frozen for longer than its lease, and its successor at work
    bot = make_bot()
    job = make_job(bot, make_channel(bot))
    frozen = lanes.Claim.take(Lane.objects.select_related("bot").get(pk=job.lane_id))
    taken = lanes.begin(frozen, Job)
    Lane.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    lanes.begin(lanes.Claim.take(Lane.objects.select_related("bot").get(pk=job.lane_id)), Job)

    # When it thaws
    with pytest.raises(lanes.LeaseLost):
        lanes.put_back(frozen, Job, taken)

    # Then the job is its successor's still
    job.refresh_from_db()
    assert (job.state, job.attempts) == (WorkState.RUNNING, 2)
