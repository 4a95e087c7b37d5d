"""Messages over REST: sent, read, changed, reacted to, on the local platform for real."""

from __future__ import annotations

import base64
from datetime import timedelta
from io import BytesIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from bots import clients
from bots.models import Job, StoredFile
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_client,
    make_person,
    run_lanes,
)
from spaces.platforms.messages import ChannelKind, File, Outgoing

pytestmark = pytest.mark.django_db

MESSAGES = "/api/v1/bots/echo/messages/"
BULK = f"{MESSAGES}bulk/"


@pytest.fixture
def bot():
    return make_bot("echo")


@pytest.fixture
def lobby(bot):
    return make_channel(bot, "lobby", people=["alice"])


@pytest.fixture
def alice(lobby):
    return make_client()


def post(client, body, path=MESSAGES, **headers):
    return client.post(path, body, format="json", headers=headers)


def job_of(client, answer):
    return client.get(f"/api/v1/jobs/{answer.json()['id']}/").json()


def test_a_message_is_accepted_sent_and_then_read(alice):
    accepted = post(alice, {"channel": "lobby", "text": "hi"})

    assert accepted.status_code == 202
    assert accepted.json()["state"] == "queued"
    assert alice.get(accepted["Location"]).json()["id"] == accepted.json()["id"]

    run_lanes()

    assert job_of(alice, accepted)["state"] == "succeeded"
    (message,) = alice.get(MESSAGES, {"channel": "lobby"}).json()["results"]
    assert message["text"] == "hi"
    assert message["direction"] == "out"
    assert message["job"] == accepted.json()["id"]
    assert message["sender"]["username"] == "echo"
    assert message["sent_at"].endswith("Z")


@pytest.mark.parametrize("name", ["#lobby", "~lobby", " lobby"])
def test_a_channel_may_be_named_as_people_write_it(alice, name):
    assert post(alice, {"channel": name, "text": "hi"}).status_code == 202


def test_our_id_of_a_channel_goes_before_a_platform_id_that_looks_like_it(bot, lobby, alice):
    ops = make_channel(bot, "ops")
    ops.remote_id, lobby.remote_id = "other", str(ops.pk)
    ops.save()
    lobby.save()

    job = post(alice, {"channel": str(ops.pk), "text": "hi"}).json()

    assert job["channel"] == str(ops.pk)


def test_a_person_is_written_to_directly(bot, alice):
    accepted = post(alice, {"person": "alice", "text": "psst"})
    run_lanes()

    assert job_of(alice, accepted)["state"] == "succeeded"
    (message,) = alice.get(MESSAGES, {"search": "PSST"}).json()["results"]
    channel = alice.get(f"/api/v1/bots/echo/channels/{message['channel']}/").json()
    assert channel["kind"] == "direct"


def test_a_long_text_goes_out_in_parts(alice):
    accepted = post(alice, {"channel": "lobby", "text": "word " * 2_000})
    run_lanes()

    assert job_of(alice, accepted)["result"]["parts"] > 1


def test_a_card_needs_no_text(alice):
    card = {"title": "Release", "body": "all **green**", "fields": [["Version", "2.4"]]}

    accepted = post(alice, {"channel": "lobby", "card": card})
    run_lanes()

    assert job_of(alice, accepted)["state"] == "succeeded"
    (message,) = alice.get(MESSAGES).json()["results"]
    assert message["card"]["fields"] == [["Version", "2.4"]]


def test_files_come_as_base64(bot, alice):
    content = base64.b64encode(b"a,b\n1,2\n").decode()

    accepted = post(
        alice, {"channel": "lobby", "files": [{"name": "../sums.csv", "content": content}]}
    )
    run_lanes()

    assert job_of(alice, accepted)["state"] == "succeeded"
    assert StoredFile.objects.get().name == "sums.csv"


def test_files_come_as_parts_of_a_form(alice):
    form = {
        "channel": "lobby",
        "text": "see these",
        "card": '{"title": "Sums"}',
        "ordered": "false",
        "files": [SimpleUploadedFile("a.txt", b"one"), SimpleUploadedFile("b.txt", b"two")],
    }

    accepted = alice.post(MESSAGES, form, format="multipart")
    run_lanes()

    assert accepted.status_code == 202, accepted.content
    assert job_of(alice, accepted)["state"] == "succeeded"
    assert sorted(StoredFile.objects.values_list("name", flat=True)) == ["a.txt", "b.txt"]
    assert {str(f.job_id) for f in StoredFile.objects.all()} == {accepted.json()["id"]}


