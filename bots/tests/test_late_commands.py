"""Commands that reach the bot late: after an outage, after they were taken back, from before it
was there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from bots import handlers
from bots.handlers import Call, command, on
from bots.models import HandlerRun, WorkState
from bots.testing.chat import HandlerFailed
from bots.tests.builders import make_bot, make_channel, run_lanes
from bots.tests.test_handlers import tell
from spaces.models import Participant
from spaces.platforms.messages import Kind

heard: list[str] = []
failures: list[Exception] = []


@command("launch {what}", name="test_launch")
def launch(call: Call, what: str) -> None:
    """Launch."""
    heard.append(what)
    if failures:
        raise failures.pop()


@command("tell", name="test_tell_anyway", late=None)
def tell_anyway(call: Call) -> None:
    heard.append("told")


@command("ring", name="test_ring", late=timedelta(hours=2))
def ring(call: Call) -> None:
    heard.append("rung")


@on("message.posted", name="test_hears_late")
def hears_late(call: Call) -> None:
    heard.append(call.text)


@pytest.fixture(autouse=True)
def _silence():
    yield
    heard.clear()
    failures.clear()


def test_a_command_from_hours_ago_is_not_done_but_answered(chat):
    chat.switch_on(launch)
    alice = chat.person("alice")

    asked = alice.said("!launch rocket", ago=timedelta(hours=3))

    assert heard == []
    assert chat.last.text == (
        "I was away when you wrote that, 3 hours ago. Say it again if you still want it."
    )
    assert chat.last.thread == asked


def test_a_command_from_a_moment_ago_is_done(chat):
    chat.switch_on(launch)

    chat.person("alice").said("!launch rocket", ago=timedelta(minutes=14))

    assert heard == ["rocket"]


def test_an_author_says_when_it_is_too_late(chat):
    chat.switch_on(tell_anyway, ring)
    alice = chat.person("alice")

    alice.said("!tell", ago=timedelta(days=30))
    alice.said("!ring", ago=timedelta(hours=1))
    alice.said("!ring", ago=timedelta(hours=3))

    assert heard == ["told", "rung"]


def test_help_is_not_given_days_later(chat):
    chat.switch_on(launch)

    chat.person("alice").said("!help", ago=timedelta(days=2))

    assert chat.last.text.startswith("I was away when you wrote that, 2 days ago.")


def test_other_handlers_hear_of_what_was_long_ago(chat):
    chat.switch_on(hears_late)

    chat.person("alice").said("good morning", ago=timedelta(hours=3))

    assert heard == ["good morning"]


def test_what_failed_in_time_is_tried_again_later_and_when_an_operator_says_so(chat):
    chat.switch_on(launch)
    failures.append(RuntimeError("a wet match"))
    with pytest.raises(HandlerFailed):
        chat.person("alice").said("!launch rocket", ago=timedelta(minutes=14))
    run = HandlerRun.objects.get()
    run.event.occurred_at -= timedelta(hours=1)  # by now
    run.event.save()
    HandlerRun.objects.update(state=WorkState.FAILED)

    handlers.retry(run)
    chat.settle()

    assert heard == ["rocket", "rocket"]


@pytest.mark.django_db
def test_a_command_that_was_taken_back_meanwhile_is_not_done():
    bot = make_bot(handlers=["test_launch"])
    channel = make_channel(bot)
    tell(bot, channel, "!launch rocket")
    tell(bot, channel, "", id="gone", kind=Kind.MESSAGE_DELETED, message_id="lobby-1")

    run_lanes()

    assert heard == []
    assert HandlerRun.objects.get().state == WorkState.SUCCEEDED


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes_before", "done"), [(5, []), (0.5, ["rocket"]), (-1, ["rocket"])])
def test_a_command_from_before_the_bot_came_is_not_done(minutes_before, done):
    # Given a bot that came to a channel, and read what was said there before
    bot = make_bot(handlers=["test_launch"])
    channel = make_channel(bot)
    came = timezone.now() - timedelta(minutes=5)
    Participant.objects.filter(channel=channel).update(joined_at=came)

    said_at = came - timedelta(minutes=minutes_before)  # clocks may differ by a minute
    tell(bot, channel, "!launch rocket", occurred_at=said_at)
    run_lanes()

    assert heard == done
