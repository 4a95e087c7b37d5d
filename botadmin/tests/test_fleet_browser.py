"""The front page in a real browser: it follows by itself, and nobody loses their place in it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from botadmin.tests.browser import Browser, in_both_looks
from bots import lifecycle, processes, sequence, tallies
from bots.connections import states
from bots.models import Bot, Connection, State
from bots.tests import cast
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_space,
    run_lanes,
)
from spaces.platforms.errors import CredentialsRefused

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def make_live(slug: str) -> Bot:
    bot = make_bot(slug)
    soon = timezone.now() + timedelta(hours=1)
    Connection.objects.filter(bot=bot).update(state=State.LIVE, lease_until=soon)
    return bot


def count() -> None:
    sequence.number()
    tallies.count()


def talk(bot: Bot, messages: int) -> None:
    for _ in range(messages):
        make_event(bot)
    count()


def mark(browser: Browser) -> None:
    """What is gone when the page is loaded anew."""
    browser.page.evaluate("window.wasHere = true")


def is_marked(browser: Browser) -> bool:
    return bool(browser.page.evaluate("window.wasHere === true"))


def test_the_tour_ticks_its_steps_by_itself_and_leads_to_the_first_message(browser):
    page = browser.page
    browser.open("index")
    steps = page.locator(".tour > li")
    ticked = page.locator(".tour > li.done")
    expect(steps).to_have_count(5)
    expect(ticked).to_have_count(0)
    mark(browser)

    make_space()
    expect(ticked).to_have_count(1)
    expect(page.locator("#tour-next")).to_contain_text("Add a bot")
    expect(page.get_by_role("link", name="Add a bot")).to_have_count(2)  # there, and at the top
    bot = make_live("echo")
    expect(ticked).to_have_count(3)
    channel = make_channel(bot)
    expect(ticked).to_have_count(4)
    assert is_marked(browser)

    browser.follow("Send a message")
    expect(page).to_have_url(browser.home + reverse("admin:bots_bot_ask", args=[bot.pk, "send"]))

    make_job(bot, channel)
    run_lanes()
    browser.open("index")
    expect(page.get_by_role("heading", name="1 bot", exact=True)).to_be_visible()
    expect(steps).to_have_count(0)


def test_the_page_follows_what_happens_without_being_loaded_anew(browser):
    bots = [make_live(f"bot{n}") for n in range(5)]
    page = browser.page
    browser.open("index")
    expect(page.locator("#state-live")).to_contain_text("5")
    expect(browser.text("No bot needs somebody")).to_be_visible()
    mark(browser)

    states.refuse(bots[0], CredentialsRefused("The token was revoked."))
    lifecycle.stop(bots[1])

    expect(page.locator("#state-live")).to_contain_text("3")
    expect(page.locator("#state-off")).to_contain_text("1")
    expect(page.get_by_role("heading", name="1 bot needs somebody")).to_be_visible()
    expect(browser.text("The token was revoked.").first).to_be_visible()
    assert is_marked(browser)


def test_the_drawing_takes_new_numbers_and_what_was_unfolded_stays_so(browser):
    bot = make_live("echo")
    count()
    talk(bot, 3)
    page = browser.page
    browser.open("index")
    canvas = page.get_by_role("img", name="Messages in and out per minute over the last day")
    expect(canvas).to_be_visible()
    canvas.evaluate("canvas => { canvas.wasHere = true; }")
    browser.text("Hour by hour").click()
    last_hour = page.locator(".traffic-table tbody tr").first
    expect(last_hour).to_be_visible()

    talk(bot, 4)

    expect(browser.text("7 in the last day")).to_be_visible()
    expect(last_hour).to_be_visible()
    assert canvas.evaluate("canvas => canvas.wasHere") is True
    drawn = page.evaluate("Chart.getChart(document.querySelector('[data-traffic] canvas')).data")
    assert len(drawn["labels"]) == 96
    assert drawn["datasets"][0]["data"][-1] + drawn["datasets"][0]["data"][-2] > 0


def test_the_drawing_takes_the_colours_of_the_theme(browser):
    bot = make_live("echo")
    count()
    talk(bot, 3)

    colours = set()
    for dark in (False, True):
        browser.look(dark=dark)
        browser.open("index")
        chart = "Chart.getChart(document.querySelector('[data-traffic] canvas'))"
        browser.page.wait_for_function(f"{chart} !== undefined")
        colours.add(browser.page.evaluate(f"{chart}.data.datasets[0].borderColor"))

    assert len(colours) == 2


def test_who_uses_the_keyboard_keeps_their_place_and_tests_a_bot(browser):
    bots = [make_live(f"bot{n}") for n in range(5)]
    for bot in bots[:2]:
        states.refuse(bot, CredentialsRefused("The token was revoked."))
    page = browser.page
    browser.open("index")
    way = page.get_by_role("link", name="Test: Bot0")
    way.focus()

    states.refuse(bots[2], CredentialsRefused("The token was revoked."))
    expect(page.get_by_role("heading", name="3 bots need somebody")).to_be_visible()
    expect(way).to_be_focused()

    page.keyboard.press("Enter")
    expect(page).to_have_url(browser.home + reverse("admin:bots_bot_change", args=[bots[0].pk]))
    expect(page.locator("#test li").first).to_contain_text("Logging in")


@in_both_looks
def test_nothing_keeps_anybody_from_using_the_page(browser, dark, phone):
    processes.worked()
    browser.look(dark=dark, phone=phone)
    browser.open("index")
    assert browser.barriers() == []
    assert browser.overflow() == 0

    bots = [make_live(f"bot{n}") for n in range(5)]
    count()
    talk(bots[0], 3)
    states.refuse(bots[1], CredentialsRefused("The token was revoked."))
    lifecycle.stop(bots[2])
    browser.open("index")
    expect(browser.text("3 in the last day")).to_be_visible()

    assert browser.barriers() == []
    assert browser.overflow() == 0


def test_who_only_watches_has_nothing_to_press(browser):
    bot = make_bot("refused")
    states.refuse(bot, CredentialsRefused("The token was revoked."))
    browser.become(cast.person("bob", cast.WATCHES, bot))

    browser.open("index")

    expect(browser.text("The token was revoked.").first).to_be_visible()
    expect(browser.page.locator("#content button")).to_have_count(0)
