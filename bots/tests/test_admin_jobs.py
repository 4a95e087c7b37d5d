"""Jobs and handler runs in the admin: what became of them, and what a person can do."""

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from bots import handlers
from bots.admin import job_many
from bots.models import Bot, Event, HandlerRun, Job, JobKind, Lane, LaneKind, WorkState
from bots.tests import cast
from bots.tests.builders import deliver, make_bot, make_channel, make_job, run_lanes
from spaces.models import Channel

pytestmark = pytest.mark.django_db

FOLLOWS = 'hx-trigger="every'  # a piece of the page that asks for news


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


def states(*jobs: Job) -> list[str]:
    by_id = Job.objects.in_bulk([job.pk for job in jobs])
    return [by_id[job.pk].state for job in jobs]


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
    page = text_of(root.get(page_of(job)))
    assert FOLLOWS in page
    assert "accepted" in page

    run_lanes()
    deliver()

    assert FOLLOWS not in text_of(root.get(page_of(job)))
    followed = root.get(reverse("admin:bots_job_trace", args=[job.pk]), headers={"X-Mark": "old"})
    assert "succeeded" in text_of(followed)
    same = {"X-Mark": followed["X-Mark"]}
    again = root.get(reverse("admin:bots_job_trace", args=[job.pk]), headers=same)
    assert again.status_code == 204


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


def test_many_jobs_are_cancelled_after_a_question(bot, lobby):
    done = make_job(bot, lobby)
    run_lanes()
    waiting = [make_job(bot, lobby) for _ in range(2)]
    other = make_job(bot, lobby)
    root = cast.root()

    asked = root.post(
        reverse("admin:bots_job_changelist"),
        {"action": "cancel_chosen", "_selected_action": [done.pk, *(j.pk for j in waiting)]},
        follow=True,
    )
    assert "<strong>2</strong> jobs that match can be cancelled" in text_of(asked)
    assert states(done, *waiting, other) == ["succeeded", "queued", "queued", "queued"]
    answer = root.post(asked.redirect_chain[-1][0], follow=True)

    assert "Jobs cancelled: 2." in text_of(answer)
    assert states(done, *waiting, other) == ["succeeded", "cancelled", "cancelled", "queued"]


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


# What is stuck ----------------------------------------------------------------------------------

LIST = "/admin/bots/job/"


def listed(client, **query) -> str:
    """What the rows of the list show."""
    page = text_of(client.get(LIST, query))
    rows = page.partition('id="changelist-form"')[2].partition('id="changelist-filter"')[0]
    return re.sub(r"<[^>]+>", " ", rows)


def test_the_list_says_why_a_job_waits_and_what_to_do(bot, lobby):
    job = make_job(bot, lobby)
    Bot.objects.update(enabled=False)
    root = cast.root()

    rows = listed(root)

    assert "The bot is switched off." in rows
    assert "Start the bot on its page." in rows
    assert "The bot is switched off." in text_of(root.get(page_of(job)))


def test_the_list_is_narrowed_down_to_one_reason(bot, lobby):
    other = make_bot("other", name="Other")
    make_job(bot, lobby)
    paused = make_job(other, make_channel(other, "elsewhere"))
    Bot.objects.filter(pk=bot.pk).update(enabled=False)
    Lane.objects.filter(pk=paused.lane_id).update(paused_at=timezone.now())
    root = cast.root()

    assert "Echo" in listed(root, why="bot_off")
    assert "Other" not in listed(root, why="bot_off")
    assert "Other" in listed(root, why="paused")
    assert "Nothing matches" in listed(root, why="limited")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"error_code": "bad_word"}, True),
        ({"error_code": "another"}, False),
        ({"since": "hour"}, False),
        ({"since": "day"}, True),
        ({"by": "test"}, True),
        ({"by": "tes"}, False),
        ({"q": "no bad words"}, True),
        ({"q": "nothing of that"}, False),
        ({"waits": "hour"}, False),
        ({"why": "nonsense"}, True),
    ],
)
def test_jobs_are_found_by_what_is_known_of_them(bot, lobby, query, found):
    job = left_as(
        make_job(bot, lobby),
        WorkState.FAILED,
        error_code="bad_word",
        error_detail="No bad words here.",
        created_at=timezone.now() - timedelta(hours=2),
    )
    root = cast.root()

    assert ("bad_word: No bad words here." in listed(root, **query)) == found
    assert "bad_word: No bad words here." in listed(root, q=job.pk)


def test_what_waits_for_long_is_found(bot, lobby):
    left_as(make_job(bot, lobby), WorkState.QUEUED, created_at=timezone.now() - timedelta(hours=2))
    make_job(bot, lobby, kind=JobKind.TYPING, payload={})
    root = cast.root()

    assert "Post" in listed(root, waits="hour")
    assert "Typing" not in listed(root, waits="hour")
    assert "Typing" in listed(root)


def test_error_codes_are_offered_of_what_one_may_see(bot, lobby):
    other = make_bot("other")
    left_as(make_job(bot, lobby), WorkState.FAILED, error_code="of_echo")
    left_as(make_job(other, make_channel(other, "b")), WorkState.FAILED, error_code="of_other")

    page = text_of(cast.alice(bot).get(LIST))

    assert "of_echo" in page
    assert "of_other" not in page