def test_a_file_by_url_is_fetched_when_it_is_sent(alice):
    body = {"channel": "lobby", "files": [{"url": "https://files.example.com/a.pdf"}]}

    accepted = post(alice, body)

    assert accepted.status_code == 202
    assert Job.objects.get().payload["files"] == [
        {"url": "https://files.example.com/a.pdf", "name": ""}
    ]


def test_files_beyond_the_platforms_limits_are_refused_and_not_kept(alice):
    too_many = [{"name": f"{n}.txt", "content": "YQ=="} for n in range(11)]

    refused = post(alice, {"channel": "lobby", "files": too_many})

    assert refused.status_code == 400
    assert "files" in refused.json()["errors"]
    assert not StoredFile.objects.exists()


def test_a_thread_is_named_by_our_id_or_the_platforms(bot, lobby, alice):
    post(alice, {"channel": "lobby", "text": "question"})
    run_lanes()
    question = bot.messages.get()

    post(alice, {"channel": "lobby", "text": "answer", "thread": str(question.pk)})
    post(alice, {"channel": "lobby", "text": "unknown", "thread": "somewhere"})

    threads = [job.payload["thread"] for job in Job.objects.order_by("pk")[1:]]
    assert threads == [question.remote_id, "somewhere"]


def test_what_is_put_off_and_what_expires_is_kept_with_the_job(alice):
    at = timezone.now() + timedelta(hours=1)

    job = post(
        alice,
        {
            "channel": "lobby",
            "text": "later",
            "priority": "bulk",
            "not_before": at.isoformat(),
            "expires_at": (at + timedelta(hours=1)).isoformat(),
        },
    ).json()

    assert job["priority"] == "bulk"
    assert job["not_before"].endswith("Z")
    assert job["expires_at"] > job["not_before"]


GOOD = {"channel": "lobby", "text": "hi"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channel": None}, "channel"),
        ({"channel": 7}, "channel"),
        ({"person": "alice"}, "non_field_errors"),
        ({"text": ""}, "non_field_errors"),
        ({"text": "   "}, "non_field_errors"),
        ({"text": 3}, "text"),
        ({"text": "x" * 100_001}, "text"),
        ({"card": {}}, "card"),
        ({"card": {"title": 1}}, "card.title"),
        ({"card": {"fields": [["one"]]}}, "card.fields.0"),
        ({"files": [{"name": "a"}]}, "files.0"),
        ({"files": [{"content": "YQ=="}]}, "files.0.name"),
        ({"files": [{"name": "a", "content": "not base64!"}]}, "files.0.content"),
        ({"files": [{"url": "file:///etc/passwd"}]}, "files.0.url"),
        ({"files": [{"url": "http://[bad/"}]}, "files.0.url"),
        ({"files": "all"}, "files"),
        ({"priority": "urgent"}, "priority"),
        ({"ordered": "yes"}, "ordered"),
        ({"not_before": "tomorrow"}, "not_before"),
        ({"not_before": 17}, "not_before"),
        ({"not_before": "9999-12-31T23:59:59Z"}, "not_before"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ],
)
def test_a_bad_message_is_a_400_that_names_the_field(alice, changes, field):
    refused = post(alice, GOOD | changes)

    assert refused.status_code == 400, refused.content
    assert refused.json()["code"] == "invalid"
    assert field in refused.json()["errors"]
    assert not Job.objects.exists()


def test_an_unknown_channel_is_a_404_that_says_so(alice):
    refused = post(alice, {"channel": "nowhere", "text": "hi"})

    assert refused.status_code == 404
    assert refused.json()["code"] == "not_found"


def test_an_ambiguous_channel_is_a_404_that_says_so(bot, alice):
    for name in ("one", "two"):
        make_channel(bot, name, title="Twins")

    refused = post(alice, {"channel": "Twins", "text": "hi"})

    assert refused.status_code == 404
    assert refused.json()["code"] == "channel_ambiguous"


def test_what_the_bot_may_not_do_is_a_403(bot, alice):
    bot.renew(permissions=["direct"])

    refused = post(alice, GOOD)

    assert refused.status_code == 403
    assert refused.json()["code"] == "not_permitted"


# Reading ----------------------------------------------------------------------------------------


def said(bot, lobby, *texts):
    person = make_person("alice", space=bot.space)
    for text in texts:
        person.post_message(Outgoing(key=text, channel=lobby.remote_id, text=text))


