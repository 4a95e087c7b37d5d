"""The door for platforms that call: nothing acknowledged that is not stored, answered once."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test import Client

from bots import inbox, jobs, lanes, lifecycle
from bots.api import outside
from bots.connections import states
from bots.handlers import Call, on
from bots.models import Bot, Connection, Direction, HandlerRun, Job, Receive, State, WorkState
from bots.refusals import Busy
from bots.tests.builders import let_time_pass, make_bot, make_channel, make_space, run_lanes
from spaces.models import Channel, LocalMessage
from spaces.platforms.messages import Incoming, Kind, PersonInfo
from spaces.testing import hooked

pytestmark = pytest.mark.django_db

DEADLINE = 60.0
failures: list[Exception] = []


@on("command.invoked", "message.posted", name="test_answerer")
def answerer(call: Call) -> None:
    call.answer(f"{call.command} {call.text}".strip() * (900 if call.text == "long" else 1))
    if failures:
        raise failures.pop()


@on("command.invoked", name="test_twice")
def twice(call: Call) -> None:
    call.answer("first")
    call.answer("second")


@on("command.invoked", name="test_discreet")
def discreet(call: Call) -> None:
    call.answer_privately("between us")


@on("command.invoked", name="test_silent")
def silent(call: Call) -> None:
    """Has nothing to say."""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    failures.clear()


@pytest.fixture
def work_begins() -> Iterator[Callable[[], None]]:
    """Starts a thread that does what is due, until the test ends."""
    end = threading.Event()

    def work() -> None:
        while not end.wait(0.01):
            for lane_id in list(lanes.due_lanes().values_list("pk", flat=True)):
                lanes.drain(lane_id)
        connection.close()

    thread = threading.Thread(target=work)
    yield thread.start
    end.set()
    thread.join()


def hooked_bot(platform: str = "hooked", **changes: Any) -> Bot:
    return make_bot(space=make_space(platform, platform=platform), **changes)


def call(bot: Bot, *, client: Client | None = None, **changes: Any) -> Any:
    """The platform tells of a message of Alice's in a channel, unless changed."""
    told = {"token": hooked.TOKEN, "id": "1", "channel": "hall", "user": "alice", "text": "hi"}
    return (client or Client()).post(
        f"/hooks/{bot.slug}/", json.dumps(told | changes), content_type="application/json"
    )


def posted() -> list[str]:
    return list(LocalMessage.objects.order_by("pk").values_list("text", flat=True))


def shown(bot: Bot) -> states.Shown:
    return states.shown(Bot.objects.select_related("connection").get(pk=bot.pk))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


# The door ---------------------------------------------------------------------------------------


def test_what_the_platform_tells_is_stored_before_it_is_acknowledged():
    bot = hooked_bot()

    response = call(bot, client=Client(enforce_csrf_checks=True))

    assert (response.status_code, response.json()) == (200, {})
    event = bot.events.get()
    assert (event.kind, event.channel.remote_id) == ("message.posted", "hall")
    message = bot.messages.get()
    assert (message.text, message.direction, message.reactions) == ("hi", Direction.IN, [])
    assert "set-cookie" not in response.headers


def test_a_repeated_call_is_stored_once_and_acknowledged_again():
    bot = hooked_bot()

    responses = [call(bot) for _ in range(3)]

    assert [r.status_code for r in responses] == [200, 200, 200]
    assert bot.events.count() == 1


def test_a_call_needs_no_lease_and_moves_no_position():
    bot = hooked_bot()
    Connection.objects.filter(bot=bot).update(fence=7, holder="another", cursor={"seq": 5})

    assert call(bot).status_code == 200

    row = Connection.objects.get(bot=bot)
    assert (row.fence, row.holder, row.cursor) == (7, "another", {"seq": 5})
    assert row.last_event_at


def test_what_the_bot_says_itself_is_known_to_be_its_own_and_wakes_no_handler():
    bot = hooked_bot(handlers=["test_answerer"])
    own_id = bot.person.remote_id

    call(bot, id="1", user=own_id, text="my own words", wait=3)
    call(bot, id="2", user="alice", text="hers")

    own, hers = bot.events.filter(kind=Kind.MESSAGE_POSTED).order_by("pk")
    assert (own.data.get("own"), hers.data.get("own")) == (True, None)
    assert [run.event for run in HandlerRun.objects.all()] == [hers]


