"""The audit log: what is written, by whom, and never a secret; and each operation of the API.

The doors of the admin are walked through in `test_admin_audit`.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from rest_framework.test import APIClient

from bots import audit, jobs, lifecycle, postoffice, retention, subscriptions, who
from bots.api import urls
from bots.models import ApiToken, AuditEntry, Bot, Delivery, Job, Subscription, WorkState
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_client,
    make_event,
    make_job,
    make_space,
    make_subscription,
    make_token,
    make_user,
)
from bots.who import By, Door
from spaces.models import Space

pytestmark = pytest.mark.django_db

API = "/api/v1/"
DEADLINE = 60.0  # seconds
ALICE = By(label="alice", key="user:7", door=Door.ADMIN)
WHISPER = "whisper-it-to-nobody"


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("echo", name="Echo")
    AuditEntry.objects.all().delete()
    return bot


@pytest.fixture
def mattermost() -> Space:
    return make_space("corp", platform="mattermost", url="https://chat.example.org")


class Regret(Exception):
    """Takes back a transaction."""


def last() -> AuditEntry:
    return AuditEntry.objects.latest("pk")


def changes(entry: AuditEntry) -> dict[str, tuple[str, str]]:
    return {c["field"]: (c["before"], c["after"]) for c in entry.changes}


def everything_told() -> str:
    return json.dumps(list(AuditEntry.objects.values("label", "note", "changes")))


# What is written --------------------------------------------------------------------------------


def test_a_change_is_told_with_before_and_after_in_words(bot):
    bot.name, bot.permissions, bot.receive = "Parrot", ["post", "react"], "off"

    with who.acting(ALICE):
        lifecycle.changed(bot, fields=["name", "permissions", "receive"], requested_by="alice")

    entry = AuditEntry.objects.get()
    assert (entry.actor_label, entry.actor_key, entry.door) == ("alice", "user:7", "admin")
    assert (entry.action, entry.kind, entry.object_id) == ("bot.changed", "bot", str(bot.pk))
    assert (entry.label, entry.bot) == ("Parrot", bot)
    told = changes(entry)
    assert told["Name"] == ("Echo", "Parrot")
    assert told["Receive"] == ("Live connection", "Off")
    assert told["Permissions"][1] == "Post into channels, Add reactions and pin messages"
    assert set(told) == {"Name", "Receive", "Permissions"}


def test_options_are_told_one_by_one_as_their_platform_calls_them(bot):
    bot.options = {"messages_per_second": 3, "event_handling": "concurrently"}

    lifecycle.changed(bot, fields=["options"], requested_by="alice")

    assert changes(last()) == {
        "Messages per second (1/s)": ("", "3"),
        "Events are handled": ("", "concurrently"),
    }


def test_what_was_saved_as_it_was_is_no_change(bot):
    lifecycle.changed(bot, fields=["name", "options"], requested_by="alice")

    assert not AuditEntry.objects.exists()


def test_a_change_that_is_rolled_back_leaves_no_entry(bot):
    with suppress(Regret), transaction.atomic():
        lifecycle.stop(bot)
        raise Regret

    assert not AuditEntry.objects.exists()


def test_what_happens_together_is_one_entry(bot):
    group = Group.objects.create(name="night shift")

    with audit.together():
        bot.name = "Parrot"
        lifecycle.changed(bot, fields=["name"], requested_by="alice")
        with audit.changing(bot):
            bot.groups.add(group)
        bot.name = "Macaw"
        lifecycle.changed(bot, fields=["name"], requested_by="alice")
        lifecycle.stop(bot)

    changed, stopped = AuditEntry.objects.order_by("pk")
    assert changes(changed) == {"Name": ("Echo", "Macaw"), "Groups": ("", "night shift")}
    assert stopped.action == "bot.stopped"


def test_a_part_of_it_that_is_rolled_back_is_not_told(bot):
    with audit.together():
        with suppress(Regret), transaction.atomic():
            bot.name = "Parrot"
            lifecycle.changed(bot, fields=["name"], requested_by="alice")
            raise Regret
        with audit.changing(bot):
            bot.groups.add(Group.objects.create(name="night shift"))

    assert changes(AuditEntry.objects.get()) == {"Groups": ("", "night shift")}


@pytest.mark.django_db(transaction=True)
def test_of_two_who_change_the_same_at_once_each_is_told_with_what_they_did(bot):
    begun = threading.Event()

    def change_it_too():
        begun.set()
        with audit.changing(bot, ["name"]):
            Bot.objects.update(name="Macaw")
        connection.close()

    second = threading.Thread(target=change_it_too)
    with audit.changing(bot, ["name"]):
        second.start()
        begun.wait(DEADLINE)
        Bot.objects.update(name="Parrot")
    second.join(DEADLINE)

    told = [changes(entry)["Name"] for entry in AuditEntry.objects.order_by("pk")]
    assert told == [("Echo", "Parrot"), ("Parrot", "Macaw")]


def test_an_entry_outlives_what_it_is_about(bot):
    lifecycle.stop(bot)

    lifecycle.delete(bot)

    deleted, stopped = AuditEntry.objects.all()
    assert (deleted.action, deleted.label, deleted.bot) == ("bot.deleted", "Echo", None)
    assert (stopped.action, stopped.label, stopped.bot) == ("bot.stopped", "Echo", None)
    assert changes(deleted)["Slug"] == ("echo", "")


# Who --------------------------------------------------------------------------------------------


def test_where_nobody_said_who_it_is_botadmin_itself(bot):
    lifecycle.stop(bot)

    assert (last().actor_label, last().door) == ("botadmin", "botadmin")


def test_nobody_works_in_the_name_of_somebody_elses_thread():
    found = []
    with who.acting(ALICE):
        thread = threading.Thread(target=lambda: found.append(who.now()))
        thread.start()
        thread.join()

    assert found == [who.ITSELF]
    assert who.now() == who.ITSELF


def test_accounts_and_passwords_of_the_command_line_are_told(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", WHISPER)

    with who.acting(who.command()):
        call_command("createsuperuser", interactive=False, username="chief", email="c@example.org")
        user = User.objects.get()
        user.set_password("another-" + WHISPER)
        user.save()

    changed, created = AuditEntry.objects.all()
    assert (created.action, created.label, created.door) == ("user.created", "chief", "command")
    assert changes(created)["Password"] == ("", "set")
    assert changes(changed) == {"Password": ("set", "changed")}
    assert WHISPER not in everything_told()


def test_a_login_that_hashes_a_password_anew_changed_nothing():
    user = make_user("alice")
    user.password = user.password.replace("$1$", "$2$")  # as if there were fewer rounds once
    user.save()
    AuditEntry.objects.all().delete()

    APIClient().login(username="alice", password="password")

    assert not AuditEntry.objects.exists()


# Secrets ----------------------------------------------------------------------------------------


def test_a_credential_is_told_as_set_changed_and_removed_and_never_itself(bot):
    lifecycle.set_credentials(bot, {"secret": WHISPER}, user=None)
    lifecycle.set_credentials(bot, {"secret": "$BOT_ECHO"}, user=None)
    lifecycle.set_credentials(bot, {"secret": ""}, user=None)
    lifecycle.set_credentials(bot, {"secret": WHISPER}, user=None)

    told = [(e.action, *changes(e)["Account password"]) for e in AuditEntry.objects.order_by("pk")]
    assert told == [
        ("credential.replaced", "set", "changed"),
        ("credential.replaced", "set", "$BOT_ECHO"),
        ("credential.removed", "$BOT_ECHO", "removed"),
        ("credential.set", "", "set"),
    ]
    assert {entry.bot for entry in AuditEntry.objects.all()} == {bot}
    assert WHISPER not in everything_told()
    assert SECRET not in everything_told()


def test_options_that_hold_secrets_are_told_without(mattermost):
    arguments = json.dumps({"headers": {"X-Key": WHISPER}})
    for proxy in (f"http://bot:{WHISPER}@proxy:3128", f"http://bot:other-{WHISPER}@proxy:3128"):
        mattermost.options = {"proxy": proxy, "websocket_arguments": arguments}
        lifecycle.space_changed(mattermost, fields=["options"])
        arguments = json.dumps({"headers": {"X-Key": "other-" + WHISPER}})

    changed, first = AuditEntry.objects.filter(action="space.changed")
    assert changes(first) == {
        "Proxy": ("", "http://proxy:3128"),
        "Extra websocket arguments": ("", "set"),
    }
    assert changes(changed) == {
        "Proxy": ("http://proxy:3128", "http://proxy:3128 (changed)"),
        "Extra websocket arguments": ("set", "changed"),
    }
    assert WHISPER not in everything_told()


def test_options_of_a_platform_that_is_gone_are_told_by_name(mattermost):
    Space.objects.update(platform="gone")
    mattermost.platform = "gone"
    mattermost.options = {"teams": "a", "api_token": WHISPER}

    lifecycle.space_changed(mattermost, fields=["options"])

    assert changes(last()) == {"teams": ("", "a"), "api_token": ("", "set")}


def test_secrets_and_paths_of_subscriptions_are_not_told(bot):
    subscription, secret = make_subscription(f"https://u:{WHISPER}@hooks.example/{WHISPER}?k=1")
    rotated = subscriptions.rotate_secret(subscription)
    with audit.changing(subscription):
        subscription.url = f"https://hooks.example/other-{WHISPER}"
        subscription.save()

    assert changes(last()) == {
        "Url": ("https://hooks.example/…", "https://hooks.example/… (changed)")
    }
    for word in (WHISPER, secret, rotated):
        assert word not in everything_told()


# Every writing operation of the API ---------------------------------------------------------------

# What becomes a job says itself who asked for it.
JOBS = {
    *("bot-presence", "bot-request", "channels", "channel-join", "channel-restore", "channel"),
    *("participants", "channel-read", "channel-typing", "channel-leave"),
    *("messages", "messages-bulk", "message", "reactions", "message-pin"),
}
NEW_BOT = {"slug": "new", "name": "New", "space": "acme"}
# Name of the path and method → path, what is sent, what the log tells of it.
WRITES: dict[tuple[str, str], tuple[str, Any, str]] = {
    ("spaces", "POST"): (
        "spaces/",
        {"slug": "b", "name": "B", "platform": "local"},
        "space.created",
    ),
    ("space", "PATCH"): ("spaces/acme/", {"name": "New name"}, "space.changed"),
    ("space", "DELETE"): ("spaces/empty/", None, "space.deleted"),
    ("bots", "POST"): ("bots/", NEW_BOT, "bot.created"),
    ("bot", "PATCH"): ("bots/echo/", {"name": "New name"}, "bot.changed"),
    ("bot", "DELETE"): ("bots/echo/", None, "bot.deleted"),
    ("bot-check", "POST"): ("bots/echo/check/", None, "bot.tested"),
    ("bot-start", "POST"): ("bots/echo/start/", None, "bot.started"),
    ("bot-stop", "POST"): ("bots/echo/stop/", None, "bot.stopped"),
    ("bot-reconnect", "POST"): ("bots/echo/reconnect/", None, "bot.reconnected"),
    ("bot-sync", "POST"): ("bots/echo/sync/", None, "bot.synced"),
    ("job-cancel", "POST"): ("jobs/{queued}/cancel/", None, "job.cancelled"),
    ("job-retry", "POST"): ("jobs/{failed}/retry/", None, "job.retried"),
    ("job-resolve", "POST"): ("jobs/{uncertain}/resolve/", {"as": "sent"}, "job.resolved"),
    ("subscriptions", "POST"): (
        "subscriptions/",
        {"url": "https://hooks.example/"},
        "subscription.created",
    ),
    ("subscription", "PATCH"): (
        "subscriptions/{subscription}/",
        {"name": "New name"},
        "subscription.changed",
    ),
    ("subscription", "DELETE"): ("subscriptions/{subscription}/", None, "subscription.deleted"),
    ("subscription-test", "POST"): (
        "subscriptions/{subscription}/test/",
        None,
        "subscription.tested",
    ),
    ("subscription-rotate-secret", "POST"): (
        "subscriptions/{subscription}/rotate-secret/",
        None,
        "subscription.secret_rotated",
    ),
    ("subscription-replay", "POST"): (
        "subscriptions/{subscription}/replay/",
        {"after": 0},
        "subscription.replayed",
    ),
    ("delivery-retry", "POST"): ("deliveries/{delivery}/retry/", None, "delivery.retried"),
}


def writing_operations() -> set[tuple[str, str]]:
    return {
        (pattern.name, method.upper())
        for pattern in urls.urlpatterns
        for view in [pattern.callback.cls]
        for method in ("post", "put", "patch", "delete")
        if hasattr(view, method) and method in view.http_method_names
    }


@pytest.fixture
def known(bot, receiver) -> dict[str, int]:
    """Ids of what the paths name."""
    make_space("empty")
    channel = make_channel(bot, "lobby")
    states = {"queued": WorkState.QUEUED, "failed": WorkState.FAILED}
    states["uncertain"] = WorkState.UNCERTAIN
    ids = {}
    for name, state in states.items():
        ids[name] = make_job(bot, channel).pk
        Job.objects.filter(pk=ids[name]).update(state=state)
    subscription, secret = make_subscription(receiver.url, bots=[bot])
    receiver.trust(secret)
    make_event(bot)
    postoffice.sort()
    return ids | {
        "subscription": subscription.pk,
        "delivery": Delivery.objects.first().pk,
    }


def test_every_writing_operation_is_told_or_becomes_a_job():
    told = {operation for operation in writing_operations() if operation[0] not in JOBS}

    assert told == set(WRITES)


@pytest.mark.parametrize("operation", WRITES, ids=" ".join)
def test_what_a_program_changes_is_told(operation, known):
    path, body, action = WRITES[operation]
    client = make_client()
    AuditEntry.objects.all().delete()

    answer = getattr(client, operation[1].lower())(API + path.format(**known), body, format="json")

    assert answer.status_code < 300, answer.content
    entry = AuditEntry.objects.get()
    token = ApiToken.objects.get()
    assert (entry.action, entry.door) == (action, "api")
    assert (entry.actor_label, entry.actor_key) == ("token ci", f"token:{token.pk}")


def test_a_person_who_uses_the_api_is_told_as_one(bot):
    user = make_user("root", is_superuser=True)
    client = APIClient()
    client.force_login(user)

    client.post(f"{API}bots/echo/stop/")

    assert (last().actor_label, last().door) == ("root", "api")
    assert last().actor_key == f"user:{user.pk}"


def test_what_is_refused_is_not_told(known):
    reader = make_client(scopes=["read"])
    AuditEntry.objects.all().delete()

    for (_, method), (path, body, _) in WRITES.items():
        answer = getattr(reader, method.lower())(API + path.format(**known), body, format="json")
        assert answer.status_code == 403

    assert not AuditEntry.objects.exists()


def test_messages_are_not_told(known):
    client = make_client()
    AuditEntry.objects.all().delete()

    sent = client.post(
        f"{API}bots/echo/messages/", {"channel": "lobby", "text": "hi"}, format="json"
    )

    assert sent.status_code == 202
    assert not AuditEntry.objects.exists()


def test_a_bot_made_by_a_program_is_one_entry_with_its_labels_and_one_for_its_credentials(bot):
    body = NEW_BOT | {"credentials": {"secret": WHISPER}}
    text = make_token(bots=[bot])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    AuditEntry.objects.all().delete()

    client.post(f"{API}bots/", body, format="json")

    told = {entry.action: changes(entry) for entry in AuditEntry.objects.all()}
    assert set(told) == {"bot.created", "credential.set", "token.changed"}
    assert told["bot.created"]["Name"] == ("", "New")
    assert told["token.changed"]["Bots"] == ("Echo", "Echo, New")
    assert WHISPER not in everything_told()


# Reading over REST --------------------------------------------------------------------------------


def test_programs_read_the_log_of_their_bots_and_what_they_did_themselves(bot):
    other = make_bot("treasury", name="Treasury")
    lifecycle.stop(bot)
    lifecycle.stop(other)
    lifecycle.space_changed(_renamed(bot.space), fields=["name"])
    mine = make_client(bots=[bot])
    everything = make_client()

    stops = {"action": "bot.stopped"}
    assert [e["bot"] for e in mine.get(f"{API}audit/", stops).json()["results"]] == ["echo"]
    assert "Treasury" not in mine.get(f"{API}audit/").content.decode()
    assert "space.changed" not in mine.get(f"{API}audit/").content.decode()
    found = everything.get(f"{API}audit/", stops).json()["results"]
    assert [e["bot"] for e in found] == ["treasury", "echo"]


def _renamed(space: Space) -> Space:
    space.name = "New name"
    return space


def test_an_entry_has_all_that_is_known(bot):
    bot.name = "Parrot"
    with who.acting(ALICE):
        lifecycle.changed(bot, fields=["name"], requested_by="alice")

    entry = make_client().get(f"{API}audit/", {"kind": "bot", "object": bot.pk}).json()["results"]

    assert entry[0].pop("at").endswith("Z")
    assert entry[0] == {
        "id": str(last().pk),
        "actor": "alice",
        "actor_key": "user:7",
        "door": "admin",
        "action": "bot.changed",
        "kind": "bot",
        "object_id": str(bot.pk),
        "label": "Parrot",
        "bot": "echo",
        "changes": [{"field": "Name", "before": "Echo", "after": "Parrot"}],
        "note": "",
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"actor": "alice"}, 1),
        ({"actor": "user:7"}, 1),
        ({"door": "botadmin"}, 2),
        ({"action": "bot.started"}, 1),
        ({"kind": "bot"}, 3),
        ({"bot": "echo"}, 3),
        ({"until": "2020-01-01T00:00:00Z"}, 0),
        ({"since": "2020-01-01T00:00:00Z"}, 3),
    ],
)
def test_the_log_is_filtered(query, found, bot):
    client = make_client()
    with who.acting(ALICE):
        lifecycle.stop(bot)
    lifecycle.start(bot)
    lifecycle.reconnect(bot)

    answer = client.get(f"{API}audit/", query)

    assert len(answer.json()["results"]) == found


@pytest.mark.parametrize(
    "query",
    [{"door": "window"}, {"since": "x"}, {"object": "1"}, {"bot": "nobody"}, {"kind": "\0"}],
)
def test_a_filter_that_makes_no_sense_is_told_so(query):
    assert make_client().get(f"{API}audit/", query).status_code == 400


def test_reading_takes_as_many_queries_for_many_entries_as_for_one(
    bot, settings, django_assert_num_queries
):
    settings.BOTADMIN_RECENT_SECONDS = 0
    client = make_client()
    lifecycle.stop(bot)
    client.get(f"{API}audit/")

    with django_assert_num_queries(2):  # who asks, and the entries
        client.get(f"{API}audit/")
    for _ in range(20):
        lifecycle.reconnect(bot)
    with django_assert_num_queries(2):
        client.get(f"{API}audit/")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nobody_changes_the_log_over_rest(method):
    assert getattr(make_client(), method)(f"{API}audit/").status_code == 405


# Keeping ----------------------------------------------------------------------------------------


def _aged(days: int) -> None:
    AuditEntry.objects.update(at=F("at") - timedelta(days=days))


def test_the_log_is_kept_for_ever(bot):
    lifecycle.stop(bot)
    _aged(10_000)

    retention.prune()

    assert AuditEntry.objects.exists()


def test_the_log_is_kept_as_long_as_the_operators_say(bot, settings):
    settings.BOTADMIN_KEEP_AUDIT_DAYS = 30
    lifecycle.stop(bot)
    _aged(31)
    lifecycle.start(bot)

    retention.prune()

    assert [entry.action for entry in AuditEntry.objects.all()] == ["bot.started"]
    assert last().at > timezone.now() - timedelta(days=1)


# Once each --------------------------------------------------------------------------------------


def test_each_thing_that_is_done_is_one_entry(bot):
    job = make_job(bot, make_channel(bot))
    subscription, _ = make_subscription()

    jobs.cancel(job)
    subscriptions.pause(subscription)
    lifecycle.stop(bot)

    told = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert told == ["job.cancelled", "subscription.paused", "bot.stopped"]


def test_a_subscription_that_is_off_is_not_paused_once_more(bot):
    subscription, _ = make_subscription(enabled=False)

    subscriptions.pause(subscription)

    assert not Subscription.objects.get(pk=subscription.pk).enabled
    assert not AuditEntry.objects.filter(action="subscription.paused").exists()
