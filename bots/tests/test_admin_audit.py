"""The audit log in the admin: each door has its entry, and who reads them."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import bulk_actions, job_groups, lifecycle, postoffice, who
from bots.admin.audit import ACTIONS
from bots.job_groups import Wanted
from bots.models import (
    ApiToken,
    AuditEntry,
    Bot,
    BulkAction,
    BulkItem,
    BulkKind,
    Delivery,
    GroupKind,
    HandlerRun,
    ItemState,
    Job,
    Lane,
    LaneKind,
    WorkState,
)
from bots.tests import cast
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_person,
    make_space,
    make_subscription,
    make_token,
    make_user,
    run_lanes,
)
from bots.who import By, Door
from spaces.models import Channel

pytestmark = pytest.mark.django_db

LIST = reverse("admin:bots_auditentry_changelist")
ALICE = By(label="alice", key="user:7", door=Door.ADMIN)

# Each door through which the admin changes something ---------------------------------------------

BOT_FORM = {
    "name": "New name",
    "receive": "websocket",
    "enabled": "on",
    "read_receipts": "on",
    "permissions": ["post"],
}
SPACE_FORM = {"name": "New name", "slug": "new"}
SUBSCRIPTION_FORM = {
    "name": "New name",
    "url": "https://hooks.example/new",
    "all_bots": "on",
    "all_channels": "on",
}
TOKEN_FORM = {"name": "new name", "scopes": ["read"], "all_bots": "on"}
USER_FORM = {"username": "renamed", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
PASSWORDS = {"password1": "a-long-Word-42", "password2": "a-long-Word-42"}
SURE = {"post": "yes"}

# `model what name` → what is sent, and what the log tells then.
DOORS: dict[str, tuple[dict[str, Any], str]] = {
    "bots.Bot add": (
        BOT_FORM | {"slug": "new", "credential_secret": SECRET, "do": "anyway"},
        "bot.created",
    ),
    "bots.Bot change": (BOT_FORM, "bot.changed"),
    "bots.Bot delete": (SURE, "bot.deleted"),
    "bots.Bot press test": ({}, "bot.tested"),
    "bots.Bot press start": ({}, "bot.started"),
    "bots.Bot press stop": ({}, "bot.stopped"),
    "bots.Bot press reconnect": ({}, "bot.reconnected"),
    "bots.Bot press sync": ({}, "bot.synced"),
    "bots.Bot action start_chosen": ({}, "bot.started"),
    "bots.Bot action reconnect_chosen": ({}, "bot.reconnected"),
    "bots.Bot action sync_chosen": ({}, "bot.synced"),
    "bots.Bot action delete_selected": (SURE, "bot.deleted"),
    "bots.Bot page stop_many": ({"bots": "{bot}"}, "bot.stopped"),
    "bots.Bot page test": ({}, "bot.tested"),
    "bots.Bot page lane": ({}, "lane.paused"),
    "bots.BulkAction page retry": ({}, "bot.reconnected"),
    "bots.Delivery press retry": ({}, "delivery.retried"),
    "bots.Delivery action retry_chosen": ({}, "delivery.retried"),
    "bots.HandlerRun press retry": ({}, "handler_run.retried"),
    "bots.HandlerRun action retry_chosen": ({}, "handler_run.retried"),
    "bots.Job press retry": ({}, "job.retried"),
    "bots.Job press cancel": ({}, "job.cancelled"),
    "bots.Job press resolve-sent": ({}, "job.resolved"),
    "bots.Job press resolve-not-sent": ({}, "job.resolved"),
    "bots.Job action retry_chosen": ({}, "job.retried"),
    "bots.Job page all": ({}, "job.cancelled"),
    "bots.Lane press pause": ({}, "lane.paused"),
    "bots.Lane press resume": ({}, "lane.resumed"),
    "bots.Lane press drain": ({}, "lane.drained"),
    "bots.Lane action pause_chosen": ({}, "lane.paused"),
    "bots.Lane action resume_chosen": ({}, "lane.resumed"),
    "bots.Lane action drain_chosen": ({}, "lane.drained"),
    "bots.Lane page cancel": ({"newest": "99999"}, "lane.cancelled"),
    "bots.Subscription add": (SUBSCRIPTION_FORM, "subscription.created"),
    "bots.Subscription change": (SUBSCRIPTION_FORM, "subscription.changed"),
    "bots.Subscription delete": (SURE, "subscription.deleted"),
    "bots.Subscription press test": ({}, "subscription.tested"),
    "bots.Subscription press pause": ({}, "subscription.paused"),
    "bots.Subscription press resume": ({}, "subscription.resumed"),
    "bots.Subscription action pause_chosen": ({}, "subscription.paused"),
    "bots.Subscription action resume_chosen": ({}, "subscription.resumed"),
    "bots.Subscription action delete_selected": (SURE, "subscription.deleted"),
    "bots.Subscription page rotate": ({"once": ""}, "subscription.secret_rotated"),
    "bots.Subscription page replay": ({"after": "0", "sure": "yes"}, "subscription.replayed"),
    "bots.ApiToken add": (TOKEN_FORM, "token.created"),
    "bots.ApiToken change": (TOKEN_FORM, "token.changed"),
    "bots.ApiToken delete": (SURE, "token.deleted"),
    "bots.ApiToken action delete_selected": (SURE, "token.deleted"),
    "spaces.Space add": (SPACE_FORM, "space.created"),
    "spaces.Space change": (SPACE_FORM, "space.changed"),
    "spaces.Space delete": (SURE, "space.deleted"),
    "spaces.Space action delete_selected": (SURE, "space.deleted"),
    "auth.User add": (PASSWORDS | {"username": "new", "usable_password": "true"}, "user.created"),
    "auth.User change": (USER_FORM, "user.changed"),
    "auth.User delete": (SURE, "user.deleted"),
    "auth.User action delete_selected": (SURE, "user.deleted"),
    "auth.User page password_change": (PASSWORDS | {"usable_password": "true"}, "user.changed"),
    "auth.Group add": ({"name": "new"}, "group.created"),
    "auth.Group change": ({"name": "new"}, "group.changed"),
    "auth.Group delete": (SURE, "group.deleted"),
    "auth.Group action delete_selected": (SURE, "group.deleted"),
}
# They ask, and one of the above does it.
ASK_FIRST = {
    "bots.Bot action stop_chosen",
    "bots.Bot action rotate_chosen",
    "bots.Job action cancel_chosen",
}
# They have steps; stories of their own are below.
IN_STEPS = {
    "bots.Bot page credentials",
    "bots.Bot page rotate_many",
    "bots.JobGroup page undo",
    "bots.JobGroup press cancel",
    "bots.JobGroup press retry",
    "bots.JobGroup press run",
    "bots.JobGroup press take-up",
}
# Nothing changes by it but what somebody is about to do.
ONLY_PLAN = {
    "bots.JobGroup page people",
    "bots.JobGroup press check-again",
    "bots.JobGroup press leave-out",
}
BECOME_JOBS = {"bots.Bot page ask", "bots.Bot page first_channels", "bots.Bot page hello"}
ONLY_SHOW = {
    "bots.Bot page channels_found",
    "bots.Bot page follow",
    "bots.Bot page hello_now",
    "bots.Bot page labels",
    "bots.Bot page piece",
    "bots.BulkAction page follow",
    "bots.Event page trace",
    "bots.HandlerRun page trace",
    "bots.JobGroup page channels",
    "bots.JobGroup page choose",
    "bots.JobGroup page file",
    "bots.JobGroup page follow",
    "bots.JobGroup page results",
    "bots.Message page trace",
    "bots.Job page trace",
}
USUAL_PAGES = ("changelist", "add", "history", "delete", "change", "do")

ADDED_WITH = {"bots.Bot": "?space={space}", "spaces.Space": "?platform=local"}
SWITCHED_OFF = {
    "bots.Bot press start",
    "bots.Bot action start_chosen",
    "bots.Subscription press resume",
    "bots.Subscription action resume_chosen",
}
JOB_STATES = {
    "retry": WorkState.FAILED,
    "retry_chosen": WorkState.FAILED,
    "resolve-sent": WorkState.UNCERTAIN,
    "resolve-not-sent": WorkState.UNCERTAIN,
}


def doors_of_the_admin() -> set[str]:
    """All that some page can change, by what its class declares."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True, pk=1)
    found = set()
    for model, page in admin.site._registry.items():
        label = model._meta.label
        found |= {f"{label} press {name}" for name in getattr(page, "presses", {})}
        found |= {f"{label} action {name}" for name in page.get_actions(request)}
        for name in ("add", "change", "delete"):
            if getattr(page, f"has_{name}_permission")(request):
                found.add(f"{label} {name}")
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        names = {pattern.name.removeprefix(prefix) for pattern in page.get_urls() if pattern.name}
        found |= {f"{label} page {name}" for name in names - set(USUAL_PAGES)}
    return found


