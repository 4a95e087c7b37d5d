"""From an empty install to a bot that answers, by clicking what the pages offer."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from botadmin.tests.browser import Browser
from bots import clients
from bots.connections import poller
from bots.models import Bot
from bots.tests.builders import run_lanes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SECRET = "open-sesame-42"


def work() -> None:
    """What the other processes do meanwhile: bots hear, their handlers answer, jobs are sent."""
    for _ in range(2):
        run_lanes()
        for bot in Bot.objects.all():
            poller.poll(bot.pk)
    run_lanes()


def take_next_step(browser: Browser, label: str) -> None:
    """The one button that the tour on the front page has."""
    browser.open("index")
    way = browser.page.locator("#tour-next")
    expect(way).to_contain_text(label)
    way.click()


def test_from_nothing_to_a_bot_that_answers(browser):
    page = browser.page
    clients.close_idle(older_than=0)  # of bots of other stories

    take_next_step(browser, "Add a space")
    page.get_by_role("link", name="Local").click()
    page.locator("#id_name").press_sequentially("Head Office")
    browser.press("Save")

    take_next_step(browser, "Add a bot")
    page.get_by_role("link", name="Local").click()
    page.get_by_role("link", name="Head Office").click()
    page.locator("#id_name").press_sequentially("Door Keeper")
    page.get_by_label("Account password").first.fill(SECRET)
    page.locator("[name=handlers][value=echo]").check()
    browser.text("More settings").click()
    page.get_by_label("Receive").select_option("poll")
    browser.press("Test")
    expect(browser.text("Logged in as door-keeper")).to_be_visible()
    browser.press("Save it")

    expect(browser.text("There is none that Door Keeper is in")).to_be_visible()
    page.get_by_label("Create one, called").fill("Lobby")
    browser.press("Go on")
    expect(browser.text("0 of 2 done")).to_be_visible()
    work()
    browser.press("Say hello in Lobby")
    work()
    expect(browser.text("greeted")).to_be_visible()

    browser.follow("Open its chat")
    page.get_by_role("link", name="Lobby").first.click()
    expect(page.get_by_role("article").filter(has_text="Hello, I am Door Keeper.")).to_be_visible()
    page.get_by_label("Write as").select_option(label="Somebody new …")
    page.get_by_label("Name", exact=False).last.fill("dora")
    page.get_by_role("textbox", name="Message").fill("Is anybody there?")
    page.keyboard.press("Control+Enter")
    expect(browser.text("Said as dora.")).to_be_visible()
    work()
    expect(page.get_by_role("article").filter(has_text="Is anybody there?")).to_have_count(2)

    browser.open("index")
    expect(page.get_by_role("heading", name="1 bot", exact=True)).to_be_visible()
    expect(page.locator(".tour > li")).to_have_count(0)
    assert SECRET not in page.content()
    clients.close_idle(older_than=0)
