"""The list of bots: what it says, how it is narrowed down, and what is done with many."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import bulk_actions, labels, lifecycle, tasks
from bots.admin import bot_rotation
from bots.models import Bot, BulkAction, Connection, Credential, Job, Label, State
from bots.tests import cast
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_client,
    make_job,
    make_space,
    run_lanes,
)

pytestmark = pytest.mark.django_db

LIST = "admin:bots_bot_changelist"
NEW = "a new password"


@pytest.fixture
def echo() -> Bot:
    return make_bot("echo")


@pytest.fixture
def bell() -> Bot:
    return make_bot("bell", space=make_space("belfry", name="Belfry"))


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def listed(client: Client, **query: str) -> set[str]:
    """The slugs that the list shows."""
    answer = client.get(reverse(LIST, query=query))
    assert answer.status_code == 200
    return {bot.slug for bot in answer.context["cl"].result_list}


def choose(client: Client, action: str, *bots: Bot, url: str = "", **more: Any) -> Any:
    chosen = {"action": action, "_selected_action": [bot.pk for bot in bots], **more}
    return client.post(url or reverse(LIST), chosen)


def follow_url(*bots: Bot) -> str:
    query = {"bots": "-".join(str(bot.pk) for bot in bots)}
    return reverse("admin:bots_bot_follow", query=query)


# What it says -----------------------------------------------------------------------------------


def test_it_says_how_a_bot_is_and_what_to_do(echo):
    lifecycle.stop(echo)

    page = text_of(cast.root().get(reverse(LIST)))

    assert "The bot is switched off." in page
    assert "Press Start." in page


def test_it_says_how_many_jobs_are_queued_and_for_how_long(echo):
    channel = make_channel(echo)
    run_lanes()
    Job.objects.all().delete()
    for _ in range(2):
        make_job(echo, channel)
    put_off = make_job(echo, channel, not_before=timezone.now() + timedelta(days=1))
    under_way = make_job(echo, channel)
    Job.objects.update(created_at=timezone.now() - timedelta(minutes=3))
    an_hour_ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=put_off.pk).update(created_at=an_hour_ago)
    Job.objects.filter(pk=under_way.pk).update(state="running", created_at=an_hour_ago)

    root = cast.root()
    page = text_of(root.get(reverse(LIST)))

    assert "3 queued" in page
    assert "for 3 min" in page
    (link,) = re.findall(r'href="([^"]+)">3 queued', page)
    shown = root.get(link).context["cl"].result_list
    assert len(shown) == 3
    assert under_way not in shown


def test_what_is_only_put_off_is_for_later(echo):
    channel = make_channel(echo)
    run_lanes()
    make_job(echo, channel, not_before=timezone.now() + timedelta(days=1))

    page = text_of(cast.root().get(reverse(LIST)))

    assert "1 queued" in page
    assert "for later" in page


def test_a_crowd_is_not_counted_to_its_end(echo, monkeypatch):
    monkeypatch.setattr("bots.admin.counting.MOST", 2)
    for name in ("lobby", "hall"):
        channel = make_channel(echo, name)
        for _ in range(3):
            make_job(echo, channel)

    page = text_of(cast.root().get(reverse(LIST)))

    assert "more than 2 queued" in page
    jobs = reverse("admin:bots_job_changelist")
    assert f'href="{jobs}?bot__id__exact={echo.pk}&state__exact=queued"' in page


def test_many_bots_cost_as_many_queries_as_few(echo):
    root = cast.root()
    root.get(reverse(LIST))

    def cost() -> tuple[int, int]:
        counts = []
        for url in (reverse(LIST), follow_url(*Bot.objects.all())):
            with CaptureQueriesContext(connection) as captured:
                assert root.get(url).status_code == 200
            counts.append(len(captured))
        return counts[0], counts[1]

    few = cost()
    for number in range(8):
        bot = make_bot(f"bot{number}", space=make_space(f"space{number}"))
        labels.put_on(bot, ["ops", f"label{number}"])
        make_job(bot, make_channel(bot))

    assert cost() == few


# Following --------------------------------------------------------------------------------------


def test_it_follows_what_changes(echo):
    root = cast.root()
    first = root.get(follow_url(echo))
    mark = first.headers["X-Mark"]

    assert root.get(follow_url(echo), headers={"X-Mark": mark}).status_code == 204

    lifecycle.stop(echo)
    changed = root.get(follow_url(echo), headers={"X-Mark": mark})
    assert changed.status_code == 200
    assert f'hx-swap-oob="innerHTML:#state-{echo.pk}"' in text_of(changed)
    assert "The bot is switched off." in text_of(changed)


def test_following_shows_nobody_elses_bots(echo):
    assert "hx-swap-oob" not in text_of(cast.charlie().get(follow_url(echo)))


@pytest.mark.parametrize("asked", ["", "x", "-", "9" * 30, "1-" * 500, "\x00", "²"])
def test_nonsense_is_followed_without_a_fault(asked, echo):
    url = reverse("admin:bots_bot_follow", query={"bots": asked})

    assert cast.root().get(url).status_code == 200


# Finding ----------------------------------------------------------------------------------------


def test_the_state_that_is_shown_is_the_one_to_filter_by(echo, bell):
    past = timezone.now() - timedelta(minutes=1)
    for bot in (echo, bell):
        Connection.objects.filter(bot=bot).update(
            state=State.LIVE, holder="gone", lease_until=past, generation=bot.generation
        )
    lifecycle.stop(bell)
    root = cast.root()

    assert listed(root, state="live") == set()
    assert listed(root, state="stale") == {"echo"}
    assert listed(root, state="off") == {"bell"}
    assert listed(root, state="nonsense") == {"echo", "bell"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"label": "ops"}, {"echo"}),
        ({"label": "nothing"}, set()),
        ({"platform": "local"}, {"echo", "bell"}),
        ({"platform": "mattermost"}, set()),
        ({"receive__exact": "websocket"}, {"echo", "bell"}),
        ({"enabled__exact": "0"}, set()),
        ({"q": "belf"}, {"bell"}),
        ({"q": "ops"}, {"echo"}),
        ({"q": "ech"}, {"echo"}),
    ],
)
def test_bots_are_found(query, found, echo, bell):
    labels.put_on(echo, ["ops", "opsroom"])

    assert listed(cast.root(), **query) == found


def test_it_is_sorted_by_the_state_that_it_shows(echo, bell):
    Connection.objects.filter(bot=echo).update(  # it is stale by now
        state=State.LIVE, lease_until=timezone.now() - timedelta(minutes=1)
    )
    Connection.objects.filter(bot=bell).update(
        state=State.RECONNECTING, lease_until=timezone.now() + timedelta(minutes=1)
    )

    root = cast.root()

    upwards = root.get(reverse(LIST, query={"o": "2"})).context["cl"].result_list
    downwards = root.get(reverse(LIST, query={"o": "-2"})).context["cl"].result_list

    assert [bot.slug for bot in upwards] == ["bell", "echo"]
    assert [bot.slug for bot in downwards] == ["echo", "bell"]


@pytest.mark.parametrize("order", ["1", "-1", "2", "3", "-5", "99", "x"])
def test_it_can_be_sorted(order, echo, bell):
    assert listed(cast.root(), o=order) == {"echo", "bell"}


# Labels -----------------------------------------------------------------------------------------


FORM = {"name": "Echo", "receive": "websocket", "enabled": "on", "permissions": ["post"]}


def enter_labels(client: Client, bot: Bot, text: str) -> Any:
    url = reverse("admin:bots_bot_change", args=[bot.pk])
    return client.post(url, FORM | {"read_receipts": "on", "label_words": text})


def labels_of(bot: Bot) -> list[str]:
    return [label.name for label in bot.labels.all()]


def test_labels_are_entered_with_commas_between_them(echo):
    answer = enter_labels(cast.root(), echo, " Ops,night  shift,, ops ")

    assert answer.status_code == 302
    assert labels_of(echo) == ["night shift", "ops"]


def test_deleting_comes_last_and_says_that_nothing_happens_on_the_platform(echo):
    root = cast.root()
    offered = text_of(root.get(reverse(LIST)))
    assert offered.index('value="rotate_chosen"') < offered.index('value="delete_selected"')

    asked = text_of(choose(root, "delete_selected", echo))

    assert "Nothing happens on the platform" in asked
    assert Bot.objects.filter(pk=echo.pk).exists()
    alone = text_of(root.get(reverse("admin:bots_bot_delete", args=[echo.pk])))
    assert "Nothing happens on the platform" in alone


def test_a_label_goes_with_its_bot_when_that_is_deleted(echo, bell):
    labels.put_on(echo, ["night", "ops"])
    labels.put_on(bell, ["ops"])

    lifecycle.delete(echo)

    assert [label.name for label in Label.objects.all()] == ["ops"]


def test_a_label_goes_with_its_last_bot(echo, bell):
    labels.put_on(echo, ["ops"])
    labels.put_on(bell, ["ops"])
    root = cast.root()

    enter_labels(root, echo, "")
    assert Label.objects.filter(name="ops").exists()

    lifecycle.delete(bell)
    enter_labels(root, echo, "sales")
    assert [label.name for label in Label.objects.all()] == ["sales"]


@pytest.mark.parametrize("text", ["x" * 51, ",".join(map(str, range(21))), "a\x07b"])
def test_labels_that_do_not_fit_are_an_error_of_the_form(text, echo):
    answer = enter_labels(cast.root(), echo, text)

    assert answer.status_code == 200
    assert "label" in str(answer.context["errors"])
    assert labels_of(echo) == []


def test_only_labels_of_ones_own_bots_are_suggested(echo, bell):
    labels.put_on(echo, ["ops"])
    labels.put_on(bell, ["secret plan"])

    answer = cast.bob(echo).get(reverse("admin:bots_bot_labels"))

    assert answer.json() == {"labels": ["ops"]}


def test_programs_set_labels_and_find_bots_by_them(echo, bell):
    client = make_client()

    changed = client.patch("/api/v1/bots/echo/", {"labels": ["Sales", "ops"]}, format="json")
    found = client.get("/api/v1/bots/?label=OPS").json()["results"]

    assert changed.json()["labels"] == ["ops", "sales"]
    assert [bot["slug"] for bot in found] == ["echo"]
    assert Bot.objects.get(slug="echo").generation == echo.generation  # nobody connects anew


def test_programs_are_told_which_labels_do_not_fit(echo):
    answer = make_client().patch("/api/v1/bots/echo/", {"labels": ["a,b"]}, format="json")

    assert answer.status_code == 400
    assert "commas" in answer.content.decode()


# Many at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["start_chosen", "reconnect_chosen", "sync_chosen"])
def test_what_harms_nobody_begins_at_once(action, echo, bell):
    answer = choose(cast.root(), action, echo, bell)

    begun = BulkAction.objects.get()
    assert answer.url == reverse("admin:bots_bulkaction_change", args=[begun.pk])
    assert begun.items.count() == 2
    assert begun.requested_by == "root"


def test_stopping_asks_first_and_names_the_bots(echo, bell):
    root = cast.root()

    asked = choose(root, "stop_chosen", echo, bell)

    assert "Stop 2 bots?" in text_of(asked)
    assert "Echo" in text_of(asked)
    assert not BulkAction.objects.exists()

    answer = root.post(reverse("admin:bots_bot_stop_many"), {"bots": asked.context["bots"]})
    tasks.work_on_bulk_action(BulkAction.objects.get().pk)

    assert "Stop bots: 2 of 2" in text_of(root.get(answer.url))
    assert not Bot.objects.filter(enabled=True).exists()


def test_all_that_match_the_filter_are_meant_when_one_says_so(echo, bell):
    labels.put_on(echo, ["ops"])
    url = reverse(LIST, query={"label": "ops"})

    choose(cast.root(), "sync_chosen", echo, url=url, select_across="1")

    assert [item.bot for item in BulkAction.objects.get().items.all()] == [echo]


@pytest.mark.parametrize("bots", ["", "x", "0", "9" * 30, "0,,\x00"])
def test_with_nonsense_nothing_begins(bots, echo):
    root = cast.root()
    for name in ("stop_many", "rotate_many"):
        answer = root.post(reverse(f"admin:bots_bot_{name}"), {"bots": bots})
        assert answer.url == reverse(LIST)

    assert not BulkAction.objects.exists()


def test_more_bots_than_a_form_may_name_are_refused(echo):
    root = cast.root()
    for name in ("stop_many", "rotate_many"):
        answer = root.post(
            reverse(f"admin:bots_bot_{name}"), {"bots": ",".join(map(str, range(300_000)))}
        )
        assert "At most 10,000 bots at once." in text_of(root.get(answer.url))

    assert not BulkAction.objects.exists()


def test_bots_of_others_are_left_out(echo, bell):
    client = cast.alice(echo)

    client.post(reverse("admin:bots_bot_stop_many"), {"bots": f"{echo.pk},{bell.pk}"})

    assert [item.bot for item in BulkAction.objects.get().items.all()] == [echo]


def test_who_may_only_look_begins_nothing(echo):
    bob = cast.bob(echo)

    for action in ("start_chosen", "stop_chosen", "sync_chosen", "rotate_chosen"):
        choose(bob, action, echo)
    for name in ("stop_many", "rotate_many"):
        answer = bob.post(reverse(f"admin:bots_bot_{name}"), {"bots": str(echo.pk)})
        assert answer.status_code == 403

    assert not BulkAction.objects.exists()
    assert 'name="_selected_action"' not in text_of(bob.get(reverse(LIST)))


# Rotating ---------------------------------------------------------------------------------------


def rotate(client: Client, *bots: Bot, **entered: str) -> Any:
    asked = {"bots": ",".join(str(bot.pk) for bot in bots), "entered": "yes", **entered}
    return client.post(reverse("admin:bots_bot_rotate_many"), asked)


def test_there_is_a_field_for_each_bot(echo, bell):
    page = text_of(choose(cast.root(), "rotate_chosen", echo, bell))

    assert page.count('type="password"') == 2
    assert "Echo (echo)" in page
    assert "Account password" in page


def test_values_come_from_fields_and_from_lines(echo, bell, monkeypatch):
    monkeypatch.setenv("BOT_BELL", SECRET)
    root = cast.root()

    answer = rotate(root, echo, bell, **{f"value_{echo.pk}": NEW, "lines": "bell  $BOT_BELL\n\n"})
    tasks.work_on_bulk_action(BulkAction.objects.get().pk)

    page = text_of(root.get(answer.url))
    assert "1 done, 1 failed" in page
    assert "The old one stays in use." in page
    assert NEW not in page
    assert Credential.objects.get(bot=bell).reference == "$BOT_BELL"


def test_a_bot_left_empty_is_left_alone(echo, bell):
    rotate(cast.root(), echo, bell, **{f"value_{echo.pk}": NEW, f"value_{bell.pk}": "  "})

    assert [item.bot for item in BulkAction.objects.get().items.all()] == [echo]


def test_of_another_file_only_the_first_lines_are_told(echo):
    answer = rotate(cast.root(), echo, lines="a line\n" * 100_000)

    page = text_of(answer)
    assert page.count("does not begin with the slug") == 20
    assert "Line 21 and those after it were not read." in page


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "Nothing was entered."),
        ("nobody hunter2", "Line 1 does not begin with the slug"),
        ("echo", "Line 1 has no value"),
        ("echo hunter2\necho hunter2", "Line 2 is about echo"),
        ("echo $" + "hunter2" * 40, "a reference has at most"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_entered_is_shown_again(lines, told, echo):
    answer = rotate(cast.root(), echo, lines=lines)

    assert answer.status_code == 200
    assert told in text_of(answer)
    assert "hunter2" not in text_of(answer)
    assert not BulkAction.objects.exists()


def test_for_very_many_bots_there_are_the_lines(echo, bell, monkeypatch):
    monkeypatch.setattr(bot_rotation, "FIELDS", 1)

    page = text_of(choose(cast.root(), "rotate_chosen", echo, bell))

    assert page.count('type="password"') == 1
    assert "1 more has no field of their own" in page


# The page of a bulk action ----------------------------------------------------------------------


def begun_with(client: Client, action: str, *bots: Bot) -> BulkAction:
    choose(client, action, *bots)
    begun = BulkAction.objects.latest("pk")
    tasks.work_on_bulk_action(begun.pk)
    return begun


def page_of(action: BulkAction) -> str:
    return reverse("admin:bots_bulkaction_change", args=[action.pk])


def test_its_page_has_the_failed_first_and_tries_them_again(echo, bell):
    lifecycle.stop(echo)
    root = cast.root()
    action = begun_with(root, "reconnect_chosen", bell, echo)

    page = text_of(root.get(page_of(action)))
    assert page.index("The bot is switched off.") < page.index("It connects anew.")
    assert "Retry the failed" in page

    answer = root.post(reverse("admin:bots_bulkaction_retry", args=[action.pk]))
    again = BulkAction.objects.latest("pk")
    assert answer.url == page_of(again)
    assert [item.bot for item in again.items.all()] == [echo]
    page = text_of(root.get(page_of(action)))
    assert str(again) in page
    assert "Retry the failed" not in page  # it has a page of its own


def test_its_page_follows_until_it_is_over(echo):
    root = cast.root()
    action = begun_with(root, "sync_chosen", echo)
    url = reverse("admin:bots_bulkaction_follow", args=[action.pk])
    assert "hx-get" in text_of(root.get(url))

    run_lanes()
    tasks.sweep()

    over = text_of(root.get(url))
    assert "1 done. Finished." in over
    assert "hx-get" not in over


def test_an_operator_counts_their_own_bots_only(echo, bell):
    action = begun_with(cast.root(), "sync_chosen", echo, bell)
    bob = cast.bob(echo)

    page = text_of(bob.get(page_of(action)))

    assert "Sync bots: 0 of 1" in page
    assert "Bell" not in page
    assert "Retry the failed" not in page
    rows = bob.get(reverse("admin:bots_bulkaction_changelist")).context["cl"].result_list
    assert [row.progress.total for row in rows] == [1]


def test_an_operator_is_told_nothing_of_what_was_done_with_other_bots(echo, bell):
    lifecycle.stop(bell)
    root = cast.root()
    action = begun_with(root, "reconnect_chosen", echo, bell)
    waits = begun_with(root, "sync_chosen", bell)
    BulkAction.objects.filter(pk=action.pk).update(finished_at=None)
    again = bulk_actions.retry(action, user=User.objects.get(username="root"))
    bob = cast.bob(echo)

    assert str(again) not in text_of(bob.get(page_of(action)))
    listed = text_of(bob.get(reverse("admin:bots_bulkaction_changelist")))
    assert "under way" not in listed
    assert page_of(waits) not in listed


def test_the_page_of_a_job_leads_to_the_bulk_action(echo):
    root = cast.root()
    action = begun_with(root, "sync_chosen", echo)
    run_lanes()

    page = text_of(root.get(reverse("admin:bots_job_change", args=[Job.objects.get().pk])))

    assert page_of(action) in page
    assert "succeeded" in page


def test_for_who_sees_none_of_its_bots_it_does_not_exist(echo):
    action = begun_with(cast.root(), "sync_chosen", echo)
    charlie = cast.charlie()

    assert charlie.get(page_of(action)).status_code == 302  # as the admin says: not there
    for name, method in (("follow", charlie.get), ("retry", charlie.post)):
        url = reverse(f"admin:bots_bulkaction_{name}", args=[action.pk])
        assert method(url).status_code == 404


def test_who_may_only_look_retries_nothing(echo):
    lifecycle.stop(echo)
    action = begun_with(cast.root(), "reconnect_chosen", echo)

    answer = cast.bob(echo).post(reverse("admin:bots_bulkaction_retry", args=[action.pk]))

    assert answer.status_code == 403
    assert BulkAction.objects.count() == 1


def test_many_results_cost_as_many_queries_as_few(echo):
    root = cast.root()

    def cost(action: BulkAction) -> tuple[int, int]:
        counts = []
        for url in (page_of(action), reverse("admin:bots_bulkaction_changelist")):
            with CaptureQueriesContext(connection) as captured:
                assert root.get(url).status_code == 200
            counts.append(len(captured))
        return counts[0], counts[1]

    few = begun_with(root, "sync_chosen", echo)
    cost(few)
    cheap = cost(few)
    bots = [make_bot(f"bot{number}") for number in range(6)]
    many = begun_with(root, "sync_chosen", *bots)
    begun_with(root, "sync_chosen", *bots)

    assert cost(many) == cheap
