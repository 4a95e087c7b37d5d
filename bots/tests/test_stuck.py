"""Why jobs wait: the reason, until when, what to do; and that it is what lanes really do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bots import lanes, processes, stuck
from bots.models import Bot, Connection, Job, Lane, State, WorkState
from bots.stuck import LABELS, WHEN, Why
from bots.tests.builders import make_bot, make_channel, make_job, make_space, run_lanes
from spaces.models import Channel
from spaces.platforms.errors import OutcomeUnknown, RateLimited
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

SOON = timedelta(minutes=5)
DUE = (Why.IN_TURN, Why.NO_WORKER)  # the one becomes the other in a few seconds


@pytest.fixture
def bot() -> Bot:
    return make_bot("echo", space=make_space(platform="faulty"))


@pytest.fixture
def lobby(bot) -> Channel:
    return make_channel(bot, "lobby")


def reason_of(job: Job) -> stuck.Reason:
    job.refresh_from_db()
    reason = stuck.explain([job])[job.pk]
    # The filter of the list and the page of the job say the same.
    found = {why for why in Why if stuck.waiting_for(Job.objects.filter(pk=job.pk), why).exists()}
    assert found == {reason.why}
    return reason


def test_every_reason_has_a_condition_and_a_name():
    assert list(WHEN) == list(Why)
    assert set(LABELS) == set(Why)


def test_a_job_of_a_bot_that_is_off_says_so(bot, lobby):
    job = make_job(bot, lobby)
    Bot.objects.update(enabled=False)

    reason = reason_of(job)

    assert reason.why == Why.BOT_OFF
    assert reason.next_step == "Start the bot on its page."


def test_a_job_behind_refused_credentials_tells_what_the_platform_said(bot, lobby):
    job = make_job(bot, lobby)
    Connection.objects.update(
        state=State.BAD_CREDENTIALS, generation=bot.generation, reason="Wrong password."
    )

    reason = reason_of(job)

    assert reason.why == Why.REFUSED
    assert "Wrong password." in reason.text


def test_new_credentials_end_the_refusal(bot, lobby):
    job = make_job(bot, lobby)
    Connection.objects.update(state=State.BAD_CREDENTIALS, generation=bot.generation)
    Bot.objects.update(generation=F("generation") + 1)

    assert reason_of(job).why in DUE


def test_a_paused_lane_names_who_paused_it(bot, lobby):
    job = make_job(bot, lobby)
    Lane.objects.update(paused_at=timezone.now(), paused_by="alice")

    reason = reason_of(job)

    assert reason.why == Why.PAUSED
    assert reason.text == "Its lane is paused by alice."
    assert reason.since is not None


def test_a_limited_bot_waits_until_the_platform_wants_it_again(bot, lobby):
    job = make_job(bot, lobby)
    faulty.script(faulty.before(RateLimited("slow down", retry_after=300, scope="bot")))
    run_lanes()
    other = make_job(bot, make_channel(bot, "other"))

    for one in (job, other):
        reason = reason_of(one)
        assert reason.why == Why.LIMITED
        assert reason.until is not None
        assert reason.until > timezone.now()


def test_one_that_failed_backs_off_and_those_behind_it_name_it(bot, lobby):
    first = make_job(bot, lobby)
    faulty.script(faulty.before(RateLimited("not here", retry_after=300, scope="channel")))
    run_lanes()
    second = make_job(bot, lobby)

    reason = reason_of(first)
    assert reason.why == Why.BACKING_OFF
    assert "rate_limited" in reason.text
    assert reason.until == first.not_before
    behind = reason_of(second)
    assert behind.why == Why.BEHIND
    assert behind.behind == first.pk
    assert behind.text == f"Behind job {first.pk} of the same lane. There: {reason.text}"
    assert behind.until == first.not_before


def test_one_that_is_scheduled_holds_nobody(bot, lobby):
    later = make_job(bot, lobby, not_before=timezone.now() + SOON)
    now = make_job(bot, lobby)

    assert reason_of(later).why == Why.SCHEDULED
    assert reason_of(later).until == later.not_before
    assert reason_of(now).why in DUE
    run_lanes()
    now.refresh_from_db()
    assert now.state == WorkState.SUCCEEDED


def test_without_order_nobody_is_behind_another(bot, lobby):
    first = make_job(bot, lobby, ordered=False)
    faulty.script(faulty.before(RateLimited("not here", retry_after=300, scope="channel")))
    run_lanes()
    second = make_job(bot, lobby, ordered=False)

    assert reason_of(first).why == Why.BACKING_OFF
    assert reason_of(second).why in DUE


def test_one_that_a_worker_is_at_names_the_worker(bot, lobby):
    job = make_job(bot, lobby)
    claim = lanes.Claim.take(Lane.objects.get(pk=job.lane_id))
    assert claim is not None
    lanes.begin(claim, Job)

    reason = reason_of(job)

    assert reason.why == Why.RUNNING
    assert processes.own_name() in reason.text
    assert reason.since is not None


def test_one_whose_worker_is_gone_waits_for_another(bot, lobby):
    job = make_job(bot, lobby)
    claim = lanes.Claim.take(Lane.objects.get(pk=job.lane_id))
    assert claim is not None
    lanes.begin(claim, Job)
    long_ago = timezone.now() - SOON
    Lane.objects.update(claimed_until=long_ago, due_at=long_ago)

    reason = reason_of(job)

    assert reason.why == Why.NO_WORKER
    assert "is gone" in reason.text


def test_one_that_is_due_and_nobody_came_asks_for_workers(bot, lobby):
    job = make_job(bot, lobby)
    Lane.objects.update(due_at=timezone.now() - SOON)

    assert "No worker is alive" in reason_of(job).next_step
    processes.worked()
    assert "start more of them" in reason_of(job).next_step


def test_one_whose_answer_got_lost_is_being_settled(bot, lobby):
    job = make_job(bot, lobby)
    faulty.script(faulty.after(OutcomeUnknown("sent, then silence")))
    limited = RateLimited("slow down", retry_after=300, scope="channel")
    faulty.script(faulty.before(limited), operation="find_sent")
    run_lanes()

    reason = reason_of(job)
    assert reason.why == Why.SETTLING
    assert reason.until == job.not_before


def test_an_uncertain_job_needs_a_person(bot, lobby):
    job = make_job(bot, lobby)
    Job.objects.update(state=WorkState.UNCERTAIN)

    reason = reason_of(job)

    assert reason.why == Why.UNCERTAIN
    assert "press It was sent" in reason.next_step


def test_a_bot_that_cannot_connect_says_so_on_the_job_that_goes_first(bot, lobby):
    first, second = make_job(bot, lobby), make_job(bot, lobby)
    later = timezone.now() + SOON
    # As the runner notes it.
    Job.objects.filter(pk=first.pk).update(attempts=1, error_code="unavailable")
    Lane.objects.update(due_at=later)

    assert reason_of(first).why == Why.UNREACHABLE
    assert reason_of(first).until == later
    assert reason_of(second).why == Why.BEHIND


def test_a_bot_that_may_send_so_many_a_second_waits_for_its_place(bot, lobby):
    job = make_job(bot, lobby)
    Lane.objects.update(due_at=timezone.now() + SOON)

    assert reason_of(job).why == Why.PACED


def test_what_has_ended_waits_for_nothing(bot, lobby):
    job = make_job(bot, lobby)
    run_lanes()
    job.refresh_from_db()

    assert stuck.explain([job]) == {}


def test_of_a_crowd_only_those_that_nobody_is_ahead_of_are_found(bot):
    one, two, free = (make_channel(bot, name) for name in ("one", "two", "free"))
    make_job(bot, one, not_before=timezone.now() + SOON)
    lined_up = [make_job(bot, channel) for channel in (one, two) for _ in range(3)]
    at_once = [make_job(bot, free, ordered=False) for _ in range(2)]
    Lane.objects.update(due_at=timezone.now() + SOON)

    found = stuck.waiting_for(Job.objects.all(), Why.PACED)

    assert set(found) == {lined_up[0], lined_up[3], *at_once}
    assert not stuck.waiting_for(Job.objects.exclude(pk=lined_up[0].pk), Why.IN_TURN)


def test_many_are_explained_in_as_many_queries_as_two(bot):
    def explained(jobs: list[Job]) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(stuck.explain(jobs)) == len(jobs)
        return len(captured)

    def two_in(name: str) -> list[Job]:
        channel = make_channel(bot, name)
        return [make_job(bot, channel), make_job(bot, channel)]

    few = two_in("one")
    many = [job for name in ("two", "three", "four") for job in two_in(name)]

    assert explained(many) == explained(few) <= 3