def test_who_does_not_prove_to_be_the_platform_is_refused(caplog):
    bot = hooked_bot()

    with caplog.at_level(logging.WARNING):
        strange = call(bot, token="guessed")
        garbage = Client().post(f"/hooks/{bot.slug}/", b"\xff", content_type="text/plain")

    assert (strange.status_code, garbage.status_code) == (403, 400)
    assert not bot.events.exists()
    assert "guessed" not in caplog.text


def test_bots_that_cannot_be_called_look_like_bots_that_do_not_exist():
    off, deaf = hooked_bot("hooked", slug="off", enabled=False), make_bot("deaf")

    answers = {
        (response.status_code, response.content)
        for response in (
            call(off),
            call(deaf),
            Client().post("/hooks/nobody/", b"{}", content_type="application/json"),
        )
    }

    assert {status for status, _ in answers} == {404}
    assert len(answers) == 1


def test_the_door_takes_small_bodies_and_two_methods_only():
    bot = hooked_bot()

    assert call(bot, text="x" * 1024 * 1024).status_code == 413
    assert Client().put(f"/hooks/{bot.slug}/").status_code == 405
    assert Client().post(f"/hooks/{bot.slug}").status_code == 404
    assert not bot.events.exists()


def test_while_the_database_is_away_nothing_is_acknowledged(caplog):
    bot = hooked_bot()

    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if "INSERT INTO bots_event" in sql:
            raise OperationalError("the server closed the connection")
        return execute(sql, *rest)

    with connection.execute_wrapper(away), caplog.at_level(logging.CRITICAL):
        refused = call(bot)

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert call(bot).status_code == 200
    assert bot.events.count() == 1


def test_settings_that_cannot_work_leave_the_call_for_later():
    bot = hooked_bot()
    lifecycle.set_credentials(bot, {"secret": "$BOT_SECRET_THAT_IS_NOT_SET"}, user=None)

    assert call(bot).status_code == 503


def test_only_platforms_that_call_offer_to_receive_this_way():
    with pytest.raises(ValidationError, match="cannot receive this way"):
        make_bot("deaf", receive=Receive.WEBHOOK)

    assert hooked_bot("calling", receive=Receive.WEBHOOK).receive == Receive.WEBHOOK


def test_a_bot_that_is_only_called_is_live_once_it_was():
    bot = hooked_bot("calling", receive=Receive.WEBHOOK)
    before = shown(bot)
    assert (before.state, before.next_step) == (
        State.STARTING,
        f"Enter the address /hooks/{bot.slug}/ of this server on the platform.",
    )

    call(bot, id="1")
    call(bot, id="2")

    after = shown(bot)
    assert after.state == State.LIVE
    assert "the last came at" in after.reason
    assert bot.events.filter(kind=Kind.CONNECTION_CHANGED).count() == 1


def test_people_call_a_bot_from_channels_that_it_is_not_in():
    bot = hooked_bot()

    call(bot)

    assert not Channel.objects.get(remote_id="hall").participants.exists()


# Answers ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_handlers_answer_goes_back_in_the_response_and_nowhere_else(work_begins):
    bot = hooked_bot(handlers=["test_answerer"])
    hall = make_channel(bot, "hall").remote_id
    work_begins()

    response = call(bot, channel=hall, command="/sum", text="1 2", wait=30)

    assert response.json()["text"] == "/sum 1 2"
    assert not response.json()["private"]
    until(lambda: HandlerRun.objects.get().state == WorkState.SUCCEEDED)
    job = Job.objects.get()
    assert (job.state, job.result["answered"]) == (WorkState.SUCCEEDED, True)
    let_time_pass()
    run_lanes()
    assert posted() == []
    assert bot.events.filter(kind=Kind.JOB_FINISHED).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_slash_command_may_come_as_get_and_be_answered_privately(work_begins):
    bot = hooked_bot(handlers=["test_discreet"])
    query = {"token": hooked.TOKEN, "id": "1", "channel": "hall", "user": "alice"}
    work_begins()

    response = Client().get(f"/hooks/{bot.slug}/", query | {"command": "/whoami", "wait": "30"})

    assert (response.json()["text"], response.json()["private"]) == ("between us", True)