@dataclass
class World:
    """One row of everything that has a page."""

    bot: Bot
    rows: dict[str, Model]

    def url(self, door: str) -> str:
        label, what, *name = door.split()
        prefix = f"admin:{label.replace('.', '_').lower()}_"
        pk = self.rows[label].pk
        match what:
            case "press":
                return reverse(f"{prefix}do", args=[pk, name[0]])
            case "action":
                return reverse(f"{prefix}changelist")
            case "add":
                query = ADDED_WITH.get(label, "").format(space=self.bot.space_id)
                return reverse(f"{prefix}add") + query
            case "page" if name[0] == "stop_many":
                return reverse(f"{prefix}stop_many")
            case "page" if name[0] == "lane":
                return reverse(f"{prefix}lane", args=[pk, self.rows["bots.Lane"].pk, "pause"])
            case "page" if name[0] == "all":
                return reverse(f"{prefix}all", args=["cancel"]) + f"?id__in={pk}"
            case "page" if name[0] == "password_change":
                return reverse("admin:auth_user_password_change", args=[pk])
            case "page":
                return reverse(f"{prefix}{name[0]}", args=[pk])
        return reverse(f"{prefix}{what}", args=[pk])

    def sent(self, door: str) -> dict[str, Any]:
        label, what, *name = door.split()
        body = {
            key: value.format(bot=self.bot.pk) if isinstance(value, str) else value
            for key, value in DOORS[door][0].items()
        }
        if what == "action":
            body |= {"action": name[0], "_selected_action": [self.rows[label].pk]}
        return body


