"""Jobs and handler runs in the admin: what became of them, and what a person can do."""

import html

import pytest
from django.urls import reverse

from bots import handlers
from bots.models import Bot, Event, HandlerRun, Job, Lane, LaneKind, WorkState
from bots.tests import cast
from bots.tests.builders import make_bot, make_channel, make_job, run_lanes
from spaces.models import Channel

pytestmark = pytest.mark.django_db


@pytest.fixture
def bot() -> Bot:
    return make_bot("echo", name="Echo")


@pytest.fixture
def lobby(bot) -> Channel:
    return make_channel(bot, "lobby")


def page_of(row) -> str:
    return reverse(f"admin:bots_{row._meta.model_name}_change", args=[row.pk])


def press(client, row, name: str):
    url = reverse(f"admin:bots_{row._meta.model_name}_do", args=[row.pk, name])
    return client.post(url, follow=True)


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def left_as(job: Job, state: WorkState, **changes) -> Job:
    """The job as the worker left it."""
    Job.objects.filter(pk=job.pk).update(state=state, **changes)
    Lane.objects.update(due_at=None)
    job.refresh_from_db()
    return job


def test_the_page_of_a_job_tells_what_was_asked_and_every_attempt(bot, lobby):
    job = make_job(bot, lobby, "hello <b>world</b>")
    run_lanes()

    answer = cast.root().get(page_of(job))

    page = text_of(answer)
    assert "post_message" in page
    assert "succeeded" in page
    assert "&lt;b&gt;world" in answer.content.decode()
    assert "<b>world" not in answer.content.decode()


def test_the_page_of_a_failed_job_tells_why_and_what_to_do(bot, lobby):
    job = left_as(
        make_job(bot, lobby),
        WorkState.FAILED,
        error_code="remote_forbidden",
        error_detail="Not a member.",
        next_step="Add the bot to the channel.",
    )

    page = text_of(cast.root().get(page_of(job)))

    for told in ("remote_forbidden", "Not a member.", "Add the bot to the channel.", "Retry"):
        assert told in page


def test_a_page_follows_its_job_until_it_is_done(bot, lobby):
    job = make_job(bot, lobby)
    root = cast.root()
    assert 'http-equiv="refresh"' in text_of(root.get(page_of(job)))

    run_lanes()

    assert 'http-equiv="refresh"' not in text_of(root.get(page_of(job)))


def test_a_queued_job_is_cancelled(bot, lobby):
    job = make_job(bot, lobby)

    press(cast.root(), job, "cancel")

    job.refresh_from_db()
    assert job.state == WorkState.CANCELLED


def test_a_failed_job_is_retried(bot, lobby):
    job = left_as(make_job(bot, lobby), WorkState.FAILED, error_code="rejected")

    press(cast.root(), job, "retry")
    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED


def test_an_uncertain_job_that_was_sent_is_done(bot, lobby):
    job = left_as(make_job(bot, lobby), WorkState.UNCERTAIN)
    root = cast.root()
    assert "It was not sent" in text_of(root.get(page_of(job)))

    press(root, job, "resolve-sent")

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED


def test_an_uncertain_job_that_was_not_sent_is_tried_again(bot, lobby):
    job = left_as(make_job(bot, lobby), WorkState.UNCERTAIN)

    press(cast.root(), job, "resolve-not-sent")
    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
    assert lobby.messages.count() == 1


def test_a_button_pressed_too_late_says_so(bot, lobby):
    job = make_job(bot, lobby)
    run_lanes()

    page = text_of(press(cast.root(), job, "cancel"))

    assert "is succeeded and cannot become cancelled" in page


def test_many_jobs_at_once_count_those_that_moved_and_name_the_others(bot, lobby):
    done = make_job(bot, lobby)
    run_lanes()
    waiting = [make_job(bot, lobby) for _ in range(2)]

    answer = cast.root().post(
        reverse("admin:bots_job_changelist"),
        {"action": "cancel_chosen", "_selected_action": [done.pk, *(j.pk for j in waiting)]},
        follow=True,
    )

    page = text_of(answer)
    assert "Jobs cancelled: 2." in page
    assert f"Job {done.pk} is succeeded" in page


def test_many_jobs_are_retried_at_once(bot, lobby):
    failed = [left_as(make_job(bot, lobby), WorkState.FAILED) for _ in range(2)]

    answer = cast.root().post(
        reverse("admin:bots_job_changelist"),
        {"action": "retry_chosen", "_selected_action": [job.pk for job in failed]},
        follow=True,
    )

    assert "Jobs queued again: 2." in text_of(answer)


def test_bob_retries_no_job(bot, lobby):
    job = left_as(make_job(bot, lobby), WorkState.FAILED)

    answer = cast.bob(bot).post(reverse("admin:bots_job_do", args=[job.pk, "retry"]))

    assert answer.status_code == 403
    job.refresh_from_db()
    assert job.state == WorkState.FAILED


# Handler runs -----------------------------------------------------------------------------------


@pytest.fixture
def failed_run(bot) -> HandlerRun:
    event = Event.objects.create(
        bot=bot, kind="message.posted", dedupe_key="1", occurred_at=bot.created_at
    )
    lane = Lane.objects.create(kind=LaneKind.HANDLERS, bot=bot, key="echo bot")
    return HandlerRun.objects.create(
        bot=bot,
        event=event,
        lane=lane,
        handler="echo",
        state=WorkState.FAILED,
        attempts=5,
        error_code="handler_failed",
        error_detail="ValueError: no",
        traceback="Traceback: line 7 broke",
    )


def test_an_operator_reads_the_traceback(failed_run):
    assert "line 7 broke" in text_of(cast.alice(failed_run.bot).get(page_of(failed_run)))


def test_who_only_watches_does_not(failed_run):
    page = text_of(cast.bob(failed_run.bot).get(page_of(failed_run)))

    assert "handler_failed" in page
    assert "line 7 broke" not in page


def test_a_failed_run_gets_its_tries_anew(failed_run):
    press(cast.root(), failed_run, "retry")
    run_lanes()

    failed_run.refresh_from_db()
    assert failed_run.state == WorkState.SUCCEEDED
    assert failed_run.attempts == 1


def test_a_run_that_did_not_fail_is_not_retried(failed_run):
    handlers.retry(failed_run)
    failed_run.refresh_from_db()

    answer = cast.root().post(
        reverse("admin:bots_handlerrun_changelist"),
        {"action": "retry_chosen", "_selected_action": [failed_run.pk]},
        follow=True,
    )

    assert f"Handler run {failed_run.pk} is queued, not failed." in text_of(answer)
