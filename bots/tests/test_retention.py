"""What is older than its space wants goes, and nothing that somebody still needs."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bots import handlers, inbox, jobs, lifecycle, postoffice, retention, sequence, tasks
from bots.models import (
    Attempt,
    Bot,
    Connection,
    Delivery,
    DeliveryAttempt,
    Event,
    HandlerRun,
    IdempotencyKey,
    Job,
    Lane,
    Message,
    Pruning,
    Receive,
    SequenceEntry,
    State,
    StoredFile,
    WorkState,
)
from bots.tests.builders import (
    let_time_pass,
    make_bot,
    make_channel,
    make_client,
    make_event,
    make_job,
    make_person,
    make_subscription,
    run_lanes,
)
from spaces.models import Channel, Space
from spaces.platforms.messages import Incoming, Kind, PersonInfo

pytestmark = pytest.mark.django_db

TIMES: dict[type, tuple[str, ...]] = {
    Job: ("created_at", "started_at", "finished_at"),
    HandlerRun: ("created_at", "started_at", "finished_at"),
    Attempt: ("at",),
    Delivery: ("created_at", "finished_at"),
    DeliveryAttempt: ("at",),
    Event: ("occurred_at", "stored_at"),
    Message: ("sent_at",),
    Pruning: ("ended_at",),
    IdempotencyKey: ("created_at",),
}


@pytest.fixture
def bot() -> Bot:
    return make_bot()


@pytest.fixture
def channel(bot: Bot) -> Channel:
    return make_channel(bot)


def days_pass(days: float) -> None:
    """Everything that happened so far is that much longer ago."""
    for model, names in TIMES.items():
        model.objects.update(**{name: F(name) - timedelta(days=days) for name in names})


def keep(bot: Bot, **days: int) -> None:
    """Keep everything for ever, but for what is named."""
    names = ("events", "attempts", "jobs", "messages")
    kept = {f"keep_{name}_days": days.get(name, 0) for name in names}
    Space.objects.filter(pk=bot.space_id).update(**kept)


def sent(bot: Bot, channel: Channel, text: str = "hello") -> Job:
    job = make_job(bot, channel, text)
    run_lanes()
    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
    return job


def hear(bot: Bot, channel: Channel, text: str) -> Event:
    """Somebody writes, and the bot's connection brings it with a new position."""
    said = Incoming(
        kind=Kind.MESSAGE_POSTED,
        id=f"post:{text}",
        occurred_at=timezone.now(),
        channel_id=channel.remote_id,
        message_id=f"remote {text}",
        person=PersonInfo(id="7", username="bob"),
        text=text,
    )
    bot.connection.refresh_from_db()
    inbox.receive(
        [
            inbox.Received(
                connection_id=bot.connection.pk,
                bot_id=bot.pk,
                space_id=bot.space_id,
                fence=bot.connection.fence,
                incoming=[said],
                cursor={"at": text},
            )
        ]
    )
    return Event.objects.get(bot=bot, dedupe_key=f"post:{text}")


def be_live(bot: Bot, receive: Receive = Receive.WEBSOCKET) -> None:
    Bot.objects.filter(pk=bot.pk).update(receive=receive)
    Connection.objects.filter(bot=bot).update(state=State.LIVE, cursor={"at": "now"})


def job_row(bot: Bot, channel: Channel, count: int) -> None:
    """Many jobs that were done."""
    lane = make_job(bot, channel).lane
    now = timezone.now()
    done: dict[str, Any] = {"kind": "message.post", "state": WorkState.SUCCEEDED}
    Job.objects.bulk_create(
        [Job(bot=bot, lane=lane, finished_at=now, **done) for _ in range(count)]
    )


# Jobs -------------------------------------------------------------------------------------------


def test_a_job_that_ended_long_ago_goes_with_its_attempts_and_its_lane(bot, channel):
    sent(bot, channel)
    keep(bot, jobs=90)
    days_pass(91)

    tasks.prune()

    assert not Job.objects.exists()
    assert not Attempt.objects.exists()
    assert not Lane.objects.exists()


