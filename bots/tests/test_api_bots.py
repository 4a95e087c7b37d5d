"""Bots and spaces over REST: configuring, testing, switching on and off."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from django.test import Client

from bots.api import outside
from bots.models import ApiToken, Bot, Credential, Job, Receive
from bots.tests import cast
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_client,
    make_space,
    make_user,
    run_lanes,
)

pytestmark = pytest.mark.django_db

BOTS = "/api/v1/bots/"
ECHO = "/api/v1/bots/echo/"
NEW = {"slug": "nova", "name": "Nova", "space": "acme", "credentials": {"secret": "s3cret!"}}


@pytest.fixture
def bot():
    return make_bot("echo")


@pytest.fixture
def alice(bot):
    return make_client()


def test_requests_that_wait_for_platforms_leave_threads_for_others(alice, bot, settings):
    with ExitStack() as waiting:
        for _ in range(settings.BOTADMIN_WEB_THREADS // 2):
            waiting.enter_context(outside.place())

        busy = [
            alice.post(f"{ECHO}check/"),
            alice.patch(ECHO, {"read_receipts": False}, format="json"),
        ]
        assert alice.get(ECHO).status_code == 200

    for answer in busy:
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert int(answer["Retry-After"]) > 0
    assert alice.post(f"{ECHO}check/").status_code == 200


def test_a_bot_is_added_connects_and_is_shown(alice):
    answer = alice.post(BOTS, NEW, format="json")

    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert shown["receive"] == "websocket"
    assert shown["credentials"]["secret"]["set"] is True
    assert shown["connection"]["state"] == "starting"
    run_lanes()
    assert alice.get(f"{BOTS}nova/").json()["identity"]["person"]["username"] == "nova"


def test_a_secret_goes_in_and_never_comes_out(alice):
    alice.post(BOTS, NEW, format="json")

    told = b"".join(
        alice.get(path).content for path in (BOTS, f"{BOTS}nova/", "/api/v1/jobs/", ECHO)
    )

    assert b"s3cret!" not in told
    assert SECRET.encode() not in told


def test_a_credential_may_be_a_reference_and_may_be_removed(bot, alice):
    alice.patch(ECHO, {"credentials": {"secret": "$BOT_ECHO_SECRET"}}, format="json")
    assert Credential.objects.get(bot=bot).reference == "$BOT_ECHO_SECRET"

    shown = alice.patch(ECHO, {"credentials": {"secret": ""}}, format="json").json()

    assert shown["credentials"] == {"secret": {"set": False, "changed_at": None}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "echo"}, "slug"),
        ({"slug": "no spaces"}, "slug"),
        ({"slug": None}, "slug"),
        ({"name": ""}, "name"),
        ({"space": "nowhere"}, "space"),
        ({"receive": "webhook"}, "receive"),
        ({"permissions": ["everything"]}, "permissions.0"),
        ({"permissions": "post"}, "permissions"),
        ({"handlers": ["nobody"]}, "handlers"),
        ({"options": {"colour": "red"}}, "options"),
        ({"options": {"poll_seconds": "often"}}, "options"),
        ({"options": []}, "options"),
        ({"credentials": {"token": "x"}}, "credentials"),
        ({"credentials": {"secret": 7}}, "credentials.secret"),
        ({"enabled": "yes"}, "enabled"),
    ],
)
def test_a_bad_bot_is_a_400_that_names_the_field(alice, changes, field):
    refused = alice.post(BOTS, NEW | changes, format="json")

    assert refused.status_code == 400, refused.content
    assert field in refused.json()["errors"]
    assert not Bot.objects.filter(slug="nova").exists()


def test_a_bot_is_changed(bot, alice):
    shown = alice.patch(
        ECHO,
        {"name": "Parrot", "receive": "poll", "options": {"poll_seconds": 9}, "permissions": []},
        format="json",
    ).json()

    assert (shown["name"], shown["receive"]) == ("Parrot", Receive.POLL)
    assert shown["options"] == {"poll_seconds": 9}
    bot.refresh_from_db()
    assert bot.generation > 1


@pytest.mark.parametrize("field", ["slug", "space"])
def test_slug_and_space_of_a_bot_stay(alice, field):
    refused = alice.patch(ECHO, {field: "other"}, format="json")

    assert refused.status_code == 400
    assert field in refused.json()["errors"]
    same = {"slug": "echo", "space": "acme"}[field]
    assert alice.patch(ECHO, {field: same}, format="json").status_code == 200


def test_a_platform_that_refuses_leaves_the_bot_as_it_was(bot, alice):
    alice.patch(f"{SPACES}acme/", {"options": {"read_receipts_locked": True}}, format="json")

    refused = alice.patch(ECHO, {"read_receipts": False, "name": "Quiet"}, format="json")

    assert refused.status_code == 422
    assert refused.json()["code"] == "read_receipts_locked"
    bot.refresh_from_db()
    assert (bot.read_receipts, bot.name) == (True, "Echo")


def test_read_receipts_are_switched_off(alice):
    assert alice.patch(ECHO, {"read_receipts": False}, format="json").status_code == 200
    assert alice.get(ECHO).json()["read_receipts"] is False


def test_a_test_tells_good_news_and_bad(alice):
    good = alice.post(f"{ECHO}check/").json()
    alice.patch(ECHO, {"credentials": {"secret": "wrong"}}, format="json")
    bad = alice.post(f"{ECHO}check/")

    assert good["ok"] is True
    assert good["identity"]["person"]["username"] == "echo"
    assert bad.status_code == 200
    assert bad.json()["ok"] is False
    assert bad.json()["findings"][0]["code"] == "credentials_refused"
    assert alice.get(ECHO).json()["connection"]["state"] == "bad_credentials"


def test_a_bot_is_stopped_and_started(alice):
    stopped = alice.post(f"{ECHO}stop/")
    started = alice.post(f"{ECHO}start/")
    again = alice.post(f"{ECHO}reconnect/")

    assert [a.status_code for a in (stopped, started, again)] == [202] * 3
    assert stopped.json()["enabled"] is False
    assert stopped.json()["connection"]["next_step"]
    assert started.json()["enabled"] is True


def test_sync_is_a_job(alice):
    job = alice.post(f"{ECHO}sync/")
    run_lanes()

    assert job.status_code == 202
    assert alice.get(job["Location"]).json()["state"] == "succeeded"


def test_presence_is_a_job(alice):
    job = alice.post(f"{ECHO}presence/", {"presence": "dnd", "text": "busy"}, format="json")
    run_lanes()

    assert alice.get(job["Location"]).json()["state"] == "succeeded"
    bad = alice.post(f"{ECHO}presence/", {"presence": "asleep"}, format="json")
    assert bad.status_code == 400


def test_a_bot_is_removed_with_all_it_said(bot, alice):
    make_channel(bot)
    path = f"{ECHO}messages/"
    alice.post(path, {"channel": "lobby", "text": "hi"}, format="json")
    run_lanes()

    assert alice.delete(ECHO).status_code == 204
    assert alice.get(ECHO).status_code == 404
    assert not Job.objects.exists()


@pytest.mark.parametrize("rows", [1, 50])
def test_the_list_costs_the_same_queries_however_long(rows, django_assert_num_queries):
    for number in range(rows):
        make_bot(f"bot-{number:02}")
    client = make_client()
    client.get(SPACES)  # a token's first use is written down

    with django_assert_num_queries(4):  # token, bots, credentials, labels
        page = client.get(BOTS).json()

    assert [b["slug"] for b in page["results"]] == [f"bot-{n:02}" for n in range(rows)]


# Spaces -----------------------------------------------------------------------------------------

SPACES = "/api/v1/spaces/"


def test_platforms_tell_what_they_can_do(alice):
    platforms = {p["name"]: p for p in alice.get("/api/v1/platforms/").json()["results"]}

    local = platforms["local"]
    assert "post" in local["abilities"]
    assert local["limits"]["text"] == 4000
    assert local["credentials"][0]["secret"] is True
    assert "poll_seconds" in [option["name"] for option in local["options"]]


def test_a_space_is_added_changed_and_removed(alice):
    body = {"slug": "beta", "name": "Beta", "platform": "local", "options": {"poll_seconds": 7}}

    assert alice.post(SPACES, body, format="json").status_code == 201
    changed = alice.patch(f"{SPACES}beta/", {"name": "Gamma"}, format="json")
    assert changed.json()["name"] == "Gamma"
    assert changed.json()["options"] == {"poll_seconds": 7}
    assert alice.delete(f"{SPACES}beta/").status_code == 204
    assert alice.get(f"{SPACES}beta/").status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "acme"}, "slug"),
        ({"platform": "icq"}, "platform"),
        ({"url": "gopher://x"}, "url"),
        ({"url": "ftp://127.0.0.1"}, "url"),
        ({"url": "127.0.0.1:8065"}, "url"),
        ({"url": "http://127.0.0.1:99999"}, "url"),
        ({"url": "http://bot:secret@127.0.0.1"}, "url"),
        ({"url": "http://127.0.0.1/?team=acme"}, "url"),
        ({"url": "http://127.0.0.1/#top"}, "url"),
        ({"options": {"x": 1}}, "options"),
        ({"name": 3}, "name"),
        ({"keep_events_days": -1}, "keep_events_days"),
        ({"keep_jobs_days": "90"}, "keep_jobs_days"),
        ({"keep_messages_days": 10**9}, "keep_messages_days"),
    ],
)
def test_a_bad_space_is_a_400_that_names_the_field(alice, changes, field):
    body = {"slug": "beta", "name": "Beta", "platform": "local"} | changes

    refused = alice.post(SPACES, body, format="json")

    assert refused.status_code == 400
    assert field in refused.json()["errors"]
    assert "secret" not in refused.text


def test_slug_and_platform_of_a_space_stay(alice):
    for field in ("slug", "platform"):
        refused = alice.patch(f"{SPACES}acme/", {field: "other"}, format="json")
        assert refused.status_code == 400
        assert field in refused.json()["errors"]


def test_a_space_with_bots_is_not_removed(alice):
    assert alice.delete(f"{SPACES}acme/").status_code == 400


def test_a_changed_space_lets_its_bots_connect_anew(bot, alice):
    before = bot.generation

    alice.patch(f"{SPACES}acme/", {"options": {"poll_seconds": 3}}, format="json")

    bot.refresh_from_db()
    assert bot.generation == before + 1


def test_how_long_things_are_kept_is_changed_without_connecting_anew(bot, alice):
    changed = alice.patch(f"{SPACES}acme/", {"keep_events_days": 7}, format="json").json()

    assert (changed["keep_events_days"], changed["keep_messages_days"]) == (7, 0)
    generation = bot.generation
    bot.refresh_from_db()
    assert bot.generation == generation


@pytest.mark.parametrize("rows", [1, 50])
def test_the_list_of_spaces_costs_the_same_queries(rows, django_assert_num_queries):
    for number in range(rows):
        make_space(f"space-{number:02}")
    client = make_client()
    client.get(SPACES)  # a token's first use is written down

    with django_assert_num_queries(2):
        assert len(client.get(SPACES).json()["results"]) == rows


# Who may ----------------------------------------------------------------------------------------


def doors(client):
    """Every way to change something of the bot or its space."""
    return {
        "change": client.patch(ECHO, {"name": "Mine"}, format="json"),
        "check": client.post(f"{ECHO}check/"),
        "start": client.post(f"{ECHO}start/"),
        "stop": client.post(f"{ECHO}stop/"),
        "reconnect": client.post(f"{ECHO}reconnect/"),
        "sync": client.post(f"{ECHO}sync/"),
        "delete": client.delete(ECHO),
    }


def test_bob_watches_and_changes_nothing(bot):
    for scopes in (["read"], ["read", "send"]):
        bob = make_client(scopes=scopes)

        assert bob.get(ECHO).status_code == 200
        assert {a.status_code for a in doors(bob).values()} == {403}
        assert bob.post(BOTS, NEW, format="json").status_code == 403
        assert bob.post(SPACES, {}, format="json").status_code == 403


def test_for_charlie_the_bot_does_not_exist(bot):
    charlie = make_client(bots=[make_bot("other", space=make_space("elsewhere"))])

    assert charlie.get(ECHO).status_code == 404
    assert {name: a.status_code for name, a in doors(charlie).items()} == dict.fromkeys(
        doors(charlie), 404
    )
    assert charlie.post(f"{ECHO}presence/", {"presence": "dnd"}, format="json").status_code == 404
    assert [b["slug"] for b in charlie.get(BOTS).json()["results"]] == ["other"]
    assert [s["slug"] for s in charlie.get(SPACES).json()["results"]] == ["elsewhere"]
    assert charlie.get(f"{SPACES}acme/").status_code == 404
    assert charlie.post(BOTS, NEW, format="json").status_code == 400  # no such space for them
    assert charlie.patch(f"{SPACES}elsewhere/", {"name": "x"}, format="json").status_code == 403


def test_who_adds_a_bot_sees_it(bot):
    client = make_client(bots=[bot])

    assert client.post(BOTS, NEW, format="json").status_code == 201
    assert client.get(f"{BOTS}nova/").status_code == 200


def test_managing_is_not_sending(bot):
    make_channel(bot)
    manager = make_client(scopes=["read", "manage"])

    refused = manager.post(f"{ECHO}messages/", {"channel": "lobby", "text": "hi"}, format="json")

    assert refused.status_code == 403


# Tokens and sessions ----------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Bearer ", "Basic YTpi"])
def test_without_a_good_token_nobody_gets_in(bot, client, header):
    headers = {"Authorization": header} if header else {}

    refused = client.get(ECHO, headers=headers)

    assert refused.status_code == 401
    assert refused.json()["code"] == "not_authenticated"
    assert refused["WWW-Authenticate"].startswith("Bearer")


def test_a_token_that_has_expired_is_refused(alice):
    ApiToken.objects.update(expires_at="2020-01-01T00:00:00Z")

    assert alice.get(ECHO).status_code == 401


def test_people_browse_with_their_session(bot, client):
    client.force_login(make_user("alice", is_superuser=True))
    make_channel(bot)

    for path in (
        BOTS,
        ECHO,
        SPACES,
        f"{SPACES}acme/",
        "/api/v1/platforms/",
        "/api/v1/jobs/",
        f"{ECHO}channels/",
        f"{ECHO}channels/lobby/",
        f"{ECHO}channels/lobby/participants/",
        f"{ECHO}messages/",
        f"{ECHO}nothing/",
    ):
        page = client.get(path, headers={"Accept": "text/html"})
        assert page["Content-Type"].startswith("text/html") or page.status_code == 404
        assert page.status_code in (200, 404)


def test_a_session_needs_a_csrf_token_to_act(bot):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user("alice", is_superuser=True))

    refused = client.post(f"{ECHO}start/")

    assert refused.status_code == 403
    assert refused.json()["code"] == "permission_denied"


def test_somebody_without_a_group_sees_no_bot(bot, client):
    charlie = make_user("charlie")
    client.force_login(charlie)

    assert client.get(ECHO).status_code == 403  # no permission to read at all


def browser(*permissions: str, sees: Bot) -> Client:
    client = Client()
    client.force_login(cast.person("dora", permissions, sees))
    return client


@pytest.mark.parametrize(
    ("permission", "opened"),
    [
        ("change_bot", {"change"}),
        ("operate_bot", {"check", "start", "stop", "reconnect", "sync"}),
        ("delete_bot", {"delete"}),
        ("add_bot", set()),
    ],
)
def test_a_person_may_do_by_rest_what_they_may_do_in_the_admin(bot, permission, opened):
    dora = browser("view_bot", permission, sees=bot)

    answers = {name: answer.status_code for name, answer in doors(dora).items()}
    added = dora.post(BOTS, NEW, content_type="application/json")

    assert {name for name, status in answers.items() if status != 403} == opened
    assert added.status_code == (201 if permission == "add_bot" else 403)


def test_a_token_of_somebody_who_was_made_inactive_is_refused(alice):
    user = make_user("bob")
    ApiToken.objects.update(created_by=user)
    assert alice.get(ECHO).status_code == 200

    user.is_active = False
    user.save()

    assert alice.get(ECHO).status_code == 401


def test_a_token_outlives_the_account_of_whoever_made_it(alice):
    user = make_user("bob")
    ApiToken.objects.update(created_by=user)

    user.delete()

    assert alice.get(ECHO).status_code == 200


# Changes ----------------------------------------------------------------------------------------


def test_a_change_that_names_an_unknown_credential_changes_nothing(bot, alice):
    refused = alice.patch(
        ECHO, {"read_receipts": False, "credentials": {"nope": "x"}}, format="json"
    )

    bot.refresh_from_db()
    assert refused.status_code == 400
    assert bot.read_receipts


def test_renaming_a_bot_does_not_look_around_and_new_options_do_so_once(bot, alice):
    alice.patch(ECHO, {"name": "Other"}, format="json")
    assert not Job.objects.exists()

    for seconds in (5, 6):
        alice.patch(ECHO, {"options": {"poll_seconds": seconds}}, format="json")
    alice.patch(ECHO, {"credentials": {"secret": SECRET}}, format="json")

    assert Job.objects.get().kind == "bot.sync"


def test_a_reference_that_is_too_long_is_a_400(alice):
    refused = alice.patch(ECHO, {"credentials": {"secret": "$" + "A" * 255}}, format="json")

    assert refused.status_code == 400
    assert "at most 255 characters" in refused.json()["detail"]
