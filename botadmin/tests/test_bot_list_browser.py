"""The list of bots in a real browser: it follows by itself, and much is done with a few clicks."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from botadmin.tests.browser import Browser, in_both_looks
from bots import bulk_actions, labels, lifecycle, tasks
from bots.models import Bot, BulkAction, BulkKind
from bots.tests.builders import make_bot, make_channel, make_job, run_lanes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SECRET = "open-sesame-42"


def choose(browser: Browser, action: str, *names: str) -> None:
    for name in names:
        row = browser.page.get_by_role("row").filter(has_text=name)
        row.get_by_role("checkbox").check()
    browser.page.locator("select[name=action]").select_option(label=action)
    browser.press("Run")


def work(browser: Browser) -> None:
    """Do what waits, as a worker would."""
    tasks.work_on_bulk_action(BulkAction.objects.latest("pk").pk)
    run_lanes()
    tasks.sweep()


def test_the_list_follows_and_keeps_what_is_ticked(browser):
    echo = make_bot("echo")
    browser.open("bots_bot_changelist")
    row = browser.page.get_by_role("row").filter(has_text="Echo")
    row.get_by_role("checkbox").check()

    lifecycle.stop(echo)

    expect(row.get_by_text("The bot is switched off.")).to_be_visible()
    expect(row.get_by_role("checkbox")).to_be_checked()


def test_many_are_stopped_after_a_question_and_the_page_follows(browser):
    for name in ("echo", "bell", "gong"):
        make_bot(name)
    browser.open("bots_bot_changelist")

    choose(browser, "Stop", "Echo", "Bell")
    expect(browser.text("Stop 2 bots?")).to_be_visible()
    browser.press("Stop them")
    expect(browser.page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "0")
    work(browser)

    expect(browser.page.locator("#bulk-action").get_by_text("2 done. Finished.")).to_be_visible()
    assert [bot.slug for bot in Bot.objects.filter(enabled=True)] == ["gong"]


def test_what_failed_is_tried_again_with_one_press(browser):
    echo = make_bot("echo")
    lifecycle.stop(echo)
    browser.open("bots_bot_changelist")

    choose(browser, "Reconnect", "Echo")
    work(browser)
    expect(browser.page.locator("#bulk-action").get_by_text("1 failed. Finished.")).to_be_visible()
    lifecycle.start(echo)
    browser.press("Retry the failed")
    work(browser)

    expect(browser.page.locator("#bulk-action").get_by_text("1 done. Finished.")).to_be_visible()


def test_a_new_credential_is_tried_and_never_shown(browser):
    make_bot("echo")
    browser.open("bots_bot_changelist")

    choose(browser, "Rotate: new credentials", "Echo")
    browser.page.get_by_label("Echo (echo)").fill(SECRET)
    browser.press("Try and replace")
    work(browser)

    expect(browser.text("The old one stays in use.")).to_be_visible()
    assert SECRET not in browser.page.content()


def test_labels_are_suggested_after_each_comma(browser):
    labels.put_on(make_bot("bell"), ["ops", "sales"])
    echo = make_bot("echo")
    browser.open("bots_bot_change", echo.pk)

    field = browser.page.get_by_label("Labels")
    field.press_sequentially("ops, ")

    suggestions = browser.page.locator("#labels-known option")
    expect(suggestions).to_have_count(1)
    assert suggestions.get_attribute("value") == "ops, sales"


def test_a_filter_is_a_click_on_a_label(browser):
    labels.put_on(make_bot("bell"), ["ops"])
    make_bot("echo")
    browser.open("bots_bot_changelist")

    browser.follow("ops")

    expect(browser.page.get_by_role("link", name="Bell")).to_be_visible()
    expect(browser.page.get_by_role("link", name="Echo")).to_have_count(0)


def test_a_phone_shows_many_at_once_each_with_its_state_and_what_waits(browser):
    names = ("bell", "chime", "drum", "echo", "fife", "gong", "harp")
    bell, *_ = [make_bot(name) for name in names]
    browser.look(phone=True)
    browser.open("bots_bot_changelist")
    rows = browser.page.locator("#result_list tbody tr")
    first = rows.filter(has_text="Bell")

    lifecycle.stop(bell)
    make_job(bell, make_channel(bell))

    expect(first.get_by_text("The bot is switched off. Press Start.")).to_be_visible()
    expect(first.get_by_role("link", name="1 queued")).to_be_visible()
    expect(rows.nth(5)).to_be_in_viewport(ratio=1)
    expect(first.get_by_text("Acme")).to_be_hidden()

    choose(browser, "Stop", "Chime", "Drum")
    expect(browser.text("Stop 2 bots?")).to_be_visible()


@in_both_looks
def test_everybody_can_use_these_pages(dark, phone, browser):
    echo = make_bot("echo", name="A bot whose name is longer than most, which must not be cut")
    labels.put_on(echo, ["ops", "night shift", "berlin office", "a label of many letters"])
    lifecycle.stop(echo)
    action = bulk_actions.ask(BulkKind.RECONNECT, [echo], user=User.objects.get())
    tasks.work_on_bulk_action(action.pk)
    browser.look(dark=dark, phone=phone)

    browser.open("bots_bot_changelist")
    assert (browser.barriers(), browser.overflow()) == ([], 0)
    for kind in ("Stop", "Rotate: new credentials"):
        browser.open("bots_bot_changelist")
        choose(browser, kind, "A bot")
        assert (browser.barriers(), browser.overflow()) == ([], 0), kind
    for name, arguments in (
        ("bots_bulkaction_change", [action.pk]),
        ("bots_bulkaction_changelist", []),
    ):
        browser.open(name, *arguments)
        assert (browser.barriers(), browser.overflow()) == ([], 0), name
