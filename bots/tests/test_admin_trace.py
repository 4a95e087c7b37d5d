"""The trace of a message in the admin: what led to what, from whichever end one looks."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import clients, handlers, inbox, postoffice
from bots.idempotency import Once, perform
from bots.inbox import Received
from bots.models import Bot, Event, HandlerRun, Job, Message, WorkState
from bots.tests import cast
from bots.tests.builders import (
    deliver,
    join,
    make_bot,
    make_channel,
    make_client,
    make_job,
    make_person,
    make_space,
    make_subscription,
    run_lanes,
)
from bots.tests.receiver import Answer
from spaces.models import Channel
from spaces.platforms.errors import RateLimited, Rejected
from spaces.platforms.messages import Outgoing
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture
def bot() -> Bot:
    return make_bot("echo", space=make_space(platform="faulty"), handlers=["echo"])


@pytest.fixture
def lobby(bot) -> Channel:
    return make_channel(bot, "lobby")


def page_of(row) -> str:
    return reverse(f"admin:bots_{row._meta.model_name}_change", args=[row.pk])


def trace_of(client, row) -> str:
    """The timeline on the page of a row, as text without tags."""
    answer = client.get(page_of(row))
    assert answer.status_code == 200
    shown = answer.content.decode().partition('<section class="mb-6" aria-label="Trace">')[2]
    shown = re.sub(r"<[^>]+>", " ", shown.partition("</section>")[0])
    return " ".join(html.unescape(shown).split())


def hear(bot: Bot) -> None:
    """Let the bot catch up with what happened, as its connection would."""
    with clients.borrow(bot) as platform:
        for batch in platform.catch_up(bot.connection.cursor or platform.start_cursor()):
            received = Received(
                connection_id=bot.connection.pk,
                bot_id=bot.pk,
                space_id=bot.space_id,
                fence=bot.connection.fence,
                incoming=batch.incoming,
                cursor=batch.cursor,
            )
            inbox.receive([received])
    bot.connection.refresh_from_db()


def begin_hearing(bot: Bot) -> None:
    with clients.borrow(bot) as platform:
        bot.connection.cursor = platform.start_cursor()
    bot.connection.save(update_fields=["cursor"])


def told_by(bot: Bot, text: str, channel: Channel) -> None:
    """Somebody writes, and all that follows from it happens."""
    make_person("dora", space=bot.space).post_message(
        Outgoing(key=text, channel=channel.remote_id, text=text)
    )
    for _ in range(2):  # what is said, then what the bot says to it
        hear(bot)
        deliver()
    postoffice.sort()
    run_lanes()


def test_the_trace_of_a_job_leads_from_the_request_to_the_subscriber(bot, lobby, receiver):
    begin_hearing(bot)
    _, secret = make_subscription(receiver.url, name="Shop", bots=[bot])
    receiver.trust(secret)
    job = make_job(bot, lobby, "good morning")
    run_lanes()
    hear(bot)
    deliver()

    trace = trace_of(cast.root(), job)

    told = [
        "accepted",
        "heard back",
        "delivered 2 of 2",
        "test asked",
        "good morning",
        "Attempt 1",
        "post_message",
        "On the platform",
        f"Job {job.pk} ended",
        "Shop",
    ]
    assert [words for words in told if words not in trace] == []
    assert trace.count("Delivered to 1 of 1") == 2


def test_message_and_events_show_the_same_trace_as_their_job(bot, lobby):
    begin_hearing(bot)
    job = make_job(bot, lobby, "good morning")
    run_lanes()
    hear(bot)
    deliver()
    root = cast.root()
    message = Message.objects.get()
    ended = Event.objects.get(kind="job.finished")
    echo = Event.objects.get(kind="message.posted")
    assert message.event == echo

    traces = {trace_of(root, row).replace("this page", "") for row in (job, message, ended, echo)}

    assert len({" ".join(trace.split()) for trace in traces}) == 1


def test_the_trace_of_what_somebody_said_leads_to_the_answer(bot):
    lobby = make_channel(bot, "lobby", people=["dora"])
    begin_hearing(bot)
    told_by(bot, "is anybody there?", lobby)
    root = cast.root()
    said = Message.objects.get(direction="in")
    run = HandlerRun.objects.get()
    job = Job.objects.get()
    assert job.handler_run == run

    for row in (said, said.event, run, job):
        trace = trace_of(root, row)
        for told in (
            "Dora wrote “is anybody there?”",
            "Handler echo",
            "handler echo asked",
            "in answer to an event",
            "On the platform",
            "Heard back",
        ):
            assert told in trace, row


def test_an_attempt_that_failed_and_the_next_one_are_told(bot, lobby):
    faulty.script(faulty.before(Rejected("No bad words here.", code="bad_word")))
    job = make_job(bot, lobby, "damn")
    run_lanes()

    trace = trace_of(cast.root(), job)

    assert "Attempt 1 bad_word" in trace
    assert "bad_word: No bad words here." in trace


def test_what_waits_says_why_at_the_end(bot, lobby):
    first = make_job(bot, lobby)
    faulty.script(faulty.before(RateLimited("slow down", retry_after=300, scope="channel")))
    run_lanes()
    second = make_job(bot, lobby)

    trace = trace_of(cast.root(), second)

    assert f"still to come Waits behind another job Behind job {first.pk}" in trace


def test_a_request_with_a_key_says_that_a_repeat_gets_the_same_job(bot, lobby):
    client = make_client()
    asked = {"channel": "lobby", "text": "once"}
    url = reverse("messages", args=[bot.slug])
    answer = client.post(url, asked, format="json", headers={"Idempotency-Key": "order-17"})
    job = Job.objects.get(pk=answer.json()["id"])

    trace = trace_of(cast.root(), job)

    assert "token ci asked" in trace
    assert "through the REST API" in trace
    assert "a repeat with the Idempotency-Key order-17 gets this job again" in trace


def test_a_form_of_the_admin_is_told_as_one(bot, lobby):
    once = Once(scope="form user:1", key="x", fingerprint="")
    job_id, _ = perform(once, lambda: make_job(bot, lobby).pk)

    assert "in the admin" in trace_of(cast.root(), Job.objects.get(pk=job_id))


def test_a_receiver_that_failed_is_told_with_its_error(bot, lobby, receiver):
    _, secret = make_subscription(receiver.url, name="Shop", bots=[bot])
    receiver.trust(secret)
    receiver.script.append(Answer(500))
    job = make_job(bot, lobby)
    run_lanes()
    deliver()

    trace = trace_of(cast.root(), job)

    assert "Delivered to 0 of 1" in trace
    assert "status_500" in trace


def test_who_may_not_see_a_subscription_is_not_told_of_it(bot, lobby):
    make_subscription(name="Shop", bots=[bot])
    make_subscription(name="Headquarters")
    job = make_job(bot, lobby)
    run_lanes()
    postoffice.sort()

    trace = trace_of(cast.alice(bot), job)

    assert "Shop" in trace
    assert "Headquarters" not in trace


def test_answers_in_its_thread_belong_to_a_message(bot, lobby):
    job = make_job(bot, lobby, "who comes?")
    run_lanes()
    message = Message.objects.get(job=job)
    Message.objects.create(
        bot=bot,
        channel=lobby,
        remote_id="later",
        direction="in",
        text="I do",
        thread=message.remote_id,
        sent_at=timezone.now() + timedelta(seconds=1),
    )

    trace = trace_of(cast.root(), message)

    assert "1 answer in its thread" in trace
    assert "I do" in trace


def test_a_message_names_the_other_bots_that_saw_it(bot, lobby):
    other = make_bot("second", space=bot.space, name="Second")
    join(other, lobby)
    begin_hearing(other)
    job = make_job(bot, lobby, "all of you")
    run_lanes()
    hear(other)
    message = Message.objects.get(bot=bot, job=job)
    assert Message.objects.filter(remote_id=message.remote_id).count() == 2

    assert "Second" in cast.root().get(page_of(message)).content.decode()
    assert "Second" not in cast.alice(bot).get(page_of(message)).content.decode()


def test_a_message_without_any_trace_still_has_a_page(bot, lobby):
    message = Message.objects.create(
        bot=bot,
        channel=lobby,
        remote_id="old",
        direction="in",
        text="long ago",
        sent_at=timezone.now(),
    )

    assert "No event of it is kept" in trace_of(cast.root(), message)


def test_what_a_trace_points_to_may_be_gone(bot, lobby):
    job = make_job(bot, lobby)
    run_lanes()
    Job.objects.update(handler_run=4711)
    Message.objects.update(event=4711)
    root = cast.root()

    for row in (job, Message.objects.get(), Event.objects.get()):
        assert "test asked" in trace_of(root, row)


def test_charlie_follows_no_trace(bot, lobby):
    job = make_job(bot, lobby)

    answer = cast.charlie().get(reverse("admin:bots_job_trace", args=[job.pk]))

    assert answer.status_code == 404


def test_the_trace_of_much_takes_as_many_queries_as_that_of_little(bot):
    lobby = make_channel(bot, "lobby", people=["dora"])
    begin_hearing(bot)
    make_subscription(name="One", bots=[bot], enabled=False)
    told_by(bot, "first", lobby)
    for number in range(5):
        make_subscription(name=f"More {number}", bots=[bot], enabled=False)
    told_by(bot, "second", lobby)
    few, many = HandlerRun.objects.order_by("pk")
    busy = Event.objects.get(pk=many.event_id)
    for _ in range(4):
        job = make_job(bot, lobby, "more")
        Job.objects.filter(pk=job.pk).update(handler_run=many)
    run_lanes()
    hear(bot)
    postoffice.sort()
    alice = cast.alice(bot)
    alice.get(page_of(few.event))

    def queries(row) -> int:
        with CaptureQueriesContext(connection) as captured:
            trace_of(alice, row)
        return len(captured)

    assert queries(busy) == queries(few.event)


def test_a_run_that_failed_tells_its_error(bot, lobby):
    begin_hearing(bot)
    assert "echo" in handlers.registered()
    event = Event.objects.create(
        bot=bot, kind="message.posted", dedupe_key="x", occurred_at=timezone.now()
    )
    lane = make_job(bot, lobby).lane
    run = HandlerRun.objects.create(
        bot=bot,
        event=event,
        lane=lane,
        handler="echo",
        state=WorkState.FAILED,
        error_code="handler_failed",
        error_detail="ValueError: no",
    )

    assert "handler_failed: ValueError: no" in trace_of(cast.bob(bot), run)
