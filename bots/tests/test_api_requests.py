"""Requests in a platform's own words: who may, what comes back, and what never does."""

from __future__ import annotations

import pytest

from bots.models import Bot, Event, Job, WorkState
from bots.tests import cast
from bots.tests.builders import (
    SECRET,
    let_time_pass,
    make_bot,
    make_client,
    make_space,
    run_lanes,
)
from spaces.platforms.errors import OutcomeUnknown, Unavailable
from spaces.platforms.messages import CustomResponse
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

REQUEST = "/api/v1/bots/echo/request/"


@pytest.fixture
def bot():
    return make_bot("echo", space=make_space(platform="faulty"), permissions=["custom"])


@pytest.fixture
def alice(bot):
    return make_client()


def ask(client, **body):
    return client.post(REQUEST, {"method": "GET", "path": "/me"} | body, format="json")


def done(client, answer):
    assert answer.status_code == 202, answer.content
    run_lanes()
    return client.get(answer["Location"]).json()


def answering(body, status=200):
    """The platform's next answer."""
    faulty.script(lambda do: CustomResponse(status=status, body=body), operation="custom_request")


def asked():
    return [call.args[0] for call in faulty.calls if call.operation == "custom_request"]


def test_the_platform_answers(alice):
    job = done(alice, ask(alice))

    assert (job["kind"], job["state"]) == ("platform.request", "succeeded")
    assert job["result"]["status"] == 200
    assert job["result"]["body"]["username"] == "echo"


def test_all_that_was_given_reaches_the_platform(alice):
    answering({})

    done(alice, ask(alice, method="PUT", path="/a/b", query={"q": "1"}, body=[{"deep": None}]))

    (request,) = asked()
    assert (request.method, request.path) == ("PUT", "/a/b")
    assert (dict(request.query), request.body) == ({"q": "1"}, [{"deep": None}])


def test_a_refusal_fails_the_job_and_keeps_what_was_said(alice):
    answering({"message": "no such thing"}, status=404)

    job = done(alice, ask(alice))

    assert (job["state"], job["error"]["code"]) == ("failed", "platform_refused")
    assert job["result"] == {"status": 404, "body": {"message": "no such thing"}}


def test_no_secret_is_kept_neither_a_known_nor_a_new_one(alice):
    answering({"id": "1", "token": "made just now", "note": f"you are {SECRET}"})

    job = done(alice, ask(alice, method="POST", path="/tokens"))

    assert job["result"]["body"] == {
        "id": "1",
        "token": "[removed]",
        "note": "you are [removed]",
    }
    kept = str(list(Job.objects.values())) + str(list(Event.objects.values()))
    attempts = str(alice.get(f"/api/v1/jobs/{job['id']}/attempts/").json())
    assert "made just now" not in kept + attempts
    assert SECRET not in kept + attempts


