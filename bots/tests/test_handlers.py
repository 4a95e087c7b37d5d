"""Handlers: run in order, retried, failed in the open, and harmless to everything else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bots import handlers, idempotency, inbox
from bots.handlers import Call, command, on, registered
from bots.handling import running
from bots.models import Bot, Event, HandlerRun, IdempotencyKey, Job, WorkState
from bots.tests.builders import (
    let_time_pass,
    make_bot,
    make_channel,
    make_person,
    run_lanes,
)
from spaces.models import LocalMessage
from spaces.platforms.messages import Card, Incoming, Kind, PersonInfo

pytestmark = pytest.mark.django_db

ALICE = PersonInfo(id="alice-id", username="alice", name="Alice")
heard: list[str] = []
failures: list[Exception] = []


@on("message.posted", name="test_listener")
def listener(call: Call) -> None:
    heard.append(call.text)
    if failures:
        raise failures.pop()


@on("message.posted", name="test_talker")
def talker(call: Call) -> None:
    call.reply(f"you said {call.text}")
    call.reply_in_thread("more here", card=Card(title="Details"))
    if failures:
        raise failures.pop()


@on("message.posted", name="test_lost")
def lost(call: Call) -> None:
    call.send("to whom?")


@on("message.posted", name="test_whisperer")
def whisperer(call: Call) -> None:
    call.reply_privately("psst")


@on("message.posted", name="test_picky")
def picky(call: Call) -> None:
    if call.text == "bad":
        raise ValueError("not this one")
    heard.append(call.text)


@on("command.invoked", name="test_commander")
def commander(call: Call) -> None:
    heard.append(f"{call.command}: {call.text}")
    call.reply("done")


@on("message.posted", name="test_of_echo", bot=("echo", "parrot"))
def of_echo(call: Call) -> None:
    heard.append(f"{call.bot.slug}: {call.text}")


@on("message.posted", name="test_in_ops", channel=["#ops", "Operations"])
def in_ops(call: Call) -> None:
    heard.append(call.text)


@command("count {what}", name="test_counter")
def counter(call: Call, what: str) -> None:
    heard.append(what)


@pytest.fixture(autouse=True)
def _silence():
    yield
    heard.clear()
    failures.clear()


def tell(bot: Bot, channel, text: str, number: int = 1, person=ALICE, **changes) -> None:
    """A message arrives at the bot."""
    values = {
        "kind": Kind.MESSAGE_POSTED,
        "id": f"message-{channel.name}-{number}",
        "message_id": f"{channel.name}-{number}",
        "occurred_at": timezone.now(),
        "channel_id": channel.remote_id,
        "person": person,
        "text": text,
    }
    incoming = Incoming(**values | changes)
    bot.connection.refresh_from_db()
    inbox.receive(
        [
            inbox.Received(
                connection_id=bot.connection.pk,
                bot_id=bot.pk,
                space_id=bot.space_id,
                fence=bot.connection.fence,
                incoming=[incoming],
            )
        ]
    )


def posted(channel) -> list[str]:
    found = LocalMessage.objects.filter(room=channel.remote_id).order_by("pk")
    return list(found.values_list("text", flat=True))


def test_an_enabled_handler_meets_each_event_once_in_order():
    bot = make_bot(handlers=["test_listener"])
    channel = make_channel(bot)
    for number in range(5):
        tell(bot, channel, str(number), number)
        tell(bot, channel, str(number), number)  # told again, after a reconnect perhaps

    run_lanes()

    assert heard == ["0", "1", "2", "3", "4"]


def test_a_handler_that_is_not_enabled_hears_nothing():
    bot = make_bot()

    tell(bot, make_channel(bot), "anybody?")
    run_lanes()

    assert heard == []


def test_the_bots_own_messages_are_not_shown_to_its_handlers():
    bot = make_bot(handlers=["test_listener"])

    tell(bot, make_channel(bot), "me", own=True)
    run_lanes()

    assert heard == []


def test_what_the_platform_wrote_itself_is_not_shown_to_handlers():
    bot = make_bot(handlers=["test_listener"])

    tell(bot, make_channel(bot), "alice joined the channel", system=True)
    run_lanes()

    assert heard == []
    assert bot.events.get(kind="message.posted").data["message"]["system"] is True
    assert bot.messages.get().text == "alice joined the channel"


def test_a_command_is_told_with_its_text_and_answered_in_its_thread():
    bot = make_bot(handlers=["test_commander"])
    channel = make_channel(bot)
    changes = {"kind": Kind.COMMAND_INVOKED, "message_id": "", "command": "/deploy"}

    tell(bot, channel, "to production", **changes, thread="")
    run_lanes()

    assert heard == ["/deploy: to production"]
    assert posted(channel) == ["done"]
    data = bot.events.get(kind="command.invoked").data
    assert (data["command"], data["text"]) == ("/deploy", "to production")
    assert data["person"]["username"] == "alice"


def test_events_that_are_handled_concurrently_wait_for_no_other():
    bot = make_bot(handlers=["test_picky"], options={"event_handling": "concurrently"})
    channel = make_channel(bot)
    tell(bot, channel, "bad")
    for number in range(2, 21):  # more than there are lanes
        tell(bot, channel, str(number), number)

    run_lanes()

    assert set(heard) == {str(number) for number in range(2, 21)}
    left = HandlerRun.objects.exclude(state=WorkState.SUCCEEDED).get()
    assert left.event.data["message"]["text"] == "bad"


def test_replies_go_where_the_message_was_and_into_its_thread():
    bot = make_bot(handlers=["test_talker"])
    channel = make_channel(bot)
    with_thread = Job.objects.filter(payload__has_key="thread")

    tell(bot, channel, "hi")
    run_lanes()

    assert posted(channel)[0] == "you said hi"
    assert with_thread.get().payload["thread"] == "lobby-1"


def test_a_private_reply_reaches_the_person():
    bot = make_bot(handlers=["test_whisperer"])
    channel = make_channel(bot)
    person = make_person("alice").connect().person

    tell(bot, channel, "hi", person=person)
    run_lanes()

    assert LocalMessage.objects.get(text="psst").room.kind == "direct"


def test_a_failing_handler_is_tried_again_and_what_it_sent_is_sent_once():
    bot = make_bot(handlers=["test_talker"])
    channel = make_channel(bot)
    failures.extend([RuntimeError("late"), RuntimeError("later")])

    tell(bot, channel, "hi")
    for _ in range(3):
        run_lanes()
        let_time_pass()

    run = HandlerRun.objects.get()
    assert (run.state, run.attempts, run.traceback) == (WorkState.SUCCEEDED, 3, "")
    assert posted(channel).count("you said hi") == 1


def test_a_handler_that_keeps_failing_is_left_failed_and_the_next_event_goes_on():
    bot = make_bot(handlers=["test_listener"])
    channel = make_channel(bot)
    failures.extend(ValueError("no such luck") for _ in range(5))
    tell(bot, channel, "bad", 1)
    tell(bot, channel, "good", 2)

    for _ in range(5):
        run_lanes()
        let_time_pass()
    run_lanes()

    failed, fine = HandlerRun.objects.order_by("pk")
    assert (failed.state, failed.attempts) == (WorkState.FAILED, 5)
    assert "ValueError: no such luck" in failed.error_detail
    assert "in listener" in failed.traceback
    assert fine.state == WorkState.SUCCEEDED
    assert heard == ["bad"] * 5 + ["good"]


def test_a_failing_handler_holds_up_no_other_channel_and_no_other_handler(monkeypatch):
    monkeypatch.setattr(running, "FIRST_RETRY_SECONDS", 60.0)  # longer than this takes
    bot = make_bot(handlers=["test_listener", "test_talker"])
    lobby, ops = make_channel(bot, "lobby"), make_channel(bot, "ops")
    failures.append(RuntimeError("once"))
    tell(bot, lobby, "first", 1)
    tell(bot, lobby, "second", 2)
    tell(bot, ops, "elsewhere", 3)

    run_lanes()

    waiting = HandlerRun.objects.filter(state=WorkState.QUEUED)
    assert {(run.handler, run.event.channel.name) for run in waiting} == {
        (waiting[0].handler, "lobby")
    }
    assert HandlerRun.objects.filter(state=WorkState.SUCCEEDED).count() == 6 - len(waiting)


def test_an_event_a_dead_worker_left_in_the_middle_is_handled_again():
    bot = make_bot(handlers=["test_listener"])
    tell(bot, make_channel(bot), "again")
    HandlerRun.objects.update(state=WorkState.RUNNING, attempts=1)

    run_lanes()

    assert heard == ["again"]
    assert HandlerRun.objects.get().state == WorkState.SUCCEEDED


def test_a_handler_whose_package_went_away_fails_in_the_open():
    bot = make_bot(handlers=["test_listener"])
    tell(bot, make_channel(bot), "hi")
    HandlerRun.objects.update(handler="gone")

    run_lanes()

    run = HandlerRun.objects.get()
    assert (run.state, run.error_code) == (WorkState.FAILED, "handler_gone")


def test_two_handlers_cannot_have_one_name():
    with pytest.raises(ValueError, match="two handlers"):
        on("message.posted", name="echo")(lambda call: None)
    with pytest.raises(ValueError, match="not a valid Kind"):
        on("message.writen", name="typo")(lambda call: None)

    assert "typo" not in registered()


def test_echo_leaves_other_bots_alone():
    bot = make_bot(handlers=["echo"])
    channel = make_channel(bot)
    robot = PersonInfo(id="r2", username="r2", is_bot=True)

    tell(bot, channel, "beep", 1, person=robot)
    tell(bot, channel, "hello", 2)
    run_lanes()

    assert posted(channel) == ["hello"]


def test_an_error_that_no_database_can_hold_is_written_all_the_same():
    bot = make_bot(handlers=["test_listener"])
    failures.extend([ValueError("\x00 \ud83d")])
    tell(bot, make_channel(bot), "hello")

    run_lanes()

    assert HandlerRun.objects.get().error_detail == "ValueError: \ufffd ?"
    assert heard == ["hello"]


def test_an_event_that_kills_its_workers_is_given_up():
    bot = make_bot(handlers=["test_listener"])
    tell(bot, make_channel(bot), "deadly")
    HandlerRun.objects.update(state=WorkState.RUNNING, attempts=5)

    run_lanes()

    run = HandlerRun.objects.get()
    assert (run.state, run.error_code, heard) == (WorkState.FAILED, "interrupted", [])


def test_a_failed_run_that_is_retried_days_later_sends_nothing_twice():
    # Given a run that sent something, failed for good, and was left for days
    bot = make_bot(handlers=["test_talker"])
    channel = make_channel(bot)
    failures.extend(ValueError("no") for _ in range(5))
    tell(bot, channel, "hi")
    for _ in range(5):
        run_lanes()
        let_time_pass()
    run = HandlerRun.objects.get()
    assert run.state == WorkState.FAILED
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=3))
    idempotency.tidy()

    # When somebody retries it
    handlers.retry(run)
    run_lanes()

    # Then it succeeds, sent nothing again, and its keys are forgotten
    run.refresh_from_db()
    assert run.state == WorkState.SUCCEEDED
    assert Job.objects.filter(bot=bot).count() == 2
    assert not IdempotencyKey.objects.exists()


def test_a_handler_that_names_no_receiver_or_two_fails_in_the_open():
    bot = make_bot(handlers=["test_lost"])
    channel = make_channel(bot)

    tell(bot, channel, "hi")
    run_lanes()

    run = HandlerRun.objects.get()
    assert "either a channel or a person" in run.error_detail
    assert not Job.objects.exists()


def test_a_handler_may_be_for_some_bots_only():
    for slug in ("echo", "mute"):
        bot = make_bot(slug, handlers=["test_of_echo"])
        tell(bot, make_channel(bot, slug), "hi")

    run_lanes()

    assert heard == ["echo: hi"]


def test_a_handler_may_be_for_some_channels_only():
    bot = make_bot(handlers=["test_in_ops"])
    for number, name in enumerate(("lobby", "ops", "other")):
        title = "Operations" if name == "other" else ""
        tell(bot, make_channel(bot, name, title=title), f"in {name}", number)

    run_lanes()

    assert heard == ["in ops", "in other"]


def test_what_a_handler_is_not_for_costs_no_turn():
    bot = make_bot(handlers=["test_in_ops", "test_of_echo", "test_counter"])

    tell(make_bot("mute", handlers=["test_of_echo"]), make_channel(bot), "hi")
    tell(bot, make_channel(bot, "hall"), "hi")

    assert list(HandlerRun.objects.values_list("handler", flat=True)) == ["test_of_echo"]


def test_giving_turns_takes_as_many_queries_for_many_events_as_for_few():
    bot = make_bot(handlers=["test_in_ops", "test_of_echo", "test_counter"])
    channel = make_channel(bot, "ops")
    tell(bot, channel, "!count warm-up")

    queries = []
    for first, count in ((1_000, 2), (2_000, 60)):
        stored = events_of(bot, channel, range(first, first + count))
        with CaptureQueriesContext(connection) as captured:
            handlers.queue(stored)
        queries.append(len(captured))

    assert queries[0] == queries[1]
    assert HandlerRun.objects.count() == 3 * (1 + 2 + 60)


def events_of(bot: Bot, channel, numbers) -> list[tuple[Event, Incoming]]:
    """Commands that are stored and were given no turns yet."""
    found = []
    for number in numbers:
        incoming = Incoming(
            kind=Kind.MESSAGE_POSTED,
            id=str(number),
            message_id=str(number),
            occurred_at=timezone.now(),
            channel_id=channel.remote_id,
            person=ALICE,
            text="!count sheep",
        )
        event = Event.objects.create(
            bot=bot,
            kind=incoming.kind,
            dedupe_key=str(number),
            channel=channel,
            occurred_at=incoming.occurred_at,
            data=inbox.describe(incoming),
        )
        found.append((event, incoming))
    return found
