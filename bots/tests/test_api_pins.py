"""Pinned messages over REST, on the local platform for real."""

from __future__ import annotations

import pytest

from bots.models import Job, Message
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_client,
    make_job,
    make_person,
    make_space,
    run_lanes,
)
from spaces.platforms.errors import RateLimited, Unavailable
from spaces.platforms.messages import Outgoing
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

BOT = "/api/v1/bots/echo/"
PINNED = f"{BOT}channels/lobby/pinned/"


@pytest.fixture
def bot():
    return make_bot("echo", space=make_space(platform="faulty"))


@pytest.fixture
def lobby(bot):
    return make_channel(bot, "lobby", people=["alice"])


@pytest.fixture
def alice(lobby):
    return make_client()


def posted(bot, lobby, *texts):
    for text in texts:
        make_job(bot, lobby, text)
    run_lanes()
    return [f"{BOT}messages/{bot.messages.get(text=text).pk}/pin/" for text in texts]


def done(client, answer):
    assert answer.status_code == 202, answer.content
    run_lanes()
    return client.get(answer["Location"]).json()


def pinned(client):
    answer = client.get(PINNED)
    assert answer.status_code == 200, answer.content
    return [message["text"] for message in answer.json()["results"]]


def test_a_message_is_pinned_and_unpinned(bot, lobby, alice):
    first, second = posted(bot, lobby, "first", "second")

    jobs = [done(alice, alice.post(path)) for path in (first, second, second)]
    both = pinned(alice)
    jobs += [done(alice, alice.delete(path)) for path in (first, first)]

    assert [(job["kind"], job["state"]) for job in jobs] == [
        *[("message.pin", "succeeded")] * 3,
        *[("message.unpin", "succeeded")] * 2,
    ]
    assert both == ["second", "first"]
    assert pinned(alice) == ["second"]


def test_pinned_messages_look_as_all_others(bot, lobby, alice):
    (path,) = posted(bot, lobby, "read this")
    done(alice, alice.post(path))

    answer = alice.get(PINNED).json()

    assert answer["results"] == alice.get(f"{BOT}messages/").json()["results"]
    assert (answer["next"], answer["previous"]) == (None, None)


def test_a_pinned_message_that_the_bot_never_saw_gets_an_id_of_ours(bot, lobby, alice):
    person = make_person("alice")
    sent = person.post_message(Outgoing(key="k", channel=lobby.remote_id, text="old rules"))
    person.pin_message(lobby.remote_id, sent.message_id)
    assert not Message.objects.exists()

    (told,) = alice.get(PINNED).json()["results"]

    assert (told["text"], told["sender"]["username"]) == ("old rules", "alice")
    assert done(alice, alice.delete(f"{BOT}messages/{told['id']}/pin/"))["state"] == "succeeded"
    assert pinned(alice) == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unavailable("down"), 503, "platform_unavailable"),
        (RateLimited("slowly", retry_after=3), 429, "rate_limited"),
    ],
)
def test_a_platform_that_cannot_answer_is_told_as_such(alice, error, status, code):
    faulty.script(faulty.before(error), operation="list_pinned")

    answer = alice.get(PINNED)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_secret_in_the_words_of_a_platform_is_not_repeated(alice):
    faulty.script(faulty.before(Unavailable(f"no {SECRET} here")), operation="list_pinned")

    answer = alice.get(PINNED)

    assert answer.status_code == 503
    assert SECRET not in answer.content.decode()


def test_a_platform_without_pins_says_so():
    plain = make_bot("plain", space=make_space(platform="plain"))
    lobby = make_channel(plain, "lobby")
    make_job(plain, lobby, "hello")
    run_lanes()
    client = make_client()
    path = "/api/v1/bots/plain/"

    refused = [
        client.get(f"{path}channels/lobby/pinned/"),
        client.post(f"{path}messages/{plain.messages.get().pk}/pin/"),
    ]

    assert [(r.status_code, r.json()["code"]) for r in refused] == [(422, "unsupported")] * 2


def test_a_bot_without_the_permission_does_not_pin(bot, lobby, alice):
    (path,) = posted(bot, lobby, "read this")
    bot.renew(permissions=["post"])

    refused = alice.post(path)

    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")


@pytest.mark.parametrize("count", [1, 20])
def test_the_list_costs_the_same_queries_however_long(
    bot, lobby, alice, count, django_assert_num_queries
):
    person = make_person("alice")
    for number in range(count):
        sent = person.post_message(
            Outgoing(key=f"k{number}", channel=lobby.remote_id, text=f"rule {number}")
        )
        person.pin_message(lobby.remote_id, sent.message_id)
    pinned(alice)  # written down now

    with django_assert_num_queries(10):
        assert len(pinned(alice)) == count


def test_bob_reads_what_is_pinned_and_pins_nothing(bot, lobby, alice):
    (path,) = posted(bot, lobby, "read this")
    bob = make_client(scopes=["read"])

    assert bob.get(PINNED).status_code == 200
    assert {bob.post(path).status_code, bob.delete(path).status_code} == {403}


def test_for_charlie_there_is_nothing_to_pin(bot, lobby):
    (path,) = posted(bot, lobby, "read this")
    jobs = Job.objects.count()
    charlie = make_client(bots=[make_bot("other")])

    doors = [charlie.get(PINNED), charlie.post(path), charlie.delete(path)]

    assert {answer.status_code for answer in doors} == {404}
    assert Job.objects.count() == jobs
