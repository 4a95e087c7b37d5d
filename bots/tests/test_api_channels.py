"""Channels and the people in them over REST, on the local platform for real."""

from __future__ import annotations

import pytest

from bots.models import Job
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_client,
    make_person,
    make_space,
    run_lanes,
)
from spaces.models import Person
from spaces.platforms.messages import ChannelKind, Outgoing
from spaces.testing import faulty  # noqa: F401 - registers the platform `plain`

pytestmark = pytest.mark.django_db

CHANNELS = "/api/v1/bots/echo/channels/"
LOBBY = f"{CHANNELS}lobby/"


@pytest.fixture
def bot():
    return make_bot("echo")


@pytest.fixture
def lobby(bot):
    return make_channel(bot, "lobby", people=["alice"], title="The lobby")


@pytest.fixture
def alice(lobby):
    return make_client()


def done(client, answer):
    """The job of an answer, after it was done."""
    assert answer.status_code == 202, answer.content
    run_lanes()
    return client.get(answer["Location"]).json()


def test_channels_are_listed_and_found_by_every_name(lobby, alice):
    (listed,) = alice.get(CHANNELS).json()["results"]

    assert listed == {
        "id": str(lobby.pk),
        "remote_id": lobby.remote_id,
        "kind": "public",
        "name": "lobby",
        "title": "The lobby",
        "topic": "",
        "purpose": "",
        "archived": False,
    }
    for name in (str(lobby.pk), "lobby", "%23lobby", "~lobby", "The%20lobby"):
        assert alice.get(f"{CHANNELS}{name}/").json() == listed


def test_an_unknown_and_an_ambiguous_name_are_told_apart(bot, alice):
    for name in ("one", "two"):
        make_channel(bot, name, title="Twins")

    unknown, ambiguous = (alice.get(f"{CHANNELS}{name}/") for name in ("nowhere", "Twins"))

    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert (ambiguous.status_code, ambiguous.json()["code"]) == (404, "channel_ambiguous")


def test_participants_come_with_their_roles(alice):
    people = alice.get(f"{LOBBY}participants/").json()["results"]

    assert {(p["person"]["username"], p["role"]) for p in people} == {
        ("echo", "moderator"),
        ("alice", "member"),
    }


def test_a_channel_is_created_with_people(alice):
    make_person("bob")
    body = {"name": "ops", "title": "Operations", "kind": "private", "people": ["bob", "nobody"]}

    job = done(alice, alice.post(CHANNELS, body, format="json"))

    assert job["state"] == "succeeded"
    assert [p["ok"] for p in job["result"]["people"]] == [True, False]
    assert alice.get(f"{CHANNELS}ops/").json()["kind"] == "private"
    assert len(alice.get(f"{CHANNELS}ops/participants/").json()["results"]) == 2


def test_a_channel_is_changed_and_archived(alice):
    job = done(alice, alice.patch(LOBBY, {"title": "Hall", "topic": "Hello"}, format="json"))
    assert job["state"] == "succeeded"
    assert alice.get(LOBBY).json()["title"] == "Hall"

    done(alice, alice.delete(LOBBY))

    assert alice.get(LOBBY).json()["archived"] is True


def test_a_channel_gets_a_purpose_another_name_and_another_kind(alice):
    body = {"name": "hall", "purpose": "To meet", "kind": "private"}

    job = done(alice, alice.patch(LOBBY, body, format="json"))

    assert job["state"] == "succeeded"
    hall = alice.get(f"{CHANNELS}hall/").json()
    assert {name: hall[name] for name in body} == body
    assert hall["title"] == "The lobby"


def test_a_purpose_is_emptied(alice):
    for purpose in ("To meet", ""):
        done(alice, alice.patch(LOBBY, {"purpose": purpose}, format="json"))

    assert alice.get(LOBBY).json()["purpose"] == ""


def test_a_channel_has_a_purpose_from_the_start(alice):
    done(alice, alice.post(CHANNELS, {"name": "ops", "purpose": "To run it"}, format="json"))

    assert alice.get(f"{CHANNELS}ops/").json()["purpose"] == "To run it"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("patch", "lobby/", {"name": "hall"}),
        ("patch", "lobby/", {"purpose": ""}),
        ("patch", "lobby/", {"kind": "private", "title": "Hall"}),
        ("post", "", {"name": "ops", "purpose": "To run it"}),
        ("post", "restore/", {"channel": "lobby"}),
    ],
)
def test_what_the_platform_cannot_change_is_refused_at_once(method, path, body):
    make_channel(make_bot("plain", space=make_space(platform="plain")), "lobby")
    client = make_client()
    channels = "/api/v1/bots/plain/channels/"

    refused = getattr(client, method)(f"{channels}{path}", body, format="json")
    fine = client.patch(f"{channels}lobby/", {"title": "Hall"}, format="json")

    assert (refused.status_code, refused.json()["code"]) == (422, "unsupported")
    assert fine.status_code == 202