@pytest.mark.django_db(transaction=True)
def test_one_answer_is_given_at_once_and_further_ones_are_messages(work_begins):
    bot = hooked_bot(handlers=["test_twice"])
    hall = make_channel(bot, "hall").remote_id
    work_begins()

    response = call(bot, channel=hall, command="/x", wait=30)

    assert response.json()["text"] == "first"
    until(lambda: posted() == ["second"])


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_handlers_that_have_nothing_to_say(work_begins):
    bot = hooked_bot(handlers=["test_silent"])
    work_begins()
    started = time.monotonic()

    response = call(bot, command="/x", wait=30)

    assert response.json() == {}
    assert HandlerRun.objects.get().state == WorkState.SUCCEEDED
    assert time.monotonic() - started < 2


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_the_platform_cannot_put_goes_out_as_a_message(work_begins):
    bot = hooked_bot(handlers=["test_answerer"])
    hall = make_channel(bot, "hall").remote_id
    work_begins()

    response = call(bot, channel=hall, text="long", wait=2)

    assert response.json() == {}
    until(lambda: posted() == ["long" * 900])


def test_an_answer_that_comes_too_late_is_a_message():
    bot = hooked_bot(handlers=["test_answerer"])
    hall = make_channel(bot, "hall").remote_id

    assert call(bot, channel=hall, command="/x", wait=0.6).json() == {}  # and nobody worked
    run_lanes()

    assert posted() == ["/x hi"]


def test_where_the_platform_does_not_wait_an_answer_is_a_message():
    bot = hooked_bot(handlers=["test_answerer"])
    hall = make_channel(bot, "hall").remote_id

    assert call(bot, channel=hall, text="hello").json() == {}
    run_lanes()

    assert posted() == ["hello"]


def command(bot: Bot, channel: Channel) -> Incoming:
    return Incoming(
        kind=Kind.COMMAND_INVOKED,
        id="hook:1",
        occurred_at=bot.created_at,
        channel_id=channel.remote_id,
        person=PersonInfo(id="alice", username="alice"),
        command="/x",
    )


def test_an_answer_that_nobody_took_goes_out_by_itself():
    # Given a process that stored a command, waits for the answer, and dies
    bot = hooked_bot(handlers=["test_answerer"])
    inbox.receive_call(bot, [command(bot, make_channel(bot, "hall"))], answer_seconds=60)

    # When the handler answers in time
    run_lanes()
    assert posted() == []

    # Then the answer goes out when the waiting is over
    let_time_pass()
    run_lanes()
    assert posted() == ["/x"]
    assert not jobs.answered(Job.objects.get())


def test_an_answer_is_given_once_though_its_handler_runs_again():
    bot = hooked_bot(handlers=["test_answerer"])
    inbox.receive_call(bot, [command(bot, make_channel(bot, "hall"))], answer_seconds=60)
    failures.append(RuntimeError("after it answered"))
    run_lanes()
    assert jobs.answered(HandlerRun.objects.get().answer)

    HandlerRun.objects.update(answer_until=Now() + timedelta(seconds=60))
    for _ in range(3):
        let_time_pass()
        run_lanes()

    assert HandlerRun.objects.get().state == WorkState.SUCCEEDED
    assert posted() == []
    assert Job.objects.count() == 1


def test_when_too_many_wait_already_a_call_is_stored_and_answered_at_once():
    bot = hooked_bot(handlers=["test_answerer"])
    with ExitStack() as crowd:
        with suppress(Busy):
            while True:
                crowd.enter_context(outside.place())
        started = time.monotonic()

        response = call(bot, command="/x", wait=30)

    assert response.json() == {}
    assert time.monotonic() - started < 2
    assert HandlerRun.objects.get().answer_until is None
