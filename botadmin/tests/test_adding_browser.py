"""Adding a bot in a real browser: the steps, with mouse, keyboard and phone."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from botadmin.tests.browser import in_both_looks
from bots import clients
from bots.models import Bot
from bots.tests.builders import make_bot, make_person, make_space, run_lanes
from spaces.models import Space
from spaces.platforms.messages import ChannelKind, NewChannel

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SECRET = "open-sesame-42"
OTHER = "another-word-43"
UNFOLD = "document.querySelectorAll('#content-main details').forEach(fold => { fold.open = true; })"


@pytest.fixture
def space() -> Space:
    space = make_space(name="Head Office")
    new = NewChannel(key="", kind=ChannelKind.PUBLIC, name="lobby", title="Lobby")
    make_person("dagobert", space=space).create_channel(new)
    return space


def step(space: Space) -> str:
    return reverse("admin:bots_bot_add", query={"space": space.pk})


def test_all_steps_with_the_keyboard_alone(browser, space):
    page = browser.page
    browser.open("bots_bot_add")

    page.get_by_role("link", name="Local").press("Enter")
    page.get_by_role("link", name="Head Office").press("Enter")
    page.locator("#id_name").press_sequentially("Tür Wächter")
    expect(page.locator("#id_slug")).to_have_value("tur-wachter")
    secret = page.get_by_label("Account password").first
    secret.fill(SECRET)
    secret.press("Enter")
    expect(browser.text("It works.")).to_be_visible()
    expect(page.locator("#outcome")).to_be_focused()
    assert not Bot.objects.exists()
    expect(page.get_by_role("button", name="Save")).to_have_count(1)
    page.get_by_role("button", name="Save it").press("Enter")

    page.get_by_label("Lobby").press("Space")
    page.get_by_role("button", name="Go on").press("Enter")
    expect(browser.text("0 of 2 done")).to_be_visible()
    run_lanes()
    page.get_by_role("button", name="Say hello in Lobby").press("Enter")
    run_lanes()
    expect(page.locator("#how-far")).to_have_text("3 of 3 done")
    assert SECRET not in page.content()
    clients.close_idle(older_than=0)


def test_what_was_tested_and_then_changed_is_tested_again(browser, space):
    page = browser.page
    browser.visit(step(space))
    page.locator("#id_name").fill("Keeper")
    secret = page.get_by_label("Account password").first
    secret.fill(SECRET)
    browser.press("Test")
    expect(browser.text("It works.")).to_be_visible()

    secret.fill(OTHER)
    expect(browser.text("It works.")).to_have_count(0)
    browser.press("Save")
    expect(browser.text("Something was changed after the test")).to_be_visible()
    expect(secret).to_have_value(OTHER)  # it never left the field
    assert not Bot.objects.exists()

    browser.press("Save anyway")
    expect(browser.text("Keeper is added.")).to_be_visible()
    clients.close_idle(older_than=0)


def test_what_is_wrong_leads_to_its_field(browser, space):
    page = browser.page
    browser.visit(step(space))

    browser.press("Test")
    page.locator("#outcome").get_by_role("link", name="Account password").click()

    expect(page).to_have_url(browser.home + step(space) + "#id_credential_secret")


def test_one_goes_back_and_chooses_anew(browser, space):
    page = browser.page
    browser.visit(step(space))

    page.get_by_role("link", name="Local").click()
    expect(browser.text("Which platform does the bot talk on?")).to_be_visible()
    page.go_back()

    expect(browser.text("The bot, and how it gets in")).to_be_visible()


def test_channels_are_searched_while_one_types(browser):
    bot = make_bot("keeper", name="Keeper")
    person = make_person("dagobert", space=bot.space)
    for number in range(10):
        kind = ChannelKind.PUBLIC
        person.create_channel(NewChannel(key="", kind=kind, name=f"room-{number}"))
    page = browser.page
    browser.open("bots_bot_first_channels", bot.pk)

    page.get_by_label("room-3").check()
    page.get_by_label("Show those that are called").fill("room-7")

    expect(page.locator("#offers > li:visible")).to_have_count(1)
    expect(page.get_by_label("room-3")).to_be_checked()


def test_what_was_ticked_stays_so_when_the_form_comes_back(browser):
    bot = make_bot("keeper", name="Keeper")
    dagobert = make_person("dagobert", space=bot.space)
    for number in range(60):
        kind = ChannelKind.PUBLIC
        dagobert.create_channel(NewChannel(key="", kind=kind, name=f"room-{number:02}"))
    page = browser.page
    browser.open("bots_bot_first_channels", bot.pk)
    expect(page.get_by_label("room-00")).to_be_visible()
    boxes = page.locator("#offers input[name=join]:not(:disabled)")
    count = boxes.count()
    boxes.evaluate_all("(all) => all.forEach((box) => (box.checked = true))")

    browser.press("Go on")

    expect(browser.text("That are too many at once: at most 49.")).to_be_visible()
    expect(page.locator("#offers input[name=join]:checked:not(:disabled)")).to_have_count(count)
    page.locator("#offers input[name=join]:not(:disabled)").evaluate_all(
        "(all) => all.slice(2).forEach((box) => (box.checked = false))"
    )
    browser.press("Go on")
    expect(browser.text("0 of 3 done")).to_be_visible()


@in_both_looks
def test_nothing_keeps_anybody_out(browser, space, dark, phone):
    page = browser.page
    bot = make_bot("keeper", name="Keeper", space=space)
    browser.look(dark=dark, phone=phone)

    def check(where: str) -> None:
        assert browser.barriers() == [], where
        assert browser.overflow() == 0, where

    for query in ({}, {"platform": "local"}, {"platform": "mattermost"}, {"space": space.pk}):
        browser.visit(reverse("admin:bots_bot_add", query=query))
        page.evaluate(UNFOLD)
        check(str(query))
    browser.press("Save")
    expect(page.locator("#outcome .notice")).to_be_visible()
    check("wrong")
    page.locator("#id_name").fill("Other")
    page.get_by_label("Account password").first.fill(SECRET)
    browser.press("Test")
    expect(browser.text("It works.")).to_be_visible()
    check("tested")
    browser.open("bots_bot_first_channels", bot.pk)
    page.get_by_label("Lobby").check()
    check("channels")
    browser.press("Go on")
    expect(browser.text("0 of 2 done")).to_be_visible()
    check("hello")
    run_lanes()
    expect(page.get_by_role("button", name="Say hello in Lobby")).to_be_visible()
    check("hello")