def test_a_job_that_ended_lately_stays_with_everything(bot, channel):
    sent(bot, channel)
    keep(bot, jobs=90, attempts=90)
    days_pass(89)

    tasks.prune()

    assert Job.objects.exists()
    assert Attempt.objects.exists()
    assert Lane.objects.exists()


def test_with_0_days_everything_stays_for_ever(bot, channel):
    sent(bot, channel)
    keep(bot)
    days_pass(30_000)

    tasks.prune()

    assert Job.objects.exists()
    assert Attempt.objects.exists()
    assert Event.objects.exists()


def test_the_message_of_a_pruned_job_stays_and_names_no_job(bot, channel):
    sent(bot, channel, "still here")
    keep(bot, jobs=90)
    days_pass(91)

    tasks.prune()

    shown = make_client().get(f"/api/v1/bots/{bot.slug}/messages/").json()["results"]
    assert [(m["text"], m["job"]) for m in shown] == [("still here", None)]


@pytest.mark.parametrize("state", [WorkState.QUEUED, WorkState.RUNNING, WorkState.UNCERTAIN])
def test_a_job_that_is_open_or_uncertain_stays_however_old(bot, channel, state):
    job = sent(bot, channel)
    Job.objects.update(state=state, finished_at=None)
    keep(bot, jobs=1, attempts=1)
    days_pass(1000)

    tasks.prune()

    assert Job.objects.get().pk == job.pk
    assert Attempt.objects.exists()
    assert Lane.objects.exists()


def test_an_old_job_that_ended_a_moment_ago_stays(bot, channel):
    job = make_job(bot, channel)
    keep(bot, jobs=90)
    days_pass(200)

    run_lanes()
    tasks.prune()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED


def test_attempts_go_before_their_jobs_where_they_are_kept_shorter(bot, channel):
    sent(bot, channel)
    keep(bot, jobs=90, attempts=30)
    days_pass(31)

    tasks.prune()

    assert not Attempt.objects.exists()
    assert Job.objects.exists()


def test_a_lane_with_work_stays_when_its_old_jobs_go(bot, channel):
    sent(bot, channel)
    keep(bot, jobs=90)
    days_pass(91)
    waiting = make_job(bot, channel, "new")

    tasks.prune()
    run_lanes()

    waiting.refresh_from_db()
    assert waiting.state == WorkState.SUCCEEDED


def test_a_lane_that_was_pruned_comes_back_with_the_next_job(bot, channel):
    sent(bot, channel)
    keep(bot, jobs=90)
    days_pass(91)
    tasks.prune()

    assert sent(bot, channel, "again").state == WorkState.SUCCEEDED


def test_a_file_whose_job_was_pruned_goes_with_the_next_tidying(bot, channel):
    job = sent(bot, channel)
    StoredFile.objects.create(bot=bot, job=job, name="a", content_type="text/plain", size=1)
    StoredFile.objects.update(created_at=timezone.now() - timedelta(days=3))
    keep(bot, jobs=2)
    days_pass(3)

    tasks.prune()
    tasks.tidy()

    assert not StoredFile.objects.exists()


def test_each_space_keeps_as_long_as_it_wants(bot, channel):
    other = make_bot("other", space=Space.objects.create(slug="b", name="B", platform="local"))
    for one in (bot, other):
        sent(one, make_channel(one, f"room of {one.slug}"))
    keep(bot, jobs=30)
    keep(other, jobs=60)
    days_pass(45)

    tasks.prune()

    assert not bot.jobs.exists()
    assert other.jobs.exists()


# Events and handler runs -------------------------------------------------------------------------


def test_old_events_go_and_new_ones_stay(bot, channel):
    be_live(bot)
    hear(bot, channel, "old")
    keep(bot, events=90)
    days_pass(91)
    hear(bot, channel, "new")

    tasks.prune()

    assert [event.dedupe_key for event in bot.events.all()] == ["post:new"]


