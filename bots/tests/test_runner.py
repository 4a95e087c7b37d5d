"""Sending: what becomes of a job, whatever the platform does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db.models import F
from django.utils import timezone

from bots import lanes, lifecycle, runner, targets
from bots.models import Attempt, Bot, Job, JobKind, Lane, Message, State, WorkState
from bots.tests.builders import (
    SECRET,
    database_cut_off_at,
    let_time_pass,
    make_bot,
    make_channel,
    make_job,
    make_person,
    make_space,
    run_lanes,
)
from spaces.models import LocalMessage
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    StillRunning,
    Unavailable,
)
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture
def bot() -> Bot:
    return make_bot(space=make_space("shaky", platform="faulty"))


@pytest.fixture
def channel(bot):
    return make_channel(bot)


def posted(channel) -> list[str]:
    return list(
        LocalMessage.objects.filter(room=channel.remote_id)
        .order_by("pk")
        .values_list("text", flat=True)
    )


def test_a_job_is_sent_and_leaves_its_attempt_its_message_and_its_event(bot, channel):
    job = make_job(bot, channel, "good morning")

    run_lanes()

    job.refresh_from_db()
    attempt = job.attempt_log.get()
    assert (job.state, job.attempts, attempt.outcome) == (WorkState.SUCCEEDED, 1, "succeeded")
    assert job.messages.get().text == "good morning"
    assert bot.events.get(kind="job.finished").data["job"] == str(job.pk)
    assert posted(channel) == ["good morning"]


def test_jobs_for_one_channel_arrive_in_the_order_they_were_accepted(bot, channel):
    texts = [f"line {n}" for n in range(120)]
    for text in texts:
        make_job(bot, channel, text)

    run_lanes()

    assert posted(channel) == texts


def test_a_refused_job_fails_with_the_platforms_reason_and_the_next_one_goes_on(bot, channel):
    faulty.script(faulty.before(Rejected("No bad words here.", code="bad_word")))
    refused, fine = make_job(bot, channel, "damn"), make_job(bot, channel, "dear")

    run_lanes()

    refused.refresh_from_db(), fine.refresh_from_db()
    assert (refused.state, refused.error_code) == (WorkState.FAILED, "bad_word")
    assert refused.error_detail == "No bad words here."
    assert fine.state == WorkState.SUCCEEDED


def test_an_unavailable_platform_holds_the_lane_in_order_until_it_is_back(bot, channel):
    faulty.script(faulty.before(Unavailable("down")), faulty.before(Unavailable("down")))
    first, second = make_job(bot, channel, "first"), make_job(bot, channel, "second")

    run_lanes()
    first.refresh_from_db()
    assert (first.state, first.error_code) == (WorkState.QUEUED, "platform_unavailable")
    assert first.not_before > timezone.now()
    assert posted(channel) == []

    let_time_pass()
    run_lanes()
    let_time_pass()
    run_lanes()

    first.refresh_from_db(), second.refresh_from_db()
    assert (first.attempts, second.attempts) == (3, 1)
    assert posted(channel) == ["first", "second"]


def test_other_channels_do_not_wait_for_one_that_is_stuck(bot, channel):
    other = make_channel(bot, "ops")
    faulty.script(faulty.before(RateLimited("slow down", retry_after=60, scope="channel")))
    make_job(bot, channel, "limited")
    run_lanes()

    make_job(bot, other, "free")
    run_lanes()

    assert posted(channel) == []
    assert posted(other) == ["free"]


def test_a_limit_on_the_bot_holds_all_its_lanes_for_as_long_as_the_platform_says(bot, channel):
    other = make_channel(bot, "ops")
    faulty.script(faulty.before(RateLimited("slow down", retry_after=60)))
    make_job(bot, channel, "limited")
    run_lanes()

    make_job(bot, other, "also limited")
    run_lanes()
    bot.refresh_from_db()
    wait = bot.limited_until - timezone.now()
    assert timedelta(seconds=55) < wait <= timedelta(seconds=60)
    assert posted(other) == []

    let_time_pass()
    run_lanes()
    assert posted(channel) == ["limited"]
    assert posted(other) == ["also limited"]


def test_a_send_without_an_answer_that_did_arrive_is_found_and_not_repeated(bot, channel):
    faulty.script(faulty.after(OutcomeUnknown("sent, then silence")))
    job = make_job(bot, channel, "once")

    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
    assert posted(channel) == ["once"]


def test_a_send_without_an_answer_that_never_arrived_is_sent(bot, channel):
    faulty.script(faulty.before(OutcomeUnknown("cut before it left")))
    job = make_job(bot, channel, "once")

    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
    assert posted(channel) == ["once"]


@pytest.mark.parametrize("refusal", [Forbidden("thrown out"), CredentialsRefused("revoked")])
def test_a_send_that_may_have_arrived_is_never_called_failed(bot, channel, refusal):
    faulty.script(faulty.after(OutcomeUnknown("silence")))
    faulty.script(faulty.before(refusal), operation="find_sent")
    job = make_job(bot, channel, "perhaps")

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.UNCERTAIN, refusal.code)
    assert posted(channel) == ["perhaps"]


def test_a_send_that_did_not_arrive_and_is_refused_then_is_failed(bot, channel):
    faulty.script(faulty.before(OutcomeUnknown("cut")), faulty.before(Rejected("too late")))
    job = make_job(bot, channel, "never")

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.FAILED, "rejected")


def test_an_open_outcome_is_settled_later_when_the_platform_cannot_be_asked_now(bot, channel):
    faulty.script(faulty.after(OutcomeUnknown("silence")))
    faulty.script(faulty.before(Unavailable("still away")), operation="find_sent")
    job = make_job(bot, channel, "once")
    behind = make_job(bot, channel, "twice")

    run_lanes()
    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.RUNNING, "platform_unavailable")

    let_time_pass()
    run_lanes()
    job.refresh_from_db(), behind.refresh_from_db()
    assert (job.state, behind.state) == (WorkState.SUCCEEDED, WorkState.SUCCEEDED)
    assert posted(channel) == ["once", "twice"]


def test_a_send_that_the_platform_is_still_at_is_not_sent_again_meanwhile(bot, channel):
    faulty.script(faulty.before(OutcomeUnknown("silence")), faulty.before(StillRunning("at it")))
    job = make_job(bot, channel, "once")
    run_lanes()
    faulty.script(faulty.before(Unavailable("away for a moment")), operation="find_sent")
    for _ in range(3):
        let_time_pass()
        run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code, posted(channel)) == (
        WorkState.RUNNING,
        "still_running",
        [],
    )

    Job.objects.update(started_at=timezone.now() - timedelta(minutes=5))
    let_time_pass()
    run_lanes()
    job.refresh_from_db()
    assert (job.state, posted(channel)) == (WorkState.SUCCEEDED, ["once"])
    assert "still_running" not in job.result


def test_a_lost_answer_is_left_to_the_operator_where_the_platform_cannot_tell():
    bot = make_bot(space=make_space("vague", platform="forgetful"))
    channel = make_channel(bot)
    faulty.script(faulty.after(OutcomeUnknown("sent, then silence")))
    job, behind = make_job(bot, channel, "perhaps"), make_job(bot, channel, "surely")

    run_lanes()

    job.refresh_from_db(), behind.refresh_from_db()
    assert (job.state, behind.state) == (WorkState.UNCERTAIN, WorkState.SUCCEEDED)
    assert job.next_step


@pytest.mark.parametrize(("reached", "sends"), [(True, 1), (False, 1)])
def test_a_job_of_a_worker_that_died_in_the_middle_is_sent_once(bot, channel, reached, sends):
    job = make_job(bot, channel, "once")
    claim = lanes.Claim.take(Lane.objects.get(pk=job.lane_id))
    lanes.begin(claim, Job)
    if reached:  # the worker got as far as the platform, and no further
        send_as_worker(bot, job)
    Lane.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))

    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
    assert posted(channel) == ["once"] * sends


def send_as_worker(bot, job):
    from bots import actions, clients

    with clients.borrow(bot) as platform:
        (message,) = actions.compose(platform, job, [])
        platform.post_message(message)


def test_where_nobody_can_be_asked_a_crash_leaves_one_job_uncertain_and_not_the_whole_batch():
    bot = make_bot(space=make_space("vague", platform="forgetful"))
    channel = make_channel(bot)
    jobs = [make_job(bot, channel, str(n)) for n in range(5)]
    lane = Lane.objects.select_related("bot__space", "bot__connection").get(pk=jobs[0].lane_id)
    claim = lanes.Claim.take(lane)
    lanes.begin(claim, Job, limit=1)
    Lane.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))

    run_lanes()

    states = list(Job.objects.order_by("pk").values_list("state", flat=True))
    assert states == ["uncertain", "succeeded", "succeeded", "succeeded", "succeeded"]


def test_a_worker_that_lost_its_lane_writes_nothing(bot, channel):
    job = make_job(bot, channel)
    lane = Lane.objects.get(pk=job.lane_id)
    claim = lanes.Claim.take(lane)
    Lane.objects.update(fence=lane.fence + 2, holder="somebody else")

    with pytest.raises(lanes.LeaseLost):
        lanes.begin(claim, Job)

    job.refresh_from_db()
    assert job.state == WorkState.QUEUED


def test_what_a_worker_sent_while_it_lost_its_lane_is_found_by_its_successor(bot, channel):
    jobs = [make_job(bot, channel, str(n)) for n in range(3)]

    def lose_the_lane(do):
        sent = do()
        past = timezone.now() - timedelta(seconds=1)
        Lane.objects.update(fence=F("fence") + 1, holder="somebody else", claimed_until=past)
        return sent

    faulty.script(lose_the_lane)
    lanes.drain(jobs[0].lane_id)
    assert not Attempt.objects.exists()

    run_lanes()

    assert set(Job.objects.values_list("state", flat=True)) == {WorkState.SUCCEEDED}
    assert posted(channel) == ["0", "1", "2"]


def test_a_long_text_is_split_into_parts_that_stay_together(bot, channel):
    text = "\n\n".join(f"paragraph {n} " + "x" * 900 for n in range(12))
    job = make_job(bot, channel, text)
    make_job(bot, channel, "after it")

    run_lanes()

    job.refresh_from_db()
    texts = posted(channel)
    assert len(texts) > 2
    assert all(len(part) <= 4000 for part in texts)
    assert "\n\n".join(texts[:-1]) == text
    assert job.result["parts"] == len(texts) - 1 == job.messages.count()


def test_a_failure_in_the_middle_of_a_long_text_keeps_the_parts_that_went_out(bot, channel):
    text = "\n\n".join(c * 3000 for c in "abc")
    faulty.script(faulty.ok(), faulty.before(Unavailable("down")))
    job = make_job(bot, channel, text)

    run_lanes()
    assert [part[0] for part in posted(channel)] == ["a"]
    let_time_pass()
    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
    assert [part[0] for part in posted(channel)] == ["a", "b", "c"]


def test_refused_credentials_fail_what_waits_and_nobody_logs_in_again_until_they_change(bot):
    channel = make_channel(bot)
    make_person("alice", space=bot.space)
    lifecycle.set_credentials(bot, {"secret": "something else"}, user=None)
    bot.refresh_from_db()
    jobs = [make_job(bot, channel, str(n)) for n in range(3)]
    run_lanes()

    logins = [call for call in faulty.calls if call.operation == "connect"]
    later = make_job(bot, channel, "later")
    run_lanes()

    again = [call for call in faulty.calls if call.operation == "connect"]
    assert again == logins
    for job in (*jobs, later):
        job.refresh_from_db()
        assert (job.state, job.error_code) == (WorkState.FAILED, "credentials_refused")
    bot.connection.refresh_from_db()
    assert bot.connection.state == State.BAD_CREDENTIALS
    assert bot.connection.next_step

    lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
    fixed = make_job(bot, channel, "fixed")
    run_lanes()
    fixed.refresh_from_db()
    assert fixed.state == WorkState.SUCCEEDED


def test_credentials_refused_in_the_middle_mark_the_connection(bot, channel):
    faulty.script(faulty.before(CredentialsRefused("The token was revoked.")))
    job = make_job(bot, channel)

    run_lanes()

    job.refresh_from_db(), bot.connection.refresh_from_db()
    assert job.error_code == "credentials_refused"
    assert bot.connection.state == State.BAD_CREDENTIALS
    assert bot.connection.reason == "The token was revoked."


def test_a_platform_that_cannot_be_reached_at_login_lets_jobs_wait(bot, channel):
    lifecycle.reconnect(bot)  # so that the next send has to log in
    faulty.script(faulty.before(Unavailable("no route")), operation="connect")
    job = make_job(bot, channel)

    run_lanes()
    job.refresh_from_db()
    assert (job.state, job.error_code, job.attempts) == ("queued", "platform_unavailable", 1)

    let_time_pass()
    run_lanes()
    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED


def test_a_fault_in_a_platforms_code_costs_one_job_and_tells_nobody_a_secret(bot, channel, caplog):
    faulty.script(faulty.before(KeyError("boom")))
    broken, fine = make_job(bot, channel, "one"), make_job(bot, channel, "two")

    run_lanes()

    broken.refresh_from_db(), fine.refresh_from_db()
    assert (broken.state, broken.error_code) == (WorkState.UNCERTAIN, "platform_broke")
    assert fine.state == WorkState.SUCCEEDED
    assert SECRET not in caplog.text


def test_jobs_of_a_bot_that_is_off_wait_until_it_is_on(bot, channel):
    lifecycle.stop(bot)
    job = make_job(bot, channel, "patience")
    run_lanes()
    job.refresh_from_db()
    assert job.state == WorkState.QUEUED

    lifecycle.start(bot)
    run_lanes()

    assert posted(channel) == ["patience"]


def test_a_bot_started_while_a_worker_puts_its_lane_aside_is_not_forgotten(bot, channel):
    lifecycle.stop(bot)
    job = make_job(bot, channel, "patience")
    lane = Lane.objects.select_related("bot__space", "bot__connection").get(pk=job.lane_id)
    claim = lanes.Claim.take(lane)

    runner.work(claim)
    lifecycle.start(bot)
    claim.release()
    run_lanes()

    assert posted(channel) == ["patience"]


def test_a_scheduled_message_waits_for_its_time_and_holds_nobody(bot, channel):
    tomorrow = timezone.now() + timedelta(days=1)
    make_job(bot, channel, "tomorrow", not_before=tomorrow)
    make_job(bot, channel, "today")
    run_lanes()
    assert posted(channel) == ["today"]

    let_time_pass()
    run_lanes()

    assert posted(channel) == ["today", "tomorrow"]


def test_a_message_that_came_too_late_expires_unsent(bot, channel):
    job = make_job(bot, channel, expires_at=timezone.now() - timedelta(seconds=1))

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.EXPIRED, "expired")
    assert posted(channel) == []


def test_unordered_jobs_pass_each_other(bot, channel):
    faulty.script(faulty.before(Unavailable("down")))
    make_job(bot, channel, "stuck", ordered=False)
    make_job(bot, channel, "free", ordered=False)

    run_lanes()

    assert posted(channel) == ["free"]


def test_messages_per_second_space_out_what_a_bot_sends(bot, channel):
    bot.options = {"messages_per_second": 0.1}
    lifecycle.changed(bot, fields=["options"], requested_by="test")
    make_job(bot, channel, "now")
    make_job(bot, channel, "in ten seconds")

    run_lanes()

    assert posted(channel) == ["now"]
    waiting = Job.objects.get(payload__text="in ten seconds")
    assert (waiting.state, waiting.attempts) == (WorkState.QUEUED, 0)
    due = Lane.objects.get(pk=waiting.lane_id).due_at - timezone.now()
    assert timedelta(seconds=5) < due <= timedelta(seconds=10)


def test_a_direct_message_and_one_to_its_channel_share_a_lane(bot):
    make_person("alice", space=bot.space)
    first = make_job(bot, None, "hello", person=targets.person(bot, "alice"))
    run_lanes()
    first.refresh_from_db()
    assert first.channel is not None

    lifecycle.sync(bot, requested_by="test")
    run_lanes()
    by_channel = make_job(bot, targets.channel(bot, first.channel.remote_id), "again")
    by_name = make_job(bot, None, "and again", person=targets.person(bot, "@alice"))

    assert by_channel.lane_id == by_name.lane_id


def test_every_person_gets_an_outcome_and_one_bad_one_stops_nobody(bot, channel):
    make_person("alice", space=bot.space)
    people = [targets.person(bot, name) for name in ("alice", "nobody")]
    payload = {"people": [{"id": p.id, "username": p.username, "email": p.email} for p in people]}
    job = make_job(bot, channel, kind=JobKind.ADD_PARTICIPANTS, payload=payload)

    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.SUCCEEDED
    assert [(o["asked"], o["ok"]) for o in job.result["people"]] == [
        ("alice", True),
        ("nobody", False),
    ]
    assert channel.participants.filter(person__username="alice").exists()


def test_a_request_that_worked_for_nobody_is_no_success(bot, channel):
    payload = {"people": [{"id": "nobody", "username": "nobody", "email": ""}]}
    job = make_job(bot, channel, kind=JobKind.ADD_PARTICIPANTS, payload=payload)

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.FAILED, "nobody_changed")
    assert len(job.result["people"]) == 1


def test_receipts_are_not_sent_for_a_bot_that_has_them_off(bot, channel):
    lifecycle.set_read_receipts(bot, False)
    job = make_job(bot, channel, kind=JobKind.MARK_READ, payload={"message": "1"})

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.result["receipt_sent"]) == (WorkState.SUCCEEDED, False)
    assert not [call for call in faulty.calls if call.operation == "mark_read"]


def test_sync_reads_channels_participants_and_messages_and_may_be_repeated(bot, channel):
    make_person("alice", space=bot.space)
    make_job(bot, channel, "hello")
    run_lanes()
    Message.objects.all().delete()

    for _ in range(2):
        job = lifecycle.sync(bot, requested_by="test")
        run_lanes()
        job.refresh_from_db()
        assert job.result["channels"] == 1
        assert job.result["messages"] == 1

    assert Message.objects.get().text == "hello"


def test_attempts_show_what_was_asked_and_answered_without_secrets(bot, channel):
    job = make_job(bot, channel, f"my password is {SECRET}")

    run_lanes()

    attempt = job.attempt_log.get()
    assert attempt.request["operation"] == "post_message"
    assert attempt.seconds > 0
    assert SECRET not in str(attempt.request) + str(attempt.response)


# What platforms say ------------------------------------------------------------------------------


def test_what_no_database_can_hold_costs_nobody_an_outcome(bot, channel):
    bad = "Bad name \x00 \ud83d"
    faulty.script(faulty.ok(), faulty.before(Rejected(bad, code="bad\x00" * 20)))
    jobs_ = [make_job(bot, channel, text) for text in ("one", "two", "three")]

    run_lanes()

    for job in jobs_:
        job.refresh_from_db()
    assert [job.state for job in jobs_] == ["succeeded", "failed", "succeeded"]
    assert jobs_[1].error_detail == "Bad name \ufffd ?"
    assert posted(channel) == ["one", "three"]


def test_an_error_that_quotes_a_secret_is_written_without_it(bot, channel):
    faulty.script(faulty.before(Rejected(f"GET https://x/bot{quote(SECRET)}/send: {SECRET}")))
    job = make_job(bot, channel)

    run_lanes()

    job.refresh_from_db()
    assert job.error_detail == "GET https://x/bot[removed]/send: [removed]"
    assert bot.events.get(kind="job.finished").data["error"]["detail"] == job.error_detail


def test_two_answers_with_one_id_are_one_message(bot, channel):
    def same(do):
        return replace(do(), message_id="i" * 300)

    faulty.script(same, same)
    for text in ("one", "two"):
        make_job(bot, channel, text)

    run_lanes()

    assert set(Job.objects.values_list("state", flat=True)) == {"succeeded"}
    assert Message.objects.get().remote_id == "i" * 255


@pytest.mark.django_db(transaction=True)  # PostgreSQL ends a whole transaction over such a value
def test_an_answer_that_cannot_be_stored_is_left_to_a_person_and_hurts_no_other(
    bot, channel, caplog
):
    faulty.script(lambda do: replace(do(), channel_id=None))
    odd, fine = make_job(bot, channel, "odd"), make_job(bot, channel, "fine")

    run_lanes()

    odd.refresh_from_db(), fine.refresh_from_db()
    assert (odd.state, odd.error_code) == (WorkState.UNCERTAIN, "unstorable")
    assert fine.state == WorkState.SUCCEEDED


# A database that hiccups --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_outcomes_are_written_again_when_the_database_was_away(channel_of_forgetful):
    bot, channel = channel_of_forgetful
    job = make_job(bot, channel)

    with database_cut_off_at("INSERT INTO bots_attempt"):
        run_lanes()

    job.refresh_from_db()
    assert (job.state, job.attempt_log.count()) == (WorkState.SUCCEEDED, 1)


@pytest.mark.django_db(transaction=True)
def test_a_job_that_was_not_sent_because_the_database_was_away_is_sent_later(
    channel_of_forgetful, monkeypatch
):
    # Given a lease that must be renewed before each call, and a database that is cut off just then
    monkeypatch.setattr(lanes, "MARGIN_SECONDS", lanes.LEASE_SECONDS)
    bot, channel = channel_of_forgetful
    job = make_job(bot, channel)

    # When its lane is worked on
    with database_cut_off_at('UPDATE "bots_lane" SET "claimed_until" = ('):
        run_lanes()
    job.refresh_from_db()
    waited = job.state
    let_time_pass()
    run_lanes()

    # Then nobody has to look what became of it
    job.refresh_from_db()
    assert (waited, job.state) == (WorkState.QUEUED, WorkState.SUCCEEDED)


@pytest.mark.django_db(transaction=True)
def test_a_rate_limit_that_cannot_be_written_down_makes_no_job_uncertain(bot, channel):
    job = make_job(bot, channel)
    faulty.script(faulty.before(RateLimited("slow down", retry_after=60, scope="bot")))

    with database_cut_off_at('UPDATE "bots_bot"'):
        run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.QUEUED, "rate_limited")


@pytest.fixture
def channel_of_forgetful():
    bot = make_bot("forgetful", space=make_space("oblivion", platform="forgetful"))
    return bot, make_channel(bot)


# Faults of a platform's code ----------------------------------------------------------------------


def test_a_fault_while_connecting_lets_the_lane_wait_and_leaves_a_trace(bot, channel, caplog):
    lifecycle.reconnect(bot)
    faulty.script(faulty.before(KeyError("x")), operation="connect")
    job = make_job(bot, channel)

    run_lanes()

    job.refresh_from_db()
    lane = Lane.objects.get(pk=job.lane_id)
    assert (job.state, job.error_code, job.attempts) == ("queued", "platform_unavailable", 1)
    assert (lane.holder, lane.claimed_until) == ("", None)
    assert "KeyError" in caplog.text


def test_a_fault_while_an_outcome_is_looked_for_leaves_it_to_a_person(bot, channel, caplog):
    faulty.script(faulty.before(OutcomeUnknown("silence")))
    faulty.script(faulty.before(KeyError("x")), operation="find_sent")
    job = make_job(bot, channel)

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.UNCERTAIN, "platform_broke")


def test_a_channel_that_was_perhaps_created_is_left_to_a_person(bot, caplog):
    def broke(do):
        do()
        raise KeyError("an answer without an id")

    faulty.script(broke, operation="create_channel")
    payload = {"kind": "group", "title": "Ops"}
    job = make_job(bot, None, kind=JobKind.CREATE_CHANNEL, payload=payload)

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.UNCERTAIN, "platform_broke")
    assert "resolve" in job.next_step


def test_what_may_be_repeated_fails_with_a_next_step_that_is_possible(bot, channel, caplog):
    faulty.script(faulty.before(KeyError("x")), operation="leave_channel")
    job = make_job(bot, channel, kind=JobKind.LEAVE_CHANNEL, payload={})

    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.FAILED
    assert job.next_step.startswith("Retry")


def test_unordered_jobs_for_different_channels_have_different_lanes(bot, channel):
    other = make_channel(bot, "ops")
    one = make_job(bot, channel, ordered=False)
    two = make_job(bot, other, ordered=False)

    assert one.lane_id != two.lane_id