def test_a_long_text_is_kept_whole_and_a_huge_one_left_out(alice):
    answering({"text": "x" * 10_000})
    answering({"text": "x" * 300_000})

    long, huge = done(alice, ask(alice)), done(alice, ask(alice))

    assert len(long["result"]["body"]["text"]) == 10_000
    assert (huge["state"], huge["result"]["body"]) == ("succeeded", None)
    assert "more than 262144" in huge["result"]["left_out"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_is_repeated_when_the_answer_got_lost(alice, method):
    faulty.script(faulty.before(OutcomeUnknown("silence")), operation="custom_request")

    job = done(alice, ask(alice, method=method))

    assert (job["state"], len(asked())) == ("succeeded", 2)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_whose_answer_got_lost_is_left_to_a_person(alice, method):
    faulty.script(faulty.after(OutcomeUnknown("silence")), operation="custom_request")

    job = done(alice, ask(alice, method=method))

    assert (job["state"], len(asked())) == ("uncertain", 1)


def test_a_change_that_nobody_accepted_is_tried_again(alice):
    faulty.script(faulty.before(Unavailable("down")), operation="custom_request")
    accepted = ask(alice, method="DELETE")

    run_lanes()
    let_time_pass()
    job = done(alice, accepted)

    assert (job["error"]["code"], len(asked())) == ("platform_refused", 2)  # local says 405


def test_a_worker_that_dies_leaves_one_request_in_doubt_and_not_those_behind_it(alice, bot):
    first, second = (ask(alice, method="POST", path="/x").json()["id"] for _ in range(2))
    seen: list[str] = []

    def look(do):
        seen.extend(Job.objects.order_by("pk").values_list("state", flat=True))
        return do()

    faulty.script(look, operation="custom_request")
    run_lanes()

    assert seen == [WorkState.RUNNING, WorkState.QUEUED]
    assert {Job.objects.get(pk=pk).attempts for pk in (first, second)} == {1}


def test_one_that_a_dead_worker_left_is_not_made_again(alice):
    accepted = ask(alice, method="POST")
    Job.objects.update(state=WorkState.RUNNING)

    job = done(alice, accepted)

    assert (job["state"], asked()) == ("uncertain", [])


def test_a_fault_of_the_platforms_code_leaves_a_change_in_doubt(alice):
    faulty.script(faulty.after(ZeroDivisionError("oops")), operation="custom_request")

    assert done(alice, ask(alice, method="POST"))["state"] == "uncertain"


def test_a_new_bot_may_not(alice):
    newcomer = make_bot("newcomer")
    path = "/api/v1/bots/newcomer/request/"

    refused = alice.post(path, {"method": "GET", "path": "/me"}, format="json")

    assert "custom" not in newcomer.permissions
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")


def test_a_platform_without_its_own_words_says_so(alice):
    make_bot("plain", space=make_space("plain", platform="plain"), permissions=["custom"])

    refused = alice.post(
        "/api/v1/bots/plain/request/", {"method": "GET", "path": "/me"}, format="json"
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "unsupported")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"method": "get"}, "method"),
        ({"method": "TRACE"}, "method"),
        ({"path": "me"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "//example.com/x"}, "path"),
        ({"path": "/a/../b"}, "path"),
        ({"path": "/a/%2e%2e/b"}, "path"),
        ({"path": "/a?b=c"}, "path"),
        ({"path": "/a b"}, "path"),
        ({"path": "/a\\b"}, "path"),
        ({"query": {"a": 1}}, "query.a"),
        ({"query": "a=b"}, "query"),
    ],
)
def test_a_bad_request_is_a_400_that_names_the_field(alice, changes, field):
    refused = ask(alice, **changes)

    assert refused.status_code == 400, refused.content
    assert field in refused.json()["errors"]
    assert not Job.objects.exists()


def test_a_repeated_key_asks_once(alice):
    answers = [
        alice.post(
            REQUEST,
            {"method": "POST", "path": "/x"},
            format="json",
            headers={"Idempotency-Key": "k"},
        )
        for _ in range(2)
    ]
    run_lanes()

    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(asked()) == 1


def test_bob_asks_nothing_and_charlie_knows_no_such_bot(bot):
    bob, charlie = make_client(scopes=["read"]), make_client(bots=[make_bot("other")])

    assert (ask(bob).status_code, ask(charlie).status_code) == (403, 404)
    assert not Job.objects.exists()


def test_the_admin_offers_the_permission_and_does_not_tick_it():
    new = make_bot("new")

    page = cast.root().get(f"/admin/bots/bot/{new.pk}/change/")

    form = page.context["adminform"].form
    assert "custom" in dict(form.fields["permissions"].choices)
    assert "custom" not in form.get_initial_for_field(form.fields["permissions"], "permissions")


def test_the_admin_shows_a_request_without_what_is_secret_in_it(bot, alice):
    answering({})
    job = done(
        alice, ask(alice, method="POST", path="/login", body={"password": "open sesame", "a": "b"})
    )

    page = cast.root().get(f"/admin/bots/job/{job['id']}/change/").content.decode()

    assert "Custom Request" in page
    assert "/login" in page
    assert "open sesame" not in page
    assert Bot.objects.get(pk=bot.pk).permissions == ["custom"]