def test_of_a_quiet_server_the_newest_message_stays_recognised_when_it_is_told_again(bot, channel):
    be_live(bot)
    heard = hear(bot, channel, "the last word")
    keep(bot, events=90)
    days_pass(1000)

    tasks.prune()

    assert hear(bot, channel, "the last word").pk == heard.pk


@pytest.mark.parametrize("state", [State.RECONNECTING, State.OFF, State.CATCHING_UP])
def test_while_a_position_rests_the_events_that_may_be_told_again_stay(bot, channel, state):
    be_live(bot)
    hear(bot, channel, "old")
    Connection.objects.update(state=state)
    keep(bot, events=90)
    days_pass(1000)
    hear(bot, channel, "by webhook")

    tasks.prune()

    assert bot.events.filter(dedupe_key="post:old").exists()


def test_a_bot_that_only_gets_webhooks_has_no_position_to_wait_for(bot, channel):
    hear(bot, channel, "old")
    Bot.objects.update(receive=Receive.WEBHOOK)
    Connection.objects.update(cursor={})
    keep(bot, events=90)
    days_pass(91)

    tasks.prune()

    assert not bot.events.exists()


def test_what_botadmin_told_itself_goes_whatever_the_connection_does(bot, channel):
    hear(bot, channel, "heard")
    sent(bot, channel)
    Connection.objects.update(state=State.RECONNECTING)
    keep(bot, events=90)
    days_pass(91)

    tasks.prune()

    assert set(bot.events.values_list("kind", flat=True)) == {Kind.MESSAGE_POSTED}


@pytest.fixture
def answering(bot: Bot, channel: Channel) -> Bot:
    """A bot with a handler that sends and then fails, as long as `broken` is in the channel."""
    make_person("bob", space=bot.space)

    def answer_then_fail(call: handlers.Call) -> None:
        call.send("done", channel=channel.remote_id)
        if "bad" in call.text:
            raise ValueError("broken")

    handlers.on("message.posted", name="answer_then_fail")(answer_then_fail)
    Bot.objects.filter(pk=bot.pk).update(handlers=["answer_then_fail"])
    be_live(bot)
    yield Bot.objects.select_related("space", "connection").get(pk=bot.pk)
    handlers.forget("answer_then_fail")


def fail_for_good() -> None:
    for _ in range(handlers.TRIES):
        run_lanes()
        let_time_pass()


def test_an_event_that_a_handler_has_yet_to_answer_stays(answering, channel):
    hear(answering, channel, "old")
    keep(answering, events=1, attempts=1, jobs=1)
    days_pass(1000)
    hear(answering, channel, "new")

    tasks.prune()
    run_lanes()

    assert HandlerRun.objects.filter(state=WorkState.SUCCEEDED).count() == 2


def test_an_event_goes_with_the_runs_that_are_over(answering, channel):
    hear(answering, channel, "old")
    run_lanes()
    keep(answering, events=90)
    days_pass(91)
    hear(answering, channel, "new")
    run_lanes()

    tasks.prune()

    assert [run.event.dedupe_key for run in HandlerRun.objects.all()] == ["post:new"]
    assert not answering.events.filter(dedupe_key="post:old").exists()


def test_a_run_that_failed_goes_with_what_it_remembered_and_not_after_its_jobs(answering, channel):
    hear(answering, channel, "bad")
    fail_for_good()
    assert HandlerRun.objects.get().state == WorkState.FAILED
    assert IdempotencyKey.objects.exists()
    keep(answering, attempts=90, jobs=30)
    days_pass(31)

    tasks.prune()

    assert not HandlerRun.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert not Job.objects.exists()
    assert answering.events.exists()


def test_a_run_that_is_tried_again_after_its_job_is_gone_says_so_and_sends_nothing(
    answering, channel
):
    hear(answering, channel, "bad")
    fail_for_good()
    Job.objects.update(finished_at=timezone.now() - timedelta(days=2))
    keep(answering, jobs=1)
    tasks.prune()
    run = HandlerRun.objects.get()

    handlers.retry(run)
    fail_for_good()

    run.refresh_from_db()
    assert (run.state, run.error_code) == (WorkState.FAILED, "not_found")
    assert not Job.objects.exists()