def test_messages_are_found_by_text_time_and_files(bot, lobby, alice):
    post(alice, {"channel": "lobby", "text": "plain"})
    run_lanes()
    post(alice, {"channel": "lobby", "text": "second"})
    run_lanes()
    second, first = alice.get(MESSAGES).json()["results"]

    def texts(**query):
        return [m["text"] for m in alice.get(MESSAGES, query).json()["results"]]

    assert (first["text"], second["text"]) == ("plain", "second")
    assert texts(search="LAI") == ["plain"]
    assert texts(since=second["sent_at"]) == ["second"]
    assert texts(until=second["sent_at"]) == ["plain"]
    assert texts(with_files="true") == []
    assert texts(with_files="false") == ["second", "plain"]


@pytest.mark.parametrize(
    "query",
    [
        {"channel": "nowhere"},
        {"since": "yesterday"},
        {"with_files": "maybe"},
        {"search": "a\x00b"},
        {"channel": "\x00"},
        {"cursor": "rubbish"},
        {"cursor": "cD1ydWJiaXNo"},  # p=rubbish
        {"cursor": "cD0lMDA="},  # p=%00
        {"page_size": "0"},
        {"page_size": "501"},
        {"page_size": "many"},
    ],
)
def test_a_filter_that_makes_no_sense_is_a_400_that_names_it(alice, query):
    refused = alice.get(MESSAGES, query)

    assert refused.status_code == 400, refused.content
    assert list(refused.json()["errors"]) == list(query)


@pytest.mark.parametrize("rows", [1, 50])
def test_a_page_costs_the_same_queries_however_long(
    bot, lobby, alice, rows, django_assert_num_queries
):
    post(alice, {"messages": [GOOD] * rows}, path=BULK)
    run_lanes()

    with django_assert_num_queries(3):  # token, bot, messages
        page = alice.get(MESSAGES).json()

    assert len(page["results"]) == rows


def test_pages_lead_through_all_messages_and_back(alice):
    post(alice, {"messages": [{"channel": "lobby", "text": str(n)} for n in range(25)]}, path=BULK)
    run_lanes()

    page = alice.get(MESSAGES, {"page_size": 10}).json()
    seen = [m["text"] for m in page["results"]]
    while page["next"]:
        page = alice.get(page["next"]).json()
        seen += [m["text"] for m in page["results"]]

    assert seen == [str(n) for n in reversed(range(25))]
    assert len(alice.get(page["previous"]).json()["results"]) == 10


# Changing ---------------------------------------------------------------------------------------


@pytest.fixture
def greeting(bot, lobby, alice):
    post(alice, GOOD)
    run_lanes()
    return bot.messages.get()


def test_a_message_is_edited_and_deleted(alice, greeting):
    path = f"{MESSAGES}{greeting.pk}/"

    assert alice.patch(path, {"text": "hello"}, format="json").status_code == 202
    run_lanes()
    assert alice.get(path).json()["text"] == "hello"
    assert alice.delete(path).status_code == 202
    run_lanes()
    assert alice.get(path).json()["deleted_at"] is not None


def test_a_reaction_comes_and_goes(alice, greeting):
    path = f"{MESSAGES}{greeting.pk}/reactions/"

    answers = [
        post(alice, {"name": ":tada:"}, path=path),
        alice.delete(path, {"name": "tada"}, format="json"),
        post(alice, {"name": "tada"}, path=path),
        alice.delete(f"{path}?name=tada"),
    ]
    run_lanes()

    assert [answer.status_code for answer in answers] == [202] * 4
    assert [job_of(alice, answer)["state"] for answer in answers] == ["succeeded"] * 4
    assert set(
        Job.objects.exclude(kind="message.post").values_list("payload__name", flat=True)
    ) == {"tada"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("patch", "{id}/", {}, 400),
        ("patch", "{id}/", {"text": ""}, 400),
        ("patch", "999999/", {"text": "x"}, 404),
        ("delete", "99999999999999999999/", None, 404),
        ("post", "{id}/reactions/", {"name": "::"}, 400),
        ("delete", "{id}/reactions/", {}, 400),
        ("put", "{id}/", {"text": "x"}, 405),
        ("get", "{id}/reactions/", None, 405),
        ("get", "%00/", None, 404),
    ],
)
def test_a_bad_change_is_told_as_what_it_is(alice, greeting, method, path, body, status):
    call = getattr(alice, method)

    refused = call(MESSAGES + path.format(id=greeting.pk), body, format="json")

    assert refused.status_code == status
    assert refused["Content-Type"] == "application/problem+json"


# Many at once -----------------------------------------------------------------------------------


