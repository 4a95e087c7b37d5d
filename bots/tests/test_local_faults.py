"""The whole product on a platform that fails all the time: only time is lost, never a message."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from secrets import token_hex

import pytest
from django.db import connection as database

from bots import clients, lanes, lifecycle
from bots.connections.supervisor import Supervisor
from bots.handlers import Call, on
from bots.models import Attempt, Bot, Connection, HandlerRun, Job, State, WorkState
from bots.tests.builders import let_time_pass, make_bot, make_channel, make_job, make_person
from spaces.models import Channel, LocalMessage, Space
from spaces.platforms.messages import Kind, Outgoing

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE = 60.0
FAULTS = ("drop", "stall", "rate_limit", "lost_answer", "duplicate", "reorder")
PERCENT = 10
ROOMS = ("red", "green", "blue")
EACH = 12  # messages that are sent, and that people write, in each room


@on("message.posted", name="test_echo_under_fire")
def echo(call: Call) -> None:
    if not call.person["is_bot"]:
        call.reply(f"heard {call.text}")


@pytest.fixture
def bot() -> Bot:
    quick = {"reconnect_first_seconds": 0.1, "reconnect_longest_seconds": 1}
    space = Space(slug="shaky", name="Shaky", platform="local", options=quick)
    space.save()
    return make_bot(space=space, handlers=["test_echo_under_fire"])


@pytest.fixture
def channels(bot) -> list[Channel]:
    return [make_channel(bot, name, people=["alice"]) for name in ROOMS]


@pytest.fixture
def trouble(bot, channels) -> None:
    """All faults at once, with a seed that is printed. What is there is there before."""
    seed = os.environ.get("BOTADMIN_TEST_SEED") or token_hex(4)
    print(f"BOTADMIN_TEST_SEED={seed}")  # noqa: T201 - shown when the test fails
    bot.space.options |= {"fault_seed": seed, "fault_seconds": 0.05}
    bot.space.options |= {f"fault_{name}_percent": PERCENT for name in FAULTS}
    bot.space.full_clean()
    lifecycle.space_changed(bot.space, fields=["options"])


@pytest.fixture
def running(trouble) -> Iterator[None]:
    """One process that holds connections, and two workers."""
    supervisor = Supervisor(10, tick_seconds=0.05, lease=timedelta(seconds=5))
    ending = threading.Event()
    workers = [threading.Thread(target=drain_until, args=(ending,)) for _ in range(2)]
    supervisor.start()
    for worker in workers:
        worker.start()
    yield
    ending.set()
    for worker in workers:
        worker.join()
    supervisor.stop()
    assert not supervisor.alive
    clients.close_idle(older_than=0)
    until(lambda: not any(t.name == "local-hub" for t in threading.enumerate()))


def drain_until(ending: threading.Event) -> None:
    try:
        while not ending.wait(0.01):
            for lane_id in lanes.due_lanes().values_list("pk", flat=True):
                lanes.drain(lane_id)
    finally:
        database.close()


def until(condition: Callable[[], object], meanwhile: Callable[[], None] = lambda: None) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        meanwhile()
        time.sleep(0.05)


def test_jobs_are_messages_and_words_are_events_once_each_in_order(bot, channels, running):
    jobs = {channel: [f"job {channel} {n}" for n in range(EACH)] for channel in channels}
    words = {channel: [f"word {channel} {n}" for n in range(EACH)] for channel in channels}
    until(lambda: Connection.objects.get(bot=bot).cursor)  # from here on nothing may be missed
    talkers = [threading.Thread(target=talk, args=(c, words[c])) for c in channels]
    for talker in talkers:
        talker.start()
    for number in range(EACH):
        for channel in channels:
            make_job(bot, channel, jobs[channel][number])
    for talker in talkers:
        talker.join()

    total = EACH * len(channels)
    until(lambda: replies_done() == total, meanwhile=let_time_pass)
    until(lambda: not unfinished_jobs(), meanwhile=let_time_pass)
    until(lambda: Connection.objects.get(bot=bot).state == State.LIVE)

    assert set(Job.objects.values_list("state", flat=True)) == {WorkState.SUCCEEDED}
    assert Attempt.objects.exclude(outcome=WorkState.SUCCEEDED).exists()
    for channel in channels:
        said = posted(channel, by="echo")
        assert [text for text in said if text.startswith("job")] == jobs[channel]
        assert [text for text in said if text.startswith("heard")] == [
            f"heard {text}" for text in words[channel]
        ]
        assert heard(bot, channel) == words[channel]


def talk(channel: Channel, texts: list[str]) -> None:
    try:
        alice = make_person("alice", space=channel.space)
        for text in texts:
            alice.post_message(Outgoing(key="", channel=channel.remote_id, text=text))
    finally:
        database.close()


def replies_done() -> int:
    return HandlerRun.objects.filter(
        state=WorkState.SUCCEEDED, event__data__message__text__startswith="word"
    ).count()


def unfinished_jobs() -> bool:
    return Job.objects.filter(state__in=[WorkState.QUEUED, WorkState.RUNNING]).exists()


def posted(channel: Channel, *, by: str) -> list[str]:
    rows = LocalMessage.objects.filter(room=channel.remote_id, author__username=by)
    return list(rows.order_by("pk").values_list("text", flat=True))


def heard(bot: Bot, channel: Channel) -> list[str]:
    """The words of people that are stored as events."""
    told = bot.events.filter(kind=Kind.MESSAGE_POSTED, channel=channel).order_by("pk")
    texts = told.values_list("data__message__text", flat=True)
    return [text for text in texts if text.startswith("word")]
