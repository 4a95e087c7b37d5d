"""The page of a bot in a real browser: it follows by itself, tests step by step, steers lanes."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from botadmin.tests.browser import in_both_looks
from bots import clients
from bots.connections import states
from bots.models import Bot, Credential, Job, Lane, State, WorkState
from bots.tests.builders import SECRET, make_bot, make_channel, make_job, run_lanes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WRONG = "not-the-password-42"


@pytest.fixture
def bot() -> Bot:
    return make_bot("echo")


def test_the_page_follows_the_connection(browser, bot):
    browser.open("bots_bot_change", bot.pk)
    expect(browser.text("Waiting for a process to take it.").first).to_be_visible()

    reason = "The settings cannot work."
    states.move(bot.connection, State.MISCONFIGURED, fence=None, reason=reason)

    expect(browser.page.locator("#bot-state").get_by_text(reason)).to_be_visible()


def test_a_test_is_seen_step_by_step(browser, bot):
    page = browser.page
    browser.open("bots_bot_change", bot.pk)

    browser.press("Test")

    steps = page.locator("#test li")
    expect(steps.last).to_contain_text("The test is over")
    told = steps.all_text_contents()
    assert told[0].endswith("Logging in …")
    assert told[1].endswith("Logged in as echo.")
    expect(page.locator("#test")).to_be_focused()


def test_credentials_are_replaced_in_two_steps(browser, bot):
    page = browser.page
    browser.open("bots_bot_change", bot.pk)
    browser.follow("Replace")

    page.get_by_label("Account password").first.fill(WRONG)
    browser.press("Check them")
    expect(browser.text("Nothing was changed")).to_be_visible()
    assert WRONG not in page.content()

    page.get_by_label("Account password").first.fill(SECRET)
    browser.press("Check them")
    expect(browser.text("Logged in as echo")).to_be_visible()
    assert SECRET not in page.content()
    browser.press("Use it from now on")

    expect(browser.text("uses the new credentials")).to_be_visible()
    assert Credential.objects.get().changed_by.get_username() == "alice"
    clients.close_idle(older_than=0)


def test_what_the_form_would_not_offer_stays_until_it_is_taken_away(browser, bot):
    stored = {"command_prefix": "", "event_handling": "by_moonlight", "carrier": "pigeon"}
    Bot.objects.update(options=stored, handlers=["retired"])
    page = browser.page
    browser.open("bots_bot_change", bot.pk)

    browser.press("Save and continue editing")
    expect(browser.text("was changed successfully")).to_be_visible()
    bot.refresh_from_db()
    assert (bot.options, bot.handlers) == (stored, ["retired"])

    page.get_by_label("retired (not installed here)").uncheck()
    page.get_by_label("Commands begin with: nothing at all").uncheck()
    page.get_by_label("carrier").select_option("Remove it")
    assert browser.barriers() == []
    browser.press("Save and continue editing")
    expect(page.get_by_label("carrier")).to_have_count(0)
    bot.refresh_from_db()
    assert (bot.options, bot.handlers) == ({"event_handling": "by_moonlight"}, [])


def test_a_lane_is_paused_with_the_keyboard(browser, bot):
    job = make_job(bot, make_channel(bot))
    page = browser.page
    browser.open("bots_bot_change", bot.pk)

    page.locator("#bot-work").get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#bot-work").get_by_text("Paused by alice since")).to_be_visible()
    run_lanes()
    assert Job.objects.get(pk=job.pk).state == WorkState.QUEUED


def test_a_lane_is_emptied_to_its_end(browser, bot, monkeypatch):
    monkeypatch.setattr("bots.jobs.CANCELLED_AT_ONCE", 2)
    monkeypatch.setattr("bots.admin.lane.CANCELLING_SECONDS", 0)
    channel = make_channel(bot)
    for _ in range(5):
        make_job(bot, channel)
    browser.open("bots_lane_change", Lane.objects.get().pk)

    browser.follow("Cancel all that waits")
    browser.press("Cancel 5 jobs")

    expect(browser.text("5 of 5 jobs are cancelled.", exact=False)).to_be_visible()
    expect(browser.page.get_by_role("link", name="To the lane")).to_be_visible()
    assert set(Job.objects.values_list("state", flat=True)) == {WorkState.CANCELLED}


@in_both_looks
def test_nobody_is_kept_out(browser, bot, dark, phone):
    make_job(bot, make_channel(bot))
    lane = Lane.objects.get()
    browser.look(dark=dark, phone=phone)
    for name, pk in (
        ("bots_bot_change", bot.pk),
        ("bots_bot_credentials", bot.pk),
        ("bots_lane_change", lane.pk),
        ("bots_lane_cancel", lane.pk),
    ):
        browser.open(name, pk)
        assert browser.barriers() == [], name
        assert browser.overflow() == 0, name