@pytest.fixture
def world(receiver) -> World:
    bot = make_bot("echo", name="Echo")
    subscription, secret = make_subscription(receiver.url, bots=[bot])
    receiver.trust(secret)
    event = make_event(bot)
    postoffice.sort()
    make_token()
    lane = Lane.objects.create(bot=bot, kind=LaneKind.HANDLERS, key="echo bot")
    again = BulkAction.objects.create(kind=BulkKind.RECONNECT, requested_by="root")
    BulkItem.objects.create(action=again, bot=bot, name="Echo", state=ItemState.FAILED)
    job = make_job(bot, make_channel(bot))
    rows = [
        bot,
        subscription,
        job,
        job.lane,
        Delivery.objects.first(),
        HandlerRun.objects.create(
            lane=lane, bot=bot, event=event, handler="echo", state=WorkState.FAILED
        ),
        again,
        ApiToken.objects.get(),
        make_space("empty"),
        make_user("dora"),
        Group.objects.create(name="night shift"),
    ]
    return World(bot=bot, rows={row._meta.label: row for row in rows})


def make_ready(world: World, door: str) -> None:
    label, _, *name = door.split()
    if door in SWITCHED_OFF:
        type(world.rows[label])._default_manager.update(enabled=False)
    if "resume" in door:
        Lane.objects.update(paused_at=timezone.now())
    if label == "bots.Job" and (state := JOB_STATES.get(name[0])):
        Job.objects.update(state=state)