def test_with_a_bot_goes_what_its_failed_runs_remembered(answering, channel):
    hear(answering, channel, "bad")
    fail_for_good()

    lifecycle.delete(answering)

    assert not IdempotencyKey.objects.exists()


# Messages, sessions ------------------------------------------------------------------------------


# Events out ---------------------------------------------------------------------------------------


def test_a_delivery_goes_with_its_attempts_its_lane_and_before_its_event(bot, channel):
    make_subscription(bots=[bot])
    keep(bot, events=90, attempts=30)
    event = make_event(bot, channel)
    postoffice.sort()
    delivery = event.deliveries.get()
    delivery.attempt_log.create(number=1, at=timezone.now(), seconds=1, outcome="succeeded")
    Delivery.objects.update(state=WorkState.SUCCEEDED)
    Lane.objects.update(due_at=None)

    days_pass(31)
    retention.prune()

    assert not Delivery.objects.exists()
    assert not DeliveryAttempt.objects.exists()
    assert not Lane.objects.exclude(subscription=None).exists()
    assert Event.objects.filter(pk=event.pk).exists()


def test_an_event_that_a_subscriber_has_yet_to_take_stays(bot, channel):
    be_live(bot)
    make_subscription(bots=[bot])
    keep(bot, events=10)
    event = make_event(bot, channel, kind=Kind.JOB_FINISHED)
    postoffice.sort()

    days_pass(11)
    retention.prune()
    assert Event.objects.filter(pk=event.pk).exists()

    Delivery.objects.update(state=WorkState.FAILED)
    Pruning.objects.all().delete()
    retention.prune()
    assert not Event.objects.filter(pk=event.pk).exists()
    assert not Delivery.objects.exists()


def test_an_event_goes_with_its_number_and_readers_pass_over_it(bot, channel):
    be_live(bot)
    keep(bot, events=10)
    postoffice.sort()
    before = sequence.head()
    make_event(bot, channel, kind=Kind.JOB_FINISHED)
    postoffice.sort()
    days_pass(11)
    kept = make_event(bot, channel)
    postoffice.sort()

    retention.prune()

    pages = sequence.read(sequence.Wanted(), after=before, limit=10)
    assert [entry.event_id for page in pages for entry in page.entries] == [kept.pk]
    assert SequenceEntry.objects.filter(seq__gt=before).count() == 1


def test_events_of_no_bot_go_as_in_a_new_space(bot):
    event = make_event(None, kind=Kind.INCIDENT_OPENED)
    postoffice.sort()

    days_pass(89)
    retention.prune()
    assert Event.objects.filter(pk=event.pk).exists()

    days_pass(2)
    Pruning.objects.all().delete()
    retention.prune()
    assert not Event.objects.filter(pk=event.pk).exists()


def test_messages_stay_for_ever_unless_a_space_says_otherwise(bot, channel):
    hear(bot, channel, "old")
    days_pass(1000)
    hear(bot, channel, "new")
    tasks.prune()
    assert Message.objects.count() == 2

    keep(bot, messages=365)
    days_pass(1)
    tasks.prune()

    assert [message.text for message in Message.objects.all()] == ["new"]


def test_sessions_that_ran_out_go():
    now = timezone.now()
    for key, days in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, expire_date=now + timedelta(days=days))

    tasks.prune()

    assert [session.session_key for session in Session.objects.all()] == ["new"]


# A little at a time -------------------------------------------------------------------------------


def test_no_statement_removes_more_than_a_batch(bot, channel, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 10)
    job_row(bot, channel, 95)
    keep(bot, jobs=90)
    days_pass(91)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        tasks.prune()

    removals = [q["sql"] for q in queries if q["sql"].startswith("DELETE FROM bots_job ")]
    assert len(removals) == 10
    assert max(sql.count(",") for sql in removals) < 10
    assert Job.objects.get().state == WorkState.QUEUED


