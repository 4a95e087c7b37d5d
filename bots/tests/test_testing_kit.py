"""The kit for authors' tests fails where production would."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import pytest
from django.db import transaction

from bots.handlers import Call, TimedOut, command
from bots.models import HandlerRun, Lane, LaneKind, WorkState
from bots.testing.chat import HandlerFailed

done: list[str] = []


@command("dawdle", name="test_dawdle", timeout=0.02)
def dawdle(call: Call) -> None:
    over = time.monotonic() + 0.02
    while time.monotonic() < over:
        time.sleep(0.005)
    done.append("dawdled")


@command("dawdle twice", name="test_dawdle_and_talk", timeout=0.02)
def dawdle_and_talk(call: Call) -> None:
    call.reply("before")
    dawdle(call)
    call.reply("after")


@command("exit {how}", name="test_exit")
def exit_it(call: Call, how: str) -> None:
    if how == "argparse":
        argparse.ArgumentParser().parse_args(["--nope"])
    if how == "asyncio":
        raise asyncio.CancelledError
    sys.exit(how)


def leaves(call: Call) -> bool:
    sys.exit("asked")


@command("leave", name="test_leave", who=leaves)
def leave(call: Call) -> None:
    call.reply("left")


@command("book", name="test_book")
def book(call: Call) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: done.append("booked"))
        done.append("booking")


@command("bother", name="test_bother")
def bother(call: Call) -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _fresh():
    done.clear()


@pytest.fixture
def alice(chat):
    return chat.person("alice")


def test_a_handler_that_took_longer_than_it_may_fails_the_test(chat, alice):
    chat.switch_on(dawdle)

    with pytest.raises(HandlerFailed, match=r"It did not end within 0\.02 s\."):
        alice.says("!dawdle")

    run = HandlerRun.objects.get()
    assert (run.state, run.error_code) == (WorkState.QUEUED, "timed_out")
    assert not Lane.objects.filter(kind=LaneKind.HANDLERS).exclude(holder="").exists()


def test_a_handler_that_is_late_says_nothing_more(chat, alice):
    chat.switch_on(dawdle_and_talk)

    with pytest.raises(HandlerFailed, match=r'call\.reply\("after"\)'):
        alice.says("!dawdle twice")

    chat.settle()
    assert [one.text for one in chat.said] == ["before"]


def test_a_handler_that_is_tried_again_and_late_again_fails_the_test_again(chat, alice):
    chat.switch_on(dawdle)
    with pytest.raises(HandlerFailed):
        alice.says("!dawdle")

    with pytest.raises(HandlerFailed, match=TimedOut.__name__):
        chat.passes(seconds=5)

    assert done == ["dawdled", "dawdled"]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("argparse", "SystemExit: 2"),
        ("please", "SystemExit: please"),
        ("asyncio", "CancelledError"),
    ],
)
def test_a_handler_that_exits_fails_like_any_other(chat, alice, how, error, capsys):
    chat.switch_on(exit_it)

    with pytest.raises(HandlerFailed, match=error):
        alice.says(f"!exit {how}")

    run = HandlerRun.objects.get()
    assert (run.state, run.error_code) == (WorkState.QUEUED, "handler_failed")
    assert "in exit_it" in run.traceback
    assert not Lane.objects.filter(kind=LaneKind.HANDLERS).exclude(holder="").exists()


def test_a_function_that_says_who_may_and_exits_fails_like_a_handler(chat, alice):
    chat.switch_on(leave)

    with pytest.raises(HandlerFailed, match="SystemExit: asked"):
        alice.says("!leave")

    assert chat.said == []


def test_who_presses_ctrl_c_is_listened_to(chat, alice):
    chat.switch_on(bother)

    with pytest.raises(KeyboardInterrupt):
        alice.says("!bother")


def test_what_a_handler_wants_done_on_commit_is_done(chat, alice):
    chat.switch_on(book)

    alice.says("!book")

    assert done == ["booking", "booked"]