@pytest.mark.parametrize("way", ["our id", "remote id", "name", "#name"])
def test_an_archived_channel_is_restored_also_when_it_is_in_no_list_any_more(lobby, alice, way):
    done(alice, alice.delete(LOBBY))
    done(alice, alice.post("/api/v1/bots/echo/sync/"))
    assert alice.get(LOBBY).status_code == 404

    name = {"our id": str(lobby.pk), "remote id": lobby.remote_id}.get(
        way, way.replace("name", "lobby")
    )
    job = done(alice, alice.post(f"{CHANNELS}restore/", {"channel": name}, format="json"))

    assert (job["kind"], job["state"]) == ("channel.restore", "succeeded")
    assert job["channel"] == str(lobby.pk)
    assert alice.get(LOBBY).json()["archived"] is False


def test_a_private_channel_is_restored_by_the_name_it_had(bot, alice):
    den = make_channel(bot, "den", kind=ChannelKind.PRIVATE)
    done(alice, alice.delete(f"{CHANNELS}den/"))
    done(alice, alice.post("/api/v1/bots/echo/sync/"))

    job = done(alice, alice.post(f"{CHANNELS}restore/", {"channel": "den"}, format="json"))

    assert (job["state"], job["channel"]) == ("succeeded", str(den.pk))


def test_the_archived_one_of_two_with_one_name_is_meant(bot, lobby, alice):
    done(alice, alice.delete(LOBBY))
    make_channel(bot, "lobby")

    job = done(alice, alice.post(f"{CHANNELS}restore/", {"channel": "lobby"}, format="json"))

    assert (job["channel"], job["error"]["code"]) == (str(lobby.pk), "name_taken")


def test_two_archived_ones_are_not_guessed_between(bot, lobby, alice):
    done(alice, alice.delete(LOBBY))
    make_channel(bot, "lobby")
    done(alice, alice.delete(f"{CHANNELS}{bot.space.channels.get(archived=False).pk}/"))

    refused = alice.post(f"{CHANNELS}restore/", {"channel": "lobby"}, format="json")

    assert (refused.status_code, refused.json()["code"]) == (404, "channel_ambiguous")


def test_a_channel_that_only_the_platform_knows_is_named_to_it_as_it_was_typed(alice):
    job = done(alice, alice.post(f"{CHANNELS}restore/", {"channel": "attic"}, format="json"))

    assert (job["state"], job["error"]["code"]) == ("failed", "remote_not_found")


def test_a_private_channel_of_others_is_not_found_to_be_restored(alice):
    den = make_channel(make_bot("other"), "den", kind=ChannelKind.PRIVATE)

    job = done(alice, alice.post(f"{CHANNELS}restore/", {"channel": str(den.pk)}, format="json"))

    assert (job["state"], job["channel"]) == ("failed", None)


def test_people_are_added_with_an_outcome_for_each(alice):
    make_person("bob")

    job = done(
        alice,
        alice.post(
            f"{LOBBY}participants/",
            {"people": ["@bob", "nobody", "alice"], "moderator": True},
            format="json",
        ),
    )

    assert [(p["asked"], p["ok"]) for p in job["result"]["people"]] == [
        ("bob", True),
        ("nobody", False),
        ("alice", True),
    ]
    people = alice.get(f"{LOBBY}participants/").json()["results"]
    assert {p["person"]["username"] for p in people} == {"echo", "alice", "bob"}


@pytest.mark.parametrize("way", ["body", "query"])
def test_people_are_removed_by_body_or_query(alice, way):
    path = f"{LOBBY}participants/"

    if way == "body":
        answer = alice.delete(path, {"people": ["alice"]}, format="json")
    else:
        answer = alice.delete(f"{path}?people=alice&people=nobody")

    assert done(alice, answer)["result"]["people"][0]["ok"] is True
    people = alice.get(path).json()["results"]
    assert [p["person"]["username"] for p in people] == ["echo"]


def test_naming_many_people_costs_no_query_each(bot, alice, django_assert_max_num_queries):
    Person.objects.bulk_create(
        [Person(space=bot.space, remote_id=f"p{n}", username=f"user{n}") for n in range(200)]
    )
    alice.get(CHANNELS)

    with django_assert_max_num_queries(14):
        alice.post(
            f"{LOBBY}participants/", {"people": [f"user{n}" for n in range(200)]}, format="json"
        )

    assert Job.objects.get().payload["people"][7]["id"] == "p7"


