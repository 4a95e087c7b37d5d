"""The admin in a real browser: what an operator does on the first day, click by click."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from botadmin.tests.browser import Browser
from bots.models import Bot, Delivery, Job, Message, Subscription
from bots.tests.builders import deliver, make_bot, make_event, make_person, run_lanes
from bots.tests.receiver import Answer, Receiver
from spaces.models import Channel, Space

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SECRET = "open-sesame-42"
LISTS = [
    "bots_bot",
    "spaces_channel",
    "bots_message",
    "bots_job",
    "bots_event",
    "bots_subscription",
    "bots_delivery",
    "spaces_space",
    "bots_apitoken",
    "spaces_person",
    "auth_user",
    "auth_group",
    "bots_handlerrun",
    "bots_lane",
    "bots_process",
]


def wait_for_state(browser: Browser, state: str) -> None:
    """The page of a job follows it by itself."""
    run_lanes()
    expect(browser.text(state, exact=True).first).to_be_visible()


def test_somebody_logs_in(browser):
    page = browser.page
    page.context.clear_cookies()

    browser.open("index")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("password")
    page.locator("[type=submit]").click()

    expect(page).to_have_url(browser.home + reverse("admin:index"))


def test_an_operator_goes_from_nothing_to_the_outcome_for_each_person(browser):
    page = browser.page

    browser.open("spaces_space_changelist")
    browser.follow("Add space")
    page.get_by_role("link", name="Local").click()
    page.get_by_label("Name", exact=False).first.press_sequentially("Head Office")
    expect(page.locator("#id_slug")).to_have_value("head-office")
    browser.press("Save")
    expect(browser.text("was added successfully")).to_be_visible()

    browser.open("bots_bot_changelist")
    browser.follow("Add bot")
    page.get_by_role("link", name="Local").click()
    page.get_by_role("link", name="Head Office").click()
    page.locator("#id_name").press_sequentially("Door Keeper")
    expect(page.locator("#id_slug")).to_have_value("door-keeper")
    page.get_by_label("Account password").first.fill(SECRET)
    browser.press("Test")
    browser.press("Save it")
    browser.follow("Not now")
    browser.follow("Open its page")
    assert SECRET not in page.content()

    browser.press("Test")
    expect(browser.text("Logged in as door-keeper.")).to_be_visible()

    browser.follow("Create channel")
    page.get_by_label("Name", exact=False).first.fill("lobby")
    page.get_by_label("Topic").fill("Who comes and goes")
    browser.press("Create channel")
    wait_for_state(browser, "succeeded")

    bot = Bot.objects.get(slug="door-keeper")
    browser.open("bots_bot_change", bot.pk)
    browser.follow("Send a message")
    page.get_by_label("Channel").fill("lobby")
    page.get_by_label("Text").fill("The door is *open*.")
    browser.press("Send a message")
    wait_for_state(browser, "succeeded")
    assert Message.objects.get(bot=bot).text == "The door is *open*."

    make_person("dagobert", space=bot.space)
    channel = Channel.objects.get(name="lobby")
    browser.open("spaces_channel_change", channel.pk)
    browser.follow("Add participants")
    expect(page.get_by_label("Channel")).to_have_value("lobby")
    page.get_by_label("People").fill("@dagobert\n@nobody")
    browser.press("Add participants")
    wait_for_state(browser, "succeeded")

    outcomes = page.get_by_role("region", name="Outcome for each person")
    expect(outcomes.get_by_role("row").filter(has_text="dagobert")).to_contain_text("done")
    expect(outcomes.get_by_role("row").filter(has_text="nobody")).to_contain_text("failed")
    expect(outcomes).to_contain_text("There is nobody called nobody.")
    assert Job.objects.filter(requested_by="alice", state="succeeded").count() == 4
    assert Space.objects.get().slug == "head-office"


def test_an_api_token_is_shown_once(browser):
    page = browser.page

    browser.open("bots_apitoken_changelist")
    browser.follow("Add API token")
    page.locator("#id_name").fill("ci")
    page.get_by_label("Read", exact=True).check()
    page.get_by_label("All bots").check()
    browser.press("Save")

    text = page.locator("#token").inner_text()
    assert text.startswith("ba_")
    browser.follow("I have copied it")
    expect(page.get_by_role("link", name="ci", exact=True)).to_be_visible()
    assert text not in page.content()


def test_events_go_out_and_an_operator_follows_them(browser, settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    bot = make_bot("echo", name="Echo")
    page = browser.page

    with Receiver() as receiver:
        browser.open("bots_subscription_changelist")
        browser.follow("Add subscription")
        page.get_by_label("Name").fill("Shop")
        page.get_by_label("URL").fill(receiver.url)
        page.get_by_label("All bots").uncheck()
        page.locator(".field-bots .select2-selection").click()
        page.locator(".select2-search__field").first.press_sequentially("ech")
        page.get_by_role("option", name="Echo").click()
        browser.press("Save")
        secret = page.locator("#secret").inner_text()
        receiver.trust(secret)
        browser.follow("I have copied it")
        expect(browser.text("Nothing was delivered yet.")).to_be_visible()
        assert secret not in page.content()
        browser.press("Test")
        expect(browser.text("The receiver answered 204")).to_be_visible()

        receiver.script.append(Answer(500, body="<b>out of order</b>"))
        event = make_event(bot)
        deliver()
        browser.open("bots_event_change", event.pk)
        got = page.get_by_role("region", name="Trace").get_by_role("listitem")
        expect(got.filter(has_text="Shop").last).to_contain_text("status_500")
        got.get_by_role("link", name="queued").click()
        expect(browser.text("<b>out of order</b>")).to_be_visible()
        browser.press("Retry")
        expect(browser.text("is tried again")).to_be_visible()
        deliver()
        assert [taken.id for taken in receiver.taken[1:]] == [f"evt_{event.pk}"]

        browser.open("bots_subscription_change", Subscription.objects.get().pk)
        browser.follow("Replay")
        page.get_by_label("Or since").fill("2026-01-01T00:00")
        browser.press("Next")
        expect(browser.text("events lie after number 0.")).to_be_visible()
        browser.press("Replay")
        expect(browser.text("gets what it wants after event 0.")).to_be_visible()
        deliver()
        assert [taken.id for taken in receiver.taken].count(f"evt_{event.pk}") == 2

        browser.follow("Rotate secret")
        browser.press("Rotate secret")
        expect(browser.text("The old secret signs, too, until")).to_be_visible()
        receiver.trust(page.locator("#secret").inner_text())
        receiver.forget(secret)
        browser.follow("I have copied it")
        browser.press("Test")
        expect(browser.text("The receiver answered 204")).to_be_visible()
    assert not Delivery.objects.exclude(state="succeeded").exists()


def test_every_list_opens_without_a_complaint(browser):
    make_bot("one")

    for name in LISTS:
        browser.open(f"{name}_changelist")
        expect(browser.page.locator("#changelist")).to_be_visible()
