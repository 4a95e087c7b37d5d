"""`!remind me in 10 minutes to …`"""

from __future__ import annotations

import pytest

from bots.models import Job, WorkState
from example_handlers.handlers import remind


@pytest.fixture
def alice(chat):
    chat.switch_on(remind)
    return chat.person("alice")


def test_a_reminder_comes_when_its_time_has_come_and_not_before(chat, alice):
    alice.says("!remind me in 10 minutes to call  Bob\nand Carla")
    assert chat.last.text.startswith("I will remind you on ")

    chat.passes(minutes=9)
    assert len(chat.said) == 1

    chat.passes(minutes=1)
    assert chat.last.text == "@alice call Bob and Carla"
    assert chat.last.channel == "lobby"


def test_a_reminder_calls_nobody_but_who_asked_for_it(chat, alice):
    alice.says("!remind me in 1 minute to greet @all")

    chat.passes(minutes=1)

    assert chat.last.text == "@alice greet ＠all"


def test_a_reminder_waits_as_a_job_and_so_outlives_every_process(chat, alice):
    alice.says_directly("remind me in 1 hour to stretch")

    waiting = Job.objects.get(state=WorkState.QUEUED)
    assert waiting.payload["text"] == "@alice stretch"
    assert waiting.not_before is not None


def test_other_words_of_the_bot_do_not_wait_for_a_reminder(chat, alice):
    alice.says("!remind me in 2 days to water the plants")
    alice.says("!remind me in 1 minute to look up")

    chat.passes(minutes=1)

    assert chat.last.text == "@alice look up"


@pytest.mark.parametrize("amount", ["0", "-5", "999999999999999999"])
def test_a_time_that_makes_no_sense_is_refused(chat, alice, amount):
    alice.says(f"!remind me in {amount} days to laugh")

    assert chat.last.text == "I can remind you in 1 to 366 days."
    assert not Job.objects.filter(state=WorkState.QUEUED).exists()


def test_a_reminder_that_is_not_understood_is_explained_in_its_thread(chat, alice):
    asked = alice.says("!remind me tomorrow")

    assert "Usage: `!remind me in <amount>" in chat.last.text
    assert chat.last.thread == asked