def test_every_door_of_the_admin_is_known_to_the_log():
    known = {*DOORS, *ASK_FIRST, *IN_STEPS, *ONLY_PLAN, *BECOME_JOBS, *ONLY_SHOW}

    assert doors_of_the_admin() - known == set()


@pytest.mark.parametrize("door", DOORS)
def test_what_somebody_does_in_the_admin_is_told(door, world):
    root = cast.root()
    make_ready(world, door)
    AuditEntry.objects.all().delete()

    answer = root.post(world.url(door), world.sent(door))
    if answer.streaming:
        list(answer.streaming_content)
    for begun in BulkAction.objects.filter(finished_at=None):
        bulk_actions.work(begun.pk)

    assert answer.status_code < 400
    told = AuditEntry.objects.filter(action=DOORS[door][1])
    assert told.count() == 1
    entry = told.get()
    assert (entry.actor_label, entry.door) == ("root", "admin")
    assert entry.action in ACTIONS
    assert not LogEntry.objects.exists()  # one truth


def test_who_may_only_look_leaves_no_entry(world):
    bob = cast.bob(world.bot)
    AuditEntry.objects.all().delete()

    for door in DOORS:
        make_ready(world, door)
        bob.post(world.url(door), world.sent(door))

    assert not AuditEntry.objects.exists()


def test_a_form_is_one_entry_with_all_that_it_changed(world):
    group = Group.objects.get()
    AuditEntry.objects.all().delete()

    cast.root().post(
        world.url("bots.Bot change"), BOT_FORM | {"groups": [group.pk], "option_poll_seconds": "9"}
    )

    entry = AuditEntry.objects.get(action="bot.changed")
    told = {change["field"]: (change["before"], change["after"]) for change in entry.changes}
    assert told["Name"] == ("Echo", "New name")
    assert told["Groups"] == ("", "night shift")
    assert told["Poll every (s)"] == ("", "9.0")


def test_a_form_that_is_refused_is_not_told(world):
    root = cast.root()
    AuditEntry.objects.all().delete()

    answer = root.post(world.url("bots.Bot change"), BOT_FORM | {"name": ""})

    assert answer.status_code == 200
    assert not AuditEntry.objects.exists()


def test_read_receipts_are_told_once(world):
    root = cast.root()
    AuditEntry.objects.all().delete()

    root.post(
        world.url("bots.Bot change"),
        {key: value for key, value in BOT_FORM.items() if key != "read_receipts"},
    )

    told = [c["field"] for entry in AuditEntry.objects.all() for c in entry.changes]
    assert told.count("Read receipts") == 1


def test_credentials_that_are_tried_and_then_used_are_told(world):
    root = cast.root()
    page = reverse("admin:bots_bot_credentials", args=[world.bot.pk])
    AuditEntry.objects.all().delete()

    root.post(page, {"credential_secret": SECRET})
    assert not AuditEntry.objects.exists()
    root.post(page, {"use": "yes"})

    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_label) == ("credential.replaced", "root")


def test_credentials_of_many_bots_are_told_by_whoever_entered_them(world):
    root = User.objects.create_superuser("root")
    begun = bulk_actions.rotate({world.bot: {"secret": SECRET}}, user=root)
    AuditEntry.objects.all().delete()

    bulk_actions.work(begun.pk)

    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_label) == ("credential.replaced", "root")


