"""Handlers that take too long: their lane goes on, and they cannot say anything any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.db import connection

from bots import lanes
from bots.handlers import Call, TimedOut, on
from bots.handling import running
from bots.models import HandlerRun, Job, Lane, LaneKind, WorkState
from bots.tests.builders import let_time_pass, make_bot, make_channel
from bots.tests.test_handlers import tell

pytestmark = pytest.mark.django_db(transaction=True)
DEADLINE = 60.0
finish = threading.Event()
begun: list[str] = []
refused: list[Exception] = []


@on("message.posted", name="test_hanger", timeout=0.5)
def hanger(call: Call) -> None:
    begun.append(call.text)
    if call.text != "hang":
        return
    call.reply("before")
    finish.wait(DEADLINE)
    try:
        call.reply("after")
    except TimedOut as error:
        refused.append(error)


@on("message.posted", name="test_typist", timeout=0.05)
def typist(call: Call) -> None:
    while True:
        call.typing()


@pytest.fixture(autouse=True)
def _fresh():
    finish.clear()
    begun.clear()
    refused.clear()
    yield
    finish.set()


@pytest.fixture
def drain() -> Iterator[Callable[[], threading.Thread]]:
    """Does what is due for handlers, in a thread as a worker has it."""
    threads: list[threading.Thread] = []

    def work() -> None:
        due = lanes.due_lanes().filter(kind=LaneKind.HANDLERS)
        for lane_id in list(due.values_list("pk", flat=True)):
            lanes.drain(lane_id)
        connection.close()

    def start() -> threading.Thread:
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return threads[-1]

    yield start
    finish.set()
    for thread in threads:
        thread.join(DEADLINE)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def given_up() -> bool:
    free = not Lane.objects.filter(kind=LaneKind.HANDLERS).exclude(holder="").exists()
    return free and HandlerRun.objects.filter(error_code="timed_out").exists()


def goes_on(drain: Callable[[], threading.Thread]) -> int:
    """Does what waits, also for later; returns how many runs have succeeded."""
    let_time_pass()
    drain().join(DEADLINE)
    return HandlerRun.objects.filter(state=WorkState.SUCCEEDED).count()


def test_a_handler_that_hangs_gives_its_lane_back_and_says_nothing_later(drain):
    # Given a handler that hangs at the first of two messages
    bot = make_bot(handlers=["test_hanger"])
    channel = make_channel(bot)
    tell(bot, channel, "hang", 1)
    tell(bot, channel, "go on", 2)
    hanging = drain()

    # When its time is over
    until(given_up)

    # Then it is to be tried again, and operators see where it hung
    run = HandlerRun.objects.order_by("pk")[0]
    assert (run.state, run.attempts) == (WorkState.QUEUED, 1)
    assert run.error_detail.endswith("0.5 s.")
    assert "finish.wait" in run.traceback
    assert "lanes" not in run.traceback

    # And when it ends at last, it can say nothing more, and changes nothing that was written
    finish.set()
    hanging.join(DEADLINE)
    assert [str(error) for error in refused] == ["It did not end within 0.5 s."]
    assert [job.payload["text"] for job in Job.objects.filter(kind="message.post")] == ["before"]
    run.refresh_from_db()
    assert run.state == WorkState.QUEUED

    # And the second message has its turn after it
    until(lambda: goes_on(drain) == 2)
    assert begun[0] == begun[1] == "hang"
    assert begun[-1] == "go on"


def test_a_handler_that_always_hangs_is_left_failed(drain):
    bot = make_bot(handlers=["test_hanger"])
    tell(bot, make_channel(bot), "hang")
    HandlerRun.objects.update(attempts=4)

    drain()
    until(given_up)

    run = HandlerRun.objects.get()
    assert (run.state, run.error_code) == (WorkState.FAILED, "timed_out")


def test_threads_that_hang_stay_counted_until_they_end(drain, monkeypatch):
    monkeypatch.setattr(running, "FIRST_RETRY_SECONDS", 60.0)  # longer than this takes
    bot = make_bot(handlers=["test_hanger"], options={"event_handling": "concurrently"})
    channel = make_channel(bot)
    share = settings.BOTADMIN_WORKER_THREADS // 4  # what the handlers of one bot may hold
    for number in range(share):
        tell(bot, channel, "hang", number)
        drain()
        until(lambda number=number: len(begun) == number + 1)
    until(lambda: HandlerRun.objects.filter(error_code="timed_out").count() == share)

    # When one more comes while all of the bot's threads hang, it finds no room
    tell(bot, channel, "one more", 100)
    drain().join(DEADLINE)
    assert "one more" not in begun

    # And goes on when they have ended
    finish.set()
    until(lambda: drain().join(DEADLINE) or "one more" in begun)


def test_a_handler_that_notices_the_end_of_its_time_by_itself_timed_out(drain):
    bot = make_bot(handlers=["test_typist"])
    tell(bot, make_channel(bot), "hi")

    drain().join(DEADLINE)
    until(given_up)

    assert HandlerRun.objects.get().state == WorkState.QUEUED