def test_a_channel_that_one_may_not_see_is_not_named_by_a_filter(bot):
    other = make_bot("other")
    hidden = make_channel(other, "merger-talks")

    page = text_of(cast.alice(bot).get(LIST, {"channel__id__exact": hidden.pk}))

    assert "merger-talks" not in page


def test_one_that_worked_for_some_people_only_says_for_how_many_not(bot, lobby):
    people = [{"asked": n, "ok": n != "x", "code": "", "detail": "", "person": None} for n in "xyz"]
    job = make_job(bot, lobby)
    left_as(job, WorkState.SUCCEEDED, result={"people": people, "failed": 1})

    assert "1 of 3 failed" in listed(cast.root())


# All that match ---------------------------------------------------------------------------------


def all_that_match(name: str, **query) -> str:
    return f"{reverse('admin:bots_job_all', args=[name])}?{urlencode(query)}"


def test_all_that_match_are_retried_after_a_question(bot, lobby):
    failed = [left_as(make_job(bot, lobby), WorkState.FAILED, error_code="x") for _ in range(3)]
    other = left_as(make_job(bot, lobby), WorkState.FAILED, error_code="y")
    root = cast.root()
    url = all_that_match("retry", error_code="x")
    assert url in text_of(root.get(LIST, {"error_code": "x"}))

    assert "<strong>3</strong> jobs that match can be queued again" in text_of(root.get(url))
    answer = root.post(url, follow=True)

    assert "Jobs queued again: 3." in text_of(answer)
    assert states(*failed, other) == ["queued"] * 3 + ["failed"]


def test_the_newest_of_all_that_match_are_named_whatever_became_of_them(bot, lobby, monkeypatch):
    monkeypatch.setattr(job_many, "NAMED", 2)
    ended = (WorkState.EXPIRED, WorkState.FAILED, WorkState.CANCELLED)
    oldest, older, newest = (left_as(make_job(bot, lobby), state) for state in ended)

    page = text_of(cast.root().get(all_that_match("retry", bot__id__exact=bot.pk)))

    assert "<strong>3</strong> jobs that match can be queued again" in page
    assert page.index(page_of(newest)) < page.index(page_of(older))
    assert page_of(oldest) not in page


def test_many_go_some_at_a_time_and_the_page_says_how_many_are_left(bot, lobby, monkeypatch):
    monkeypatch.setattr(job_many, "AT_ONCE", 2)
    waiting = [make_job(bot, lobby) for _ in range(3)]
    root = cast.root()
    url = all_that_match("cancel", state__exact="queued")

    page = text_of(root.post(url))
    assert "2 jobs cancelled." in page
    assert "<strong>1</strong> job that matches can be cancelled, too" in page
    assert states(*waiting) == ["queued", "cancelled", "cancelled"]
    root.post(url)

    assert states(*waiting) == ["cancelled"] * 3


def test_what_is_left_is_what_still_matches(bot, lobby, monkeypatch):
    waiting = [make_job(bot, lobby) for _ in range(3)]
    monkeypatch.setattr(job_many, "AT_ONCE", 2)
    root = cast.root()
    asked: list[str] = []

    def a_worker_is_faster(execute, sql, *more):
        was_read = bool(asked) and asked[-1].endswith("LIMIT 2")  # those that are cancelled next
        asked.append(sql)
        if was_read:
            Job.objects.filter(pk__gt=waiting[0].pk).update(state=WorkState.RUNNING)
        return execute(sql, *more)

    with connection.execute_wrapper(a_worker_is_faster):
        page = text_of(root.post(all_that_match("cancel", state__exact="queued")))

    assert "<strong>1</strong> job that matches can be cancelled" in page
    assert states(*waiting) == ["queued", "running", "running"]


def test_what_failed_again_since_the_question_is_not_retried_for_ever(bot, lobby):
    opened = timezone.now()
    job = left_as(make_job(bot, lobby), WorkState.FAILED, finished_at=opened + timedelta(seconds=5))

    page = cast.root().post(
        all_that_match("retry", state__exact="failed"), {"opened": opened.isoformat()}, follow=True
    )

    assert "Jobs queued again: 0." in text_of(page)
    assert states(job) == ["failed"]


def test_who_only_watches_is_offered_nothing_for_all_and_may_not(bot, lobby):
    job = make_job(bot, lobby)
    bob = cast.bob(bot)

    assert "With all that match" not in text_of(bob.get(LIST, {"state__exact": "queued"}))
    for method in (bob.get, bob.post):
        assert method(all_that_match("cancel", state__exact="queued")).status_code == 403
    assert states(job) == ["queued"]


def test_all_that_match_are_those_that_one_may_see(bot, lobby):
    other = make_bot("other")
    hidden = make_job(other, make_channel(other, "elsewhere"))
    mine = make_job(bot, lobby)

    cast.alice(bot).post(all_that_match("cancel", state__exact="queued"))

    assert states(mine, hidden) == ["cancelled", "queued"]


@pytest.mark.parametrize("query", [{"nonsense": "1"}, {"id__in": "x"}, {"why": "\0"}])
def test_nonsense_is_no_error(bot, query):
    answer = cast.root().get(all_that_match("cancel", **query))

    assert answer.status_code in (200, 302, 400)


def test_there_is_no_other_thing_to_do_with_all(bot):
    assert cast.root().get(all_that_match("resolve-sent")).status_code == 404