def test_credentials_that_were_tried_and_not_used_are_told_without_their_values(world):
    root, wrong = cast.root(), "not-the-secret-42"
    page = reverse("admin:bots_bot_credentials", args=[world.bot.pk])
    user = User.objects.get(username="root")
    begun = bulk_actions.rotate({world.bot: {"secret": wrong}}, user=user)
    AuditEntry.objects.all().delete()

    root.post(page, {"credential_secret": wrong})
    bulk_actions.work(begun.pk)

    for entry in AuditEntry.objects.all():
        assert (entry.action, entry.actor_label) == ("bot.credentials_not_used", "root")
        assert (entry.bot, entry.changes) == (world.bot, [])
        assert entry.note == "secret: tried, not used (credentials_refused). The old ones stay."
    assert AuditEntry.objects.count() == 2


def test_groups_of_jobs_are_told_when_they_are_run_and_taken_back(world):
    make_person("anna", space=world.bot.space)
    wanted = Wanted(kind=GroupKind.ADD, people=["anna"], channels=[Channel.objects.get()])
    group = job_groups.ask(world.bot, wanted, requested_by="alice")
    AuditEntry.objects.all().delete()
    root = cast.root()

    for name in ("run", "undo"):
        for _ in range(5):
            job_groups.work(group.pk)
            run_lanes()
        args = [group.pk, "run"] if name == "run" else [group.pk]
        page = reverse(f"admin:bots_jobgroup_{'do' if name == 'run' else 'undo'}", args=args)
        assert root.post(page, {"sure": "yes"}).status_code == 302

    told = AuditEntry.objects.filter(kind="job_group").order_by("pk")
    assert [entry.action for entry in told] == ["job_group.run", "job_group.undone"]
    assert {(entry.actor_label, entry.bot) for entry in told} == {("root", world.bot)}


def test_somebody_changes_their_own_password(world):
    client = cast.browser(make_user("eve"))
    AuditEntry.objects.all().delete()

    client.post(
        reverse("admin:password_change"),
        {
            "old_password": "password",
            "new_password1": "a-long-Word-42",
            "new_password2": "a-long-Word-42",
        },
    )

    entry = AuditEntry.objects.get()
    assert (entry.actor_label, entry.label, entry.action) == ("eve", "eve", "user.changed")
    assert entry.changes == [{"field": "Password", "before": "set", "after": "changed"}]


def test_a_password_that_is_switched_off_and_on_again_is_told(world):
    root = cast.root()
    page = world.url("auth.User page password_change")
    AuditEntry.objects.all().delete()

    root.post(page, {"usable_password": "false", "unset-password": "yes"})
    root.post(page, PASSWORDS | {"usable_password": "true"})

    on, off = AuditEntry.objects.all()
    assert {(one.action, one.actor_label, one.label) for one in (on, off)} == {
        ("user.changed", "root", "dora")
    }
    assert off.changes == [{"field": "Password", "before": "set", "after": "removed"}]
    assert on.changes == [{"field": "Password", "before": "", "after": "set"}]


# Reading ----------------------------------------------------------------------------------------


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def page_of(entry: AuditEntry) -> str:
    return reverse("admin:bots_auditentry_change", args=[entry.pk])


def stop(bot: Bot) -> AuditEntry:
    with who.acting(ALICE):
        lifecycle.stop(bot)
    return AuditEntry.objects.latest("pk")


def test_a_page_shows_before_and_after_side_by_side(world):
    world.bot.name = "Parrot <b>"
    with who.acting(ALICE):
        lifecycle.changed(world.bot, fields=["name"], requested_by="alice")
    entry = AuditEntry.objects.latest("pk")

    page = cast.root().get(page_of(entry)).content.decode()

    assert "Echo" in page
    assert "Parrot &lt;b&gt;" in page
    assert "alice" in page
    assert reverse("admin:bots_bot_change", args=[world.bot.pk]) in page


def test_what_is_gone_is_said_to_be(world):
    root = cast.root()
    lifecycle.delete(world.bot)

    page = text_of(root.get(page_of(AuditEntry.objects.get(action="bot.deleted"))))

    assert "It is gone, or not for you." in page


