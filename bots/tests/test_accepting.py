"""Accepting messages fast: what is read seldom, told shortly and stored at once is still right."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone as django_timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError
from rest_framework.serializers import ModelSerializer

from bots import lanes
from bots.api import sending
from bots.api.serializers import JobSerializer
from bots.models import ApiToken, Bot, Job, JobKind, Lane, LaneKind, Permission, WorkState
from bots.tests.builders import make_bot, make_channel, make_client, make_job
from spaces.models import Channel

pytestmark = pytest.mark.django_db

PATIENCE_SECONDS = 60


@pytest.fixture
def bot():
    return make_bot(f"echo-{uuid4().hex[:8]}")  # what is remembered of it is of no other test


@pytest.fixture
def lobby(bot):
    return make_channel(bot, f"lobby-{uuid4().hex[:8]}")


@pytest.fixture
def alice(lobby):
    return make_client()


def post(client, bot, channel):
    path = f"/api/v1/bots/{bot.slug}/messages/"
    return client.post(path, {"channel": channel.name, "text": "hi"}, format="json")


def refusal_of(send):
    """The first answer that is not 202."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := send()).status_code == 202:
        assert time.monotonic() < deadline, "it is accepted for ever"
    return answer


# What is believed for a moment ------------------------------------------------------------------


def test_who_sends_again_within_a_moment_costs_no_lookups(
    bot, lobby, alice, settings, django_assert_max_num_queries
):
    settings.BOTADMIN_RECENT_SECONDS = 10
    post(alice, bot, lobby)

    with django_assert_max_num_queries(2):  # lane, job
        answer = post(alice, bot, lobby)

    assert answer.status_code == 202


def test_a_revoked_token_works_no_longer_than_for_that_moment(bot, lobby, alice, settings):
    settings.BOTADMIN_RECENT_SECONDS = 0.2
    post(alice, bot, lobby)

    ApiToken.objects.all().delete()

    assert refusal_of(lambda: post(alice, bot, lobby)).status_code == 401


def test_a_token_that_expires_is_refused_at_that_time(bot, lobby, settings):
    settings.BOTADMIN_RECENT_SECONDS = 10
    client = make_client()
    soon = django_timezone.now() + timedelta(seconds=0.2)
    ApiToken.objects.update(expires_at=soon)

    assert refusal_of(lambda: post(client, bot, lobby)).status_code == 401


def test_a_permission_that_was_taken_away_lasts_no_longer_than_that_moment(
    bot, lobby, alice, settings
):
    settings.BOTADMIN_RECENT_SECONDS = 0.2
    post(alice, bot, lobby)

    Bot.objects.filter(pk=bot.pk).update(permissions=[Permission.REACT])

    answer = refusal_of(lambda: post(alice, bot, lobby))
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


def test_a_channel_that_was_renamed_is_found_by_both_names_no_longer_than_that_moment(
    bot, lobby, alice, settings
):
    settings.BOTADMIN_RECENT_SECONDS = 0.2
    post(alice, bot, lobby)

    Channel.objects.filter(pk=lobby.pk).update(name="elsewhere", title="")

    assert refusal_of(lambda: post(alice, bot, lobby)).status_code == 404
    lobby.refresh_from_db()
    assert post(alice, bot, lobby).status_code == 202


def test_a_bot_that_comes_to_be_is_there_at_once(bot, lobby, alice, settings):
    settings.BOTADMIN_RECENT_SECONDS = 10
    new = Bot(slug=f"{bot.slug}-new")
    assert post(alice, new, lobby).status_code == 404

    new = make_bot(new.slug, space=bot.space)
    channel = make_channel(new, f"{lobby.name}-new")

    assert post(alice, new, channel).status_code == 202


