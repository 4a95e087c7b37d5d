"""`manage.py chat`: a person at the terminal, against bots that run."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database

from bots import clients, lanes, lifecycle
from bots.connections import states
from bots.connections.supervisor import Supervisor
from bots.models import Bot, State
from bots.tests.builders import make_bot, make_channel, make_space
from spaces.models import LocalMessage
from spaces.testing import faulty  # registers the platform `faulty`

pytestmark = pytest.mark.django_db(transaction=True)
DEADLINE = 60.0


@pytest.fixture
def chat(monkeypatch) -> Callable[..., tuple[str, str]]:
    """Plays a script to the command; what it printed, and what it complained about."""

    def play(script: str, *arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(script))
        out, err = io.StringIO(), io.StringIO()
        call_command("chat", *arguments, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    return play


@pytest.fixture
def running() -> Iterator[Bot]:
    """An echo that is live, and a worker."""
    bot = make_bot(handlers=["echo"])
    make_channel(bot, "lobby")
    supervisor = Supervisor(10, tick_seconds=0.1, lease=timedelta(seconds=5))
    over = threading.Event()
    worker = threading.Thread(target=work_until, args=(over,))
    supervisor.start()
    worker.start()
    until(lambda: states.shown(bot_again(bot)).state == State.LIVE)
    yield bot
    over.set()
    worker.join(DEADLINE)
    supervisor.stop(DEADLINE)
    clients.close_idle(older_than=0)
    until(lambda: not any(t.name == "local-hub" for t in threading.enumerate()))


def work_until(over: threading.Event) -> None:
    try:
        while not over.wait(0.01):
            for lane_id in lanes.due_lanes().values_list("pk", flat=True):
                lanes.drain(lane_id)
    finally:
        database.close()


def bot_again(bot: Bot) -> Bot:
    return Bot.objects.select_related("connection").get(pk=bot.pk)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_a_script_is_answered_line_by_line(chat, running):
    out, err = chat("hello\n\nhow are you?\n", "echo")

    assert out.splitlines() == ["echo: hello", "echo: how are you?"]
    assert err == ""


def test_somebody_else_may_talk_in_a_channel(chat, running):
    out, _ = chat("hello\n", "echo", "--as", "dora", "--channel", "#lobby")

    assert out == "echo: hello\n"
    assert running.events.filter(data__person__username="dora", kind="message.posted").exists()


def test_who_talked_before_does_not_hear_it_again(chat, running):
    chat("first\n", "echo")

    assert chat("second\n", "echo")[0] == "echo: second\n"


def test_silence_is_an_error(chat):
    make_bot()  # answers nobody: it is not even connected

    with pytest.raises(CommandError, match=r"No reply within 0\.1 s\."):
        chat("hello\n", "echo", "--wait", "0.1")


def test_a_bot_that_cannot_hear_is_told_with_what_to_do(chat):
    bot = make_bot()
    lifecycle.stop(bot)

    _, err = chat("", "echo")

    assert err.strip() == "echo is off: The bot is switched off. Press Start."


def test_a_bot_that_does_not_exist_is_told_with_those_that_do(chat):
    make_bot("echo")
    make_bot("scribe")

    with pytest.raises(CommandError, match="no bot 'ekko'; there are: echo, scribe"):
        chat("hello\n", "ekko")


def test_bots_of_other_platforms_cannot_be_talked_to_here(chat):
    make_bot(space=make_space(platform=faulty.Faulty.name))

    with pytest.raises(CommandError, match="lives on faulty; chat is for local bots"):
        chat("hello\n", "echo")


def test_a_channel_that_does_not_exist_is_told(chat):
    make_bot()

    with pytest.raises(CommandError, match="no channel"):
        chat("hello\n", "echo", "--channel", "nowhere")


def test_nobody_can_talk_in_the_name_of_a_bot(chat):
    make_bot()

    with pytest.raises(CommandError):
        chat("hello\n", "echo", "--as", "echo")


def test_who_does_not_wait_has_said_it_all_the_same(chat, running):
    out, _ = chat("hello\n", "echo", "--as", "dora", "--no-wait")

    assert out == ""
    assert LocalMessage.objects.filter(text="hello", author__username="dora").exists()
