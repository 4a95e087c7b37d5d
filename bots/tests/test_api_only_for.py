"""Messages that one person in a channel sees, and only for now."""

from __future__ import annotations

import base64

import pytest

from bots.models import Job, Message, WorkState
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_client,
    make_job,
    make_space,
    run_lanes,
)
from spaces.models import LocalEvent, LocalMessage
from spaces.platforms.errors import OutcomeUnknown
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

MESSAGES = "/api/v1/bots/echo/messages/"


@pytest.fixture
def bot():
    return make_bot("echo", space=make_space(platform="faulty"))


@pytest.fixture
def lobby(bot):
    return make_channel(bot, "lobby", people=["alice"])


@pytest.fixture
def alice(lobby):
    return make_client()


def post(client, **body):
    return client.post(MESSAGES, body, format="json")


def shown():
    """The texts that were shown to one person, and to whom."""
    events = LocalEvent.objects.exclude(only_for=None).order_by("seq")
    return [(event.payload["text"], event.only_for.username) for event in events]


@pytest.mark.parametrize("name", ["alice", "@alice"])
def test_it_is_shown_to_that_person_and_stored_nowhere(alice, name):
    accepted = post(alice, channel="lobby", text="psst", only_for=name)
    run_lanes()

    job = alice.get(accepted["Location"]).json()
    assert (job["state"], job["result"]["parts"]) == ("succeeded", 1)
    assert shown() == [("psst", "alice")]
    assert not Message.objects.exists()
    assert not LocalMessage.objects.exists()
    assert alice.get(MESSAGES).json()["results"] == []


def test_a_form_says_it_the_same_way(alice):
    form = {"channel": "lobby", "text": "psst", "only_for": "alice"}

    assert alice.post(MESSAGES, form, format="multipart").status_code == 202
    run_lanes()

    assert shown() == [("psst", "alice")]


def test_somebody_who_is_not_there_makes_the_job_fail(alice):
    accepted = post(alice, channel="lobby", text="psst", only_for="nobody")
    run_lanes()

    job = alice.get(accepted["Location"]).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "remote_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"person": "alice", "text": "psst", "only_for": "alice"},
        {"text": "psst", "only_for": "alice"},
        {
            "channel": "lobby",
            "only_for": "alice",
            "files": [{"name": "a", "content": base64.b64encode(b"a").decode()}],
        },
        {"channel": "lobby", "text": "psst", "only_for": ""},
        {"channel": "lobby", "text": "psst", "only_for": 7},
    ],
)
def test_it_needs_a_channel_and_takes_no_files(alice, body):
    refused = post(alice, **body)

    assert refused.status_code == 400
    assert {"only_for", "non_field_errors"} & set(refused.json()["errors"])
    assert not Job.objects.exists()


def test_a_platform_that_cannot_say_so_refuses_at_once():
    make_channel(make_bot("plain", space=make_space(platform="plain")), "lobby", people=["alice"])

    refused = make_client().post(
        "/api/v1/bots/plain/messages/",
        {"channel": "lobby", "text": "psst", "only_for": "alice"},
        format="json",
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "unsupported")
    assert "ephemeral" in refused.json()["detail"]


def test_a_lost_answer_leaves_it_to_a_person_and_shows_it_once(bot, lobby):
    faulty.script(faulty.after(OutcomeUnknown("sent, then silence")))
    who = {"id": "", "username": "alice", "email": ""}
    job = make_job(bot, lobby, payload={"text": "psst", "only_for": who})

    run_lanes()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (WorkState.UNCERTAIN, "outcome_unknown")
    assert shown() == [("psst", "alice")]


def test_one_that_a_dead_worker_left_is_not_shown_again(bot, lobby):
    who = {"id": "", "username": "alice", "email": ""}
    job = make_job(bot, lobby, payload={"text": "psst", "only_for": who})
    Job.objects.update(state=WorkState.RUNNING)

    run_lanes()

    job.refresh_from_db()
    assert job.state == WorkState.UNCERTAIN
    assert shown() == []


def test_for_charlie_there_is_nobody_to_whisper_to(lobby):
    charlie = make_client(bots=[make_bot("other")])

    assert post(charlie, channel="lobby", text="psst", only_for="alice").status_code == 404