def test_a_run_that_is_out_of_time_is_gone_on_with_by_the_next(bot, channel, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 10)
    job_row(bot, channel, 35)
    keep(bot, jobs=90)
    days_pass(91)
    monkeypatch.setattr(retention, "TABLE_SECONDS", 0)  # enough for one batch of each table
    lefts = []

    for _ in range(4):
        tasks.prune()
        lefts.append(Job.objects.exclude(state=WorkState.QUEUED).count())

    assert lefts == [26, 16, 6, 0]


def test_after_a_walk_a_table_rests_for_an_hour(bot, channel):
    keep(bot, jobs=90, events=90)
    tasks.prune()
    sent(bot, channel)
    Job.objects.update(finished_at=timezone.now() - timedelta(days=91))

    tasks.prune()
    assert Job.objects.exists()

    days_pass(1 / 24)
    tasks.prune()
    assert not Job.objects.exists()


def test_queries_of_a_run_do_not_grow_with_bots(bot, django_assert_max_num_queries):
    for number in range(10):
        make_bot(f"bot-{number}", space=bot.space)
    keep(bot, jobs=90, events=90, attempts=90)

    with django_assert_max_num_queries(20):
        tasks.prune()


def test_every_table_is_read_by_an_index(bot, channel):
    be_live(bot)
    hear(bot, channel, "old")
    sent(bot, channel)
    keep(bot, jobs=1, events=1, attempts=1, messages=1)
    days_pass(91)
    hear(bot, channel, "new")
    with CaptureQueriesContext(connection) as queries:
        tasks.prune()

    growing = {model._meta.db_table for model in (Job, Attempt, Event, HandlerRun, Message, Lane)}
    statements = [q["sql"] for q in queries if q["sql"].startswith(("SELECT", "UPDATE", "DELETE"))]
    scanned = [sql for sql in statements if any(f'"{t}"' in _scans(sql) for t in growing)]

    assert statements
    assert scanned == []


def _scans(sql: str) -> str:
    """The tables that the database would read as a whole for this statement, each in quotes."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = [row[3].split() for row in cursor.fetchall()]
            # By the primary key it is a walk in order that ends with the batch.
            whole = [line[1] for line in plan if line[0] == "SCAN" and "USING" not in line]
        else:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {sql}")
            plan = [row[0].split() for row in cursor.fetchall()]
            whole = [line[line.index("on") + 1] for line in plan if "Seq" in line]
    return " ".join(f'"{name}"' for name in whole)


# Beside others ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_runs_in_the_middle_of_sends_and_of_each_other_lose_nothing(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 5)
    monkeypatch.setattr(retention, "PAUSE", timedelta(0))
    bot = make_bot()
    channel = make_channel(bot)
    job_row(bot, channel, 200)
    keep(bot, jobs=90)
    days_pass(91)
    ended = threading.Event()
    broken: list[Exception] = []

    def prune() -> None:
        try:
            while not ended.is_set():
                tasks.prune()
        except Exception as error:
            broken.append(error)
        finally:
            connection.close()

    pruners = [threading.Thread(target=prune) for _ in range(2)]
    for pruner in pruners:
        pruner.start()
    texts = [f"text {number}" for number in range(30)]
    for text in texts:
        make_job(bot, channel, text)
        run_lanes()
    ended.set()
    for pruner in pruners:
        pruner.join(60)
    tasks.prune()

    assert broken == []
    said = Message.objects.filter(channel=channel).order_by("pk").values_list("text", flat=True)
    assert [text for text in said if text != "hello"] == texts
    kept = Job.objects.filter(state=WorkState.SUCCEEDED, kind="message.post")
    assert kept.count() == 31
    assert not kept.filter(finished_at__lt=timezone.now() - timedelta(days=90)).exists()


def test_a_job_that_was_retried_in_time_stays(bot, channel):
    job = sent(bot, channel)
    Job.objects.update(state=WorkState.FAILED)
    keep(bot, jobs=90)
    days_pass(91)
    job.refresh_from_db()

    jobs.retry(job)
    tasks.prune()
    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
