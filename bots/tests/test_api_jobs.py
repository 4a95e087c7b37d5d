"""Jobs over REST: following and steering them, asking once, and waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from rest_framework.test import APIClient

from bots.api.preferences import seconds_to_wait
from bots.models import IdempotencyKey, Job, WorkState
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_client,
    make_job,
    make_token,
    make_user,
    run_lanes,
)

pytestmark = pytest.mark.django_db

JOBS = "/api/v1/jobs/"
MESSAGES = "/api/v1/bots/echo/messages/"
HELLO = {"channel": "lobby", "text": "hi"}


@pytest.fixture
def bot():
    return make_bot("echo")


@pytest.fixture
def lobby(bot):
    return make_channel(bot, "lobby")


@pytest.fixture
def alice(lobby):
    return make_client()


def post(client, path=MESSAGES, body=HELLO, **headers):
    return client.post(path, body, format="json", headers=headers)


def as_state(job, state):
    """The job as if a worker had left it so."""
    Job.objects.filter(pk=job.pk).update(
        state=state, error_code="outcome_unknown", error_detail="Silence.", next_step="Look."
    )
    return f"{JOBS}{job.pk}/"


# Following --------------------------------------------------------------------------------------


def test_a_job_tells_what_became_of_it(bot, lobby, alice):
    job = make_job(bot, lobby)
    run_lanes()

    told = alice.get(f"{JOBS}{job.pk}/").json()
    (attempt,) = alice.get(f"{JOBS}{job.pk}/attempts/").json()["results"]

    assert told["bot"] == "echo"
    assert told["kind"] == "message.post"
    assert told["channel"] == str(lobby.pk)
    assert told["attempts"] == 1
    assert told["error"] is None
    assert told["result"]["messages"][0]["text"] == "hello"
    assert told["finished_at"].endswith("Z")
    assert attempt["outcome"] == "succeeded"
    assert attempt["request"]["operation"] == "post_message"


def test_a_failed_job_tells_why_and_what_to_do(bot, lobby, alice):
    job = make_job(bot, lobby, payload={"text": "x", "thread": "nowhere"})
    run_lanes()

    told = alice.get(f"{JOBS}{job.pk}/").json()

    assert told["state"] == "failed"
    assert told["error"]["code"] == "remote_not_found"
    assert told["error"]["next_step"]


def test_jobs_are_filtered(bot, lobby, alice):
    other = make_bot("other")
    mine, theirs = make_job(bot, lobby), make_job(other, make_channel(other, "den"))
    run_lanes()
    queued = make_job(bot, lobby)

    def ids(**query):
        return [int(j["id"]) for j in alice.get(JOBS, query).json()["results"]]

    assert ids() == [queued.pk, theirs.pk, mine.pk]
    assert ids(bot="other") == [theirs.pk]
    assert ids(bot="echo", state="succeeded") == [mine.pk]
    assert ids(kind="bot.sync") == []
    assert ids(channel=str(lobby.pk)) == [queued.pk, mine.pk]
    assert ids(bot="echo", channel="lobby") == [queued.pk, mine.pk]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "lost"},
        {"kind": "coffee"},
        {"bot": "nobody"},
        {"channel": "lobby"},
        {"bot": "\x00"},
        {"cursor": "cD05OTk5OTk5OTk5OTk5OTk5OTk5OXg="},
    ],
)
def test_a_filter_that_makes_no_sense_is_a_400_that_names_it(alice, query):
    refused = alice.get(JOBS, query)

    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == list(query)


@pytest.mark.parametrize("job", ["0", "999", "abc", "9" * 30, "-1", "%00", "½"])
def test_an_unknown_job_is_a_404(alice, job):
    for path in (f"{JOBS}{job}/", f"{JOBS}{job}/attempts/"):
        assert alice.get(path).status_code == 404


@pytest.mark.parametrize("rows", [1, 50])
def test_the_list_costs_the_same_queries_however_long(
    bot, lobby, alice, rows, django_assert_num_queries
):
    for _ in range(rows):
        make_job(bot, lobby)
    alice.get(JOBS)

    with django_assert_num_queries(2):  # token, jobs with their bots
        assert len(alice.get(JOBS).json()["results"]) == rows


# Steering ---------------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_and_queued_again(bot, lobby, alice):
    path = f"{JOBS}{make_job(bot, lobby).pk}/"

    assert post(alice, f"{path}cancel/", {}).json()["state"] == "cancelled"
    assert post(alice, f"{path}retry/", {}).json()["state"] == "queued"
    run_lanes()
    assert alice.get(path).json()["state"] == "succeeded"


@pytest.mark.parametrize(("said", "state"), [("sent", "succeeded"), ("not_sent", "queued")])
def test_an_uncertain_job_is_resolved(bot, lobby, alice, said, state):
    path = as_state(make_job(bot, lobby), WorkState.UNCERTAIN)

    resolved = post(alice, f"{path}resolve/", {"as": said})

    assert resolved.status_code == 200
    assert resolved.json()["state"] == state


@pytest.mark.parametrize(
    ("state", "move"),
    [
        (WorkState.RUNNING, "cancel"),
        (WorkState.SUCCEEDED, "cancel"),
        (WorkState.SUCCEEDED, "retry"),
        (WorkState.QUEUED, "retry"),
        (WorkState.UNCERTAIN, "retry"),
        (WorkState.QUEUED, "resolve"),
    ],
)
def test_a_move_that_is_not_possible_is_a_409_naming_the_state(bot, lobby, alice, state, move):
    path = as_state(make_job(bot, lobby), state)

    refused = post(alice, f"{path}{move}/", {"as": "sent"})

    assert refused.status_code == 409
    assert refused.json()["code"] == "conflict"
    assert state.value in refused.json()["detail"]


def test_a_resolution_is_sent_or_not_sent(bot, lobby, alice):
    path = as_state(make_job(bot, lobby), WorkState.UNCERTAIN)

    assert post(alice, f"{path}resolve/", {"as": "maybe"}).status_code == 400


def test_bob_watches_jobs_and_charlie_has_none(bot, lobby):
    job = make_job(bot, lobby)
    bob, charlie = make_client(scopes=["read"]), make_client(bots=[make_bot("other")])
    doors = [f"{JOBS}{job.pk}/{move}/" for move in ("cancel", "retry", "resolve")]

    assert bob.get(f"{JOBS}{job.pk}/").status_code == 200
    assert {post(bob, door, {"as": "sent"}).status_code for door in doors} == {403}
    assert {post(charlie, door, {"as": "sent"}).status_code for door in doors} == {404}
    assert charlie.get(f"{JOBS}{job.pk}/").status_code == 404
    assert charlie.get(f"{JOBS}{job.pk}/attempts/").status_code == 404
    assert charlie.get(JOBS).json()["results"] == []
    assert charlie.get(JOBS, {"bot": "echo"}).status_code == 400
    assert charlie.get(JOBS, {"channel": str(lobby.pk)}).json()["results"] == []


# Asking once ------------------------------------------------------------------------------------


def test_the_same_request_twice_is_one_job(alice):
    first, again = (post(alice, **{"Idempotency-Key": "k-1"}) for _ in range(2))

    assert "Idempotency-Replayed" not in first
    assert again["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again["Location"] == first["Location"]
    assert Job.objects.count() == 1


def test_a_repeat_gets_the_first_answer_even_when_it_would_be_refused_now(bot, lobby, alice):
    first = post(alice, **{"Idempotency-Key": "k"})
    lobby.participants.all().delete()

    again = post(alice, **{"Idempotency-Key": "k"})

    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("path", "body"), [(MESSAGES, HELLO | {"text": "other"}), (f"{MESSAGES}bulk/", HELLO)]
)
def test_a_key_belongs_to_one_request(alice, path, body):
    post(alice, **{"Idempotency-Key": "k"})

    refused = post(alice, path, body, **{"Idempotency-Key": "k"})

    assert refused.status_code == 422
    assert refused.json()["code"] == "idempotency_key_reused"


def test_a_key_belongs_to_one_token(bot, alice):
    post(alice, **{"Idempotency-Key": "k"})

    assert "Idempotency-Replayed" not in post(make_client(), **{"Idempotency-Key": "k"})


def test_a_refused_request_leaves_no_key(alice):
    assert post(alice, body={}, **{"Idempotency-Key": "k"}).status_code == 400
    assert not IdempotencyKey.objects.exists()
    assert post(alice, **{"Idempotency-Key": "k"}).status_code == 202


@pytest.mark.parametrize("key", ["", "two words", "ü", "x" * 256])
def test_a_key_that_is_none_is_refused(alice, key):
    refused = post(alice, **{"Idempotency-Key": key})

    assert refused.status_code == 400
    assert "Idempotency-Key" in refused.json()["errors"]


def test_a_bulk_is_repeated_as_a_whole(alice):
    body = {"messages": [HELLO, {"text": "whereto?"}, HELLO]}

    first, again = (
        post(alice, f"{MESSAGES}bulk/", body, **{"Idempotency-Key": "k"}) for _ in range(2)
    )

    assert again["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert Job.objects.count() == 2


def test_a_form_is_told_from_another_by_what_is_in_its_files(alice):
    def upload(content):
        form = {"channel": "lobby", "files": [SimpleUploadedFile("a.txt", content)]}
        return alice.post(
            MESSAGES, form, format="multipart", headers={"Idempotency-Key": "k"}
        ).status_code

    assert [upload(b"one"), upload(b"one"), upload(b"two")] == [202, 202, 422]
    assert Job.objects.count() == 1


def test_steering_is_repeated_too(bot, lobby, alice):
    path = f"{JOBS}{make_job(bot, lobby).pk}/cancel/"

    first, again = (post(alice, path, {}, **{"Idempotency-Key": "k"}) for _ in range(2))

    assert (first.status_code, again.status_code) == (200, 200)
    assert again["Idempotency-Replayed"] == "true"


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_with_one_key_are_one_job():
    make_channel(make_bot("echo"), "lobby")
    token = make_token()
    together = threading.Barrier(20)

    def send(_):
        client = make_client_with(token)
        together.wait(30)
        try:
            return post(client, **{"Idempotency-Key": "k"})
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer for answer in answers) == 1


def make_client_with(token):
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


# Waiting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5),
        ("respond-async, wait=10", 10),
        ('Wait="7"; x=y', 7),
        ("wait = 3", 3),
        ("wait=3, wait=4", 3),
        ("wait=600", 60),
        ("wait=99999999999999999999", 60),
        ("wait", 0),
        ("wait=soon", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("return=minimal", 0),
        (",;=,", 0),
        ("", 0),
    ],
)
def test_preferences_are_read_with_patience(header, seconds):
    assert seconds_to_wait(header) == seconds


@pytest.mark.django_db(transaction=True)
def test_who_waits_gets_the_finished_job():
    make_channel(make_bot("echo"), "lobby")
    client = make_client()
    over = threading.Event()

    def work():
        while not over.wait(0.01):
            run_lanes()
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        answer = post(client, Prefer="wait=30")
    finally:
        over.set()
        worker.join()

    assert answer.status_code == 200
    assert answer["Preference-Applied"] == "wait=30"
    assert answer.json()["state"] == "succeeded"


def test_who_waited_in_vain_gets_the_open_job(alice):
    answer = post(alice, Prefer="wait=1")

    assert answer.status_code == 202
    assert answer["Preference-Applied"] == "wait=1"
    assert answer.json()["state"] == "queued"


def test_a_repeat_may_wait_for_a_job_that_has_ended(alice):
    post(alice, **{"Idempotency-Key": "k"})
    run_lanes()

    again = post(alice, Prefer="wait=9", **{"Idempotency-Key": "k"})

    assert again.status_code == 200
    assert again.json()["state"] == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_only_half_of_the_threads_wait(settings):
    make_channel(make_bot("echo"), "lobby")
    token = make_token()
    together = threading.Barrier(6)

    def send(_):
        client = make_client_with(token)
        together.wait(30)
        try:
            return post(client, Prefer="wait=2")
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))

    assert {answer.status_code for answer in answers} == {202}
    assert sum("Preference-Applied" in answer for answer in answers) == 4  # of 8 threads


def test_people_act_with_their_session(bot, lobby, client):
    client.force_login(make_user("root", is_superuser=True))

    job = post_as_person(client)

    assert job.status_code == 202
    assert Job.objects.get().requested_by == "root"


def post_as_person(client):
    return client.post(MESSAGES, HELLO, content_type="application/json")