def test_the_history_of_a_bot_has_its_credentials_too(world):
    lifecycle.set_credentials(world.bot, {"secret": SECRET}, user=None)
    stop(world.bot)

    page = text_of(cast.root().get(reverse("admin:bots_bot_history", args=[world.bot.pk])))

    assert "Bot stopped" in page
    assert all(word in page for word in ("Credential replaced", "Account password", "changed"))


def test_people_see_the_entries_of_their_bots_and_what_they_did(world):
    treasury = make_bot("treasury", name="Treasury")
    hidden = stop(treasury)
    seen = stop(world.bot)
    AuditEntry.objects.filter(label="dora").delete()
    for client in (cast.alice(world.bot), cast.bob(world.bot)):
        page = text_of(client.get(LIST))
        assert reverse("admin:bots_auditentry_change", args=[seen.pk]) in page
        assert "Treasury" not in page
        assert client.get(page_of(seen)).status_code == 200
        assert client.get(page_of(hidden)).status_code == 302

    charlie = cast.charlie()
    assert "Nothing was changed yet" in text_of(charlie.get(LIST))
    assert charlie.get(page_of(seen)).status_code == 302


def test_who_may_not_see_bots_does_not_see_the_log(world):
    entry = stop(world.bot)
    nobody = cast.browser(cast.person("nobody", (), world.bot))

    assert nobody.get(LIST).status_code == 403
    assert nobody.get(page_of(entry)).status_code in (302, 403)


@pytest.mark.parametrize("who_asks", ["root", "alice"])
def test_nobody_changes_or_deletes_an_entry(who_asks, world):
    entry = stop(world.bot)
    client: Client = cast.root() if who_asks == "root" else cast.alice(world.bot)

    assert client.post(page_of(entry), {"label": "other"}).status_code == 403
    delete = reverse("admin:bots_auditentry_delete", args=[entry.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert client.post(reverse("admin:bots_auditentry_add"), {}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": [entry.pk], **SURE})

    assert AuditEntry.objects.get(pk=entry.pk).label == "Echo"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("who=alice", True),
        ("who=user:7", True),
        ("who=bob", False),
        ("action=bot.stopped", True),
        ("action=bot.started", False),
        ("object=Echo", True),
        ("object=bot:{bot}", True),
        ("object=bot:99999999999999999999999", False),
        ("object=space:{bot}", False),
        ("bot__id__exact={bot}", True),
        ("door__exact=admin", True),
        ("door__exact=api", False),
        ("since=2020-01-01", True),
        ("since=2020-01-01 14:00", True),
        ("until=2020-01-01", False),
        ("q=ech", True),
        ("q=nothing", False),
    ],
)
def test_the_log_is_filtered(query, found, world):
    root = cast.root()
    AuditEntry.objects.all().delete()
    stop(world.bot)

    page = text_of(root.get(f"{LIST}?{query.format(bot=world.bot.pk)}"))

    rows = page.partition('id="changelist-form"')[2].partition('id="changelist-filter"')[0]
    assert (">alice<" in rows.replace("\n", "").replace(" ", "")) is found


@pytest.mark.parametrize("query", ["since=yesterday", "until=2026-99-99", "since=9999-12-31 23:59"])
def test_a_time_that_is_none_is_answered_as_other_nonsense(query):
    answer = cast.root().get(f"{LIST}?{query}")

    assert answer.status_code in (200, 302)


def test_the_list_takes_as_many_queries_for_many_entries_as_for_few(world):
    root = cast.root()
    stop(world.bot)
    root.get(LIST)

    def queries(url: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert root.get(url).status_code == 200
        return len(captured)

    history = reverse("admin:bots_bot_history", args=[world.bot.pk])
    few = queries(LIST), queries(history)
    for _ in range(30):
        stop(world.bot)

    assert (queries(LIST), queries(history)) == few