def test_a_read_receipt_goes_to_the_newest_message_or_a_named_one(bot, lobby, alice):
    nothing = alice.post(f"{LOBBY}read/")
    assert nothing.status_code == 404

    person = make_person("alice", space=bot.space)
    sent = [
        person.post_message(Outgoing(key=text, channel=lobby.remote_id, text=text))
        for text in ("one", "two")
    ]
    done(alice, alice.post("/api/v1/bots/echo/sync/"))

    newest = done(alice, alice.post(f"{LOBBY}read/"))
    named = alice.post(f"{LOBBY}read/", {"message": sent[0].message_id}, format="json")

    assert newest["result"] == {"receipt_sent": True}
    assert Job.objects.get(pk=newest["id"]).payload["message"] == sent[1].message_id
    assert done(alice, named)["state"] == "succeeded"


def test_a_bot_joins_and_leaves(bot, alice):
    other = make_bot("other")
    make_channel(other, "garden")

    joined = done(alice, alice.post(f"{CHANNELS}join/", {"name": "#garden"}, format="json"))
    assert joined["state"] == "succeeded"
    assert alice.get(f"{CHANNELS}garden/").status_code == 200

    left = done(alice, alice.post(f"{CHANNELS}garden/leave/"))

    assert left["state"] == "succeeded"
    assert alice.get(f"{CHANNELS}garden/").status_code == 404


def test_typing_is_a_job(alice):
    assert done(alice, alice.post(f"{LOBBY}typing/"))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("post", CHANNELS, {"kind": "secret"}, "kind"),
        ("post", CHANNELS, {"title": "x" * 256}, "title"),
        ("post", CHANNELS, {"people": [""]}, "people.0"),
        ("patch", LOBBY, {}, "non_field_errors"),
        ("patch", LOBBY, {"title": 1}, "title"),
        ("post", f"{LOBBY}participants/", {"people": []}, "people"),
        ("post", f"{LOBBY}participants/", {"people": "alice"}, "people"),
        ("post", f"{LOBBY}participants/", {"people": ["a"], "moderator": 1}, "moderator"),
        ("delete", f"{LOBBY}participants/", None, "people"),
        ("post", f"{LOBBY}read/", {"message": 1}, "message"),
        ("patch", LOBBY, {"name": ""}, "name"),
        ("patch", LOBBY, {"kind": "group"}, "kind"),
        ("patch", LOBBY, {"purpose": 1}, "purpose"),
        ("post", f"{CHANNELS}join/", {}, "name"),
        ("post", f"{CHANNELS}restore/", {}, "channel"),
        ("post", f"{CHANNELS}restore/", {"channel": ""}, "channel"),
    ],
)
def test_a_bad_request_is_a_400_that_names_the_field(alice, method, path, body, field):
    refused = getattr(alice, method)(path, body, format="json")

    assert refused.status_code == 400, refused.content
    assert field in refused.json()["errors"]
    assert not Job.objects.exists()


@pytest.mark.parametrize("rows", [1, 50])
def test_lists_cost_the_same_queries_however_long(bot, rows, django_assert_num_queries):
    channels = [
        make_channel(bot, f"room-{n}", people=[f"guest-{m}" for m in range(rows)] if not n else [])
        for n in range(rows)
    ]
    client = make_client()
    client.get(CHANNELS)

    with django_assert_num_queries(3):  # token, bot, channels
        assert len(client.get(CHANNELS).json()["results"]) == rows
    with django_assert_num_queries(4):  # token, bot, channel, participants
        page = client.get(f"{CHANNELS}{channels[0].pk}/participants/").json()
    assert len(page["results"]) >= min(rows + 1, 50)


def doors(client):
    return [
        client.post(CHANNELS, {"name": "x"}, format="json"),
        client.post(f"{CHANNELS}join/", {"name": "x"}, format="json"),
        client.post(f"{CHANNELS}restore/", {"channel": "lobby"}, format="json"),
        client.patch(LOBBY, {"title": "x"}, format="json"),
        client.delete(LOBBY),
        client.post(f"{LOBBY}participants/", {"people": ["x"]}, format="json"),
        client.delete(f"{LOBBY}participants/?people=alice"),
        client.post(f"{LOBBY}read/"),
        client.post(f"{LOBBY}typing/"),
        client.post(f"{LOBBY}leave/"),
    ]


def test_bob_watches_and_changes_nothing(lobby):
    bob = make_client(scopes=["read"])

    assert bob.get(LOBBY).status_code == 200
    assert {answer.status_code for answer in doors(bob)} == {403}


def test_for_charlie_the_channels_do_not_exist(lobby):
    charlie = make_client(bots=[make_bot("other")])

    reads = [charlie.get(path) for path in (CHANNELS, LOBBY, f"{LOBBY}participants/")]

    assert {answer.status_code for answer in reads + doors(charlie)} == {404}
    assert not Job.objects.exists()


def test_a_channel_of_another_bot_is_not_reached_through_ones_own(bot, lobby):
    other = make_bot("other")
    charlie = make_client(bots=[other])

    assert charlie.get(f"/api/v1/bots/other/channels/{lobby.pk}/").status_code == 404
