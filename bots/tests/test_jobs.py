"""Jobs as callers see them: refused, cancelled, retried, resolved, expired."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from bots import jobs, targets
from bots.models import Job, JobKind, WorkState
from bots.refusals import Conflict, Missing, NotPermitted, NotSupported
from bots.tests.builders import (
    let_time_pass,
    make_bot,
    make_channel,
    make_job,
    make_person,
    make_space,
    run_lanes,
)
from spaces.models import Channel
from spaces.platforms.errors import OutcomeUnknown, Rejected, Unavailable
from spaces.platforms.messages import ChannelKind
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture
def bot():
    return make_bot(space=make_space("shaky", platform="faulty"))


@pytest.fixture
def channel(bot):
    return make_channel(bot)


def test_a_bot_without_the_permission_may_not():
    bot = make_bot(permissions=["post"])
    channel = make_channel(bot)

    with pytest.raises(NotPermitted):
        make_job(bot, channel, kind=JobKind.REACT, payload={"message": "1", "name": "smile"})
    with pytest.raises(NotPermitted):
        make_job(bot, None, person=targets.person(bot, "alice"))
    with pytest.raises(NotPermitted):  # by its id it is a direct channel all the same
        make_job(bot, Channel(remote_id="d1", kind=ChannelKind.DIRECT, space=bot.space))

    assert not Job.objects.exists()


def test_what_a_platform_cannot_do_is_refused_before_anything_is_stored():
    bot = make_bot()
    space = bot.space
    space.platform = "gone"  # its package was removed
    space.save()

    with pytest.raises(NotSupported, match="no platform 'gone'"):
        make_job(bot, make_channel(make_bot("other", space=make_space("fine"))))


def test_a_queued_job_can_be_cancelled_and_is_not_sent(bot, channel):
    job = make_job(bot, channel)

    jobs.cancel(job)
    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.CANCELLED
    assert job.finished_at
    assert not [c for c in faulty.calls if c.operation == "post_message"]


def test_a_job_that_ended_cannot_be_cancelled(bot, channel):
    job = make_job(bot, channel)
    run_lanes()
    job.refresh_from_db()

    with pytest.raises(Conflict, match="is succeeded"):
        jobs.cancel(job)


def test_a_job_that_was_taken_a_moment_ago_cannot_be_cancelled(bot, channel):
    job = make_job(bot, channel)
    Job.objects.update(state=WorkState.RUNNING)  # the caller's copy still says queued

    with pytest.raises(Conflict, match="is running"):
        jobs.cancel(job)


def test_a_failed_job_can_be_tried_again(bot, channel):
    faulty.script(faulty.before(Rejected("not today")))
    job = make_job(bot, channel)
    run_lanes()
    job.refresh_from_db()

    jobs.retry(job)
    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.attempts, job.error_code) == (WorkState.SUCCEEDED, 2, "")


def test_a_job_under_way_cannot_be_retried(bot, channel):
    with pytest.raises(Conflict):
        jobs.retry(make_job(bot, channel))


@pytest.fixture
def uncertain():
    bot = make_bot(space=make_space("vague", platform="forgetful"))
    channel = make_channel(bot)
    faulty.script(faulty.after(OutcomeUnknown("silence")))
    job = make_job(bot, channel, "perhaps")
    run_lanes()
    job.refresh_from_db()
    return job


def test_an_uncertain_job_that_a_person_saw_is_done(uncertain):
    jobs.resolve_sent(uncertain)
    run_lanes()

    uncertain.refresh_from_db()
    assert uncertain.state == WorkState.SUCCEEDED
    assert len([c for c in faulty.calls if c.operation == "post_message"]) == 1


def test_an_uncertain_job_that_a_person_did_not_see_is_sent_again(uncertain):
    jobs.resolve_not_sent(uncertain)
    run_lanes()

    uncertain.refresh_from_db()
    assert (uncertain.state, uncertain.attempts) == (WorkState.SUCCEEDED, 2)


def test_an_uncertain_job_is_resolved_and_not_retried(uncertain):
    with pytest.raises(Conflict, match="resolve it"):
        jobs.retry(uncertain)


def test_only_uncertain_jobs_are_resolved(bot, channel):
    with pytest.raises(Conflict, match="not uncertain"):
        jobs.resolve_sent(make_job(bot, channel))


def test_an_overdue_job_expires_also_behind_one_that_waits(bot, channel):
    faulty.script(faulty.before(Unavailable("down")))
    make_job(bot, channel, "stuck")
    soon = timezone.now() + timedelta(seconds=60)
    behind = make_job(bot, channel, "behind", expires_at=soon)
    run_lanes()
    Job.objects.filter(pk=behind.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert jobs.expire_overdue() == 1

    behind.refresh_from_db()
    assert behind.state == WorkState.EXPIRED
    assert bot.events.filter(kind="job.finished", data__state="expired").exists()
    let_time_pass()
    run_lanes()
    texts = [c.args[0].text for c in faulty.calls if c.operation == "post_message"]
    assert texts == ["stuck", "stuck"]


def test_channels_are_found_by_our_id_the_platforms_id_and_a_name(bot, channel):
    names = (str(channel.pk), channel.remote_id, "lobby", "#lobby", "~lobby")

    assert {targets.channel(bot, name) for name in names} == {channel}


def test_an_unknown_channel_and_an_ambiguous_one_are_told_apart(bot, channel):
    make_channel(bot, "", title="lobby", kind=ChannelKind.GROUP, people=["alice", "bob"])

    with pytest.raises(Missing) as unknown:
        targets.channel(bot, "cellar")
    with pytest.raises(Missing) as ambiguous:
        targets.channel(bot, "lobby")

    assert (unknown.value.code, ambiguous.value.code) == ("not_found", "channel_ambiguous")


def test_channels_of_other_bots_are_unknown(bot, channel):
    other = make_bot("other", space=bot.space)

    with pytest.raises(Missing):
        targets.channel(other, "lobby")


def test_a_person_is_known_by_name_mail_and_id(bot):
    alice = make_person("alice", space=bot.space).connect().person
    make_channel(bot, "lobby", people=["alice"])

    found = {targets.person(bot, text).id for text in ("alice", "@alice", alice.id)}

    assert found == {alice.id}


def test_each_end_of_a_job_is_told(bot, channel):
    job = make_job(bot, channel)

    jobs.cancel(job)
    jobs.retry(job)
    jobs.cancel(job)

    assert bot.events.filter(kind="job.finished").count() == 2