def test_a_bulk_answers_a_job_or_a_problem_for_each_in_order(alice):
    answer = post(
        alice,
        {"messages": [GOOD, {"text": "whereto?"}, 7, {"channel": "nowhere", "text": "x"}, GOOD]},
        path=BULK,
    )

    assert answer.status_code == 202
    results = answer.json()["results"]
    assert [result.get("status", result.get("state")) for result in results] == [
        "queued",
        400,
        400,
        404,
        "queued",
    ]
    run_lanes()
    assert len(alice.get(MESSAGES).json()["results"]) == 2


def test_a_bulk_costs_the_same_queries_however_long(
    bot, lobby, alice, django_assert_max_num_queries
):
    make_channel(bot, "aside", kind=ChannelKind.PRIVATE, people=["bob"])
    mixed = [
        GOOD,
        {"person": "bob", "text": "x"},
        {"channel": "aside", "text": "x", "thread": "3"},
        {"channel": "lobby", "files": [{"name": "a", "content": "YQ=="}]},
    ]
    post(alice, {"messages": mixed}, path=BULK)

    with django_assert_max_num_queries(25):
        answer = post(alice, {"messages": mixed * 100}, path=BULK)

    assert all(result["state"] == "queued" for result in answer.json()["results"])


@pytest.mark.parametrize(
    "body", [{}, {"messages": []}, {"messages": "all"}, {"messages": [GOOD] * 1001}]
)
def test_a_bulk_that_is_none_is_a_400(alice, body):
    refused = post(alice, body, path=BULK)

    assert refused.status_code == 400
    assert "messages" in refused.json()["errors"]


# Who may ----------------------------------------------------------------------------------------


def test_bob_watches_and_cannot_send(bot, lobby, greeting):
    bob = make_client(scopes=["read"])

    assert bob.get(MESSAGES).status_code == 200
    for refused in (
        post(bob, GOOD),
        post(bob, {"messages": [GOOD]}, path=BULK),
        bob.patch(f"{MESSAGES}{greeting.pk}/", {"text": "x"}, format="json"),
        bob.delete(f"{MESSAGES}{greeting.pk}/"),
        post(bob, {"name": "tada"}, path=f"{MESSAGES}{greeting.pk}/reactions/"),
    ):
        assert refused.status_code == 403
        assert refused.json()["code"] == "permission_denied"


def test_for_charlie_the_bot_does_not_exist(bot, lobby, greeting):
    charlie = make_client(bots=[make_bot("other")])

    for refused in (
        charlie.get(MESSAGES),
        post(charlie, GOOD),
        post(charlie, {"messages": [GOOD]}, path=BULK),
        charlie.get(f"{MESSAGES}{greeting.pk}/"),
        charlie.patch(f"{MESSAGES}{greeting.pk}/", {"text": "x"}, format="json"),
        charlie.delete(f"{MESSAGES}{greeting.pk}/"),
        charlie.delete(f"{MESSAGES}{greeting.pk}/reactions/?name=tada"),
    ):
        assert refused.status_code == 404
        assert refused.json()["code"] == "not_found"
    assert Job.objects.count() == 1


def test_a_file_that_somebody_sent_is_fetched(alice, bot):
    person = make_person("alice")
    file = File(name="plan.txt", content_type="text/html", size=5, open=lambda: BytesIO(b"plans"))
    with clients.borrow(bot) as platform:
        room = next(platform.list_channels()).id
    person.post_message(Outgoing(key="f", channel=room, files=(file,)))
    sync = alice.post("/api/v1/bots/echo/sync/")
    run_lanes()
    assert sync.status_code == 202
    (message,) = alice.get(MESSAGES).json()["results"]
    path = f"{MESSAGES}{message['id']}/files/{message['files'][0]['id']}/"

    for accept in ("*/*", "image/png"):
        answer = alice.get(path, headers={"accept": accept})

        assert answer.getvalue() == b"plans"
        assert answer["Content-Disposition"] == 'attachment; filename="plan.txt"'
        assert answer["Content-Type"] == "application/octet-stream"


def test_a_file_that_the_message_does_not_carry_is_unknown(alice):
    post(alice, {"channel": "lobby", "text": "no files here"})
    run_lanes()
    (message,) = alice.get(MESSAGES).json()["results"]

    answer = alice.get(f"{MESSAGES}{message['id']}/files/1/")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_message_we_sent_shows_its_files(alice):
    content = base64.b64encode(b"hello").decode()
    post(alice, {"channel": "lobby", "files": [{"name": "a.txt", "content": content}]})
    run_lanes()

    (message,) = alice.get(MESSAGES).json()["results"]

    assert [(f["name"], f["size"]) for f in message["files"]] == [("a.txt", 5)]