@pytest.mark.django_db(transaction=True)
def test_a_channel_that_was_removed_a_moment_ago_is_a_conflict(bot, lobby, alice, settings):
    settings.BOTADMIN_RECENT_SECONDS = 10
    post(alice, bot, lobby)
    Job.objects.all().delete()

    Channel.objects.filter(pk=lobby.pk).delete()
    answer = post(alice, bot, lobby)

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert not Job.objects.exists()


# Reading and telling ----------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    ["x" * 300, "x" * 301, " x ", " ", "a\x00b"]
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "channel": texts | st.integers() | st.none(),
        "text": texts | st.just("x" * (sending.LONGEST_TEXT + 1)) | st.lists(texts),
        "person": texts,
        "priority": st.sampled_from(["bulk", "interactive", "none"]),
    },
)


@given(messages | texts | st.none() | st.lists(texts))
@settings(deadline=None, database=None)
def test_plain_messages_are_read_as_all_others(item):
    try:
        expected = sending.DraftSerializer().run_validation(item)
    except ValidationError as error:
        expected = error.detail

    (draft,) = sending.drafts([item])

    assert (draft.detail if isinstance(draft, ValidationError) else draft) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"state": WorkState.FAILED, "error_code": "rejected", "error_detail": "No.", "attempts": 2},
        {"not_before": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))},
        {"started_at": datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "result": {"a": [1]}},
        {"channel": None, "priority": 1, "expires_at": datetime(2030, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_job_is_told_as_its_fields_are_documented(bot, lobby, changes):
    job = make_job(bot, lobby)
    for name, value in changes.items():
        setattr(job, name, value)

    serializer = JobSerializer()

    assert serializer.to_representation(job) == ModelSerializer.to_representation(serializer, job)
    assert JobSerializer(Job.objects.get(pk=job.pk)).data["id"] == str(job.pk)


# Storing ----------------------------------------------------------------------------------------


def entry(bot, key, **changes):
    return lanes.Entry(key=key, work=Job(bot=bot, kind=JobKind.POST, **changes))


def test_work_for_several_lanes_is_numbered_in_the_order_it_was_given(bot):
    entries = [entry(bot, f"channel:{n % 3}", payload={"n": n}) for n in range(9)]

    lanes.put(LaneKind.JOBS, bot, entries)

    stored = [job.payload["n"] for job in Job.objects.filter(bot=bot).order_by("pk")]
    assert stored == list(range(9))
    assert [e.work.pk for e in entries] == sorted(e.work.pk for e in entries)
    assert len({e.work.lane_id for e in entries}) == 3


def test_what_is_stored_is_what_was_given(bot, lobby):
    moment = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    given = entry(bot, "channel:1", channel=lobby, not_before=moment, payload={"text": "ä\n\\'%s"})

    lanes.put(LaneKind.JOBS, bot, [given])

    stored = Job.objects.get(pk=given.work.pk)
    fields = [field.attname for field in Job._meta.concrete_fields]
    assert {f: getattr(stored, f) for f in fields} == {f: getattr(given.work, f) for f in fields}
    assert stored.not_before == moment


def test_work_for_later_makes_the_lane_due_later_and_never_puts_off_what_is_due(bot):
    later = django_timezone.now() + timedelta(hours=1)

    lanes.put(LaneKind.JOBS, bot, [entry(bot, "a", not_before=later)])
    assert Lane.objects.get(key="a").due_at == later

    lanes.put(LaneKind.JOBS, bot, [entry(bot, "a")])
    lanes.put(LaneKind.JOBS, bot, [entry(bot, "a", not_before=later)])
    lane = Lane.objects.get(key="a")
    assert lane.due_at < later
    assert lane.wakeups == 3


def test_a_transaction_that_fails_stores_neither_lane_nor_work(bot):
    with transaction.atomic():
        lanes.put(LaneKind.JOBS, bot, [entry(bot, "a")])
        transaction.set_rollback(True)

    assert not Lane.objects.filter(key="a").exists()
    assert not Job.objects.filter(bot=bot).exists()
