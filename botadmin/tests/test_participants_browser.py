"""Participants in a real browser: from a pasted list to the result per person, and back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from botadmin.tests.browser import in_both_looks
from bots import job_groups
from bots.models import Bot, JobGroup
from bots.tests.builders import make_bot, make_channel, make_person, run_lanes
from spaces.models import LocalMember

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("echo", name="Echo")
    for name in ("anna", "bert"):
        make_person(name, space=bot.space)
    for name in ("attic", "garden", "lobby"):
        make_channel(bot, name, people=["dora"])
    return bot


def work() -> None:
    """What workers would do meanwhile."""
    for _ in range(5):
        for group in JobGroup.objects.all():
            job_groups.work(group.pk)
        run_lanes()


def members(name: str) -> set[str]:
    inside = LocalMember.objects.filter(room__name=name, left_seq=None)
    return set(inside.values_list("account__username", flat=True))


def fill_in(browser, people: str) -> None:
    page = browser.page
    browser.open("bots_jobgroup_changelist")
    browser.follow("Add or remove people")
    browser.follow("Echo")
    page.get_by_role("textbox", name="People").fill(people)
    page.get_by_label("Search the channels of this bot").fill("lob")
    page.get_by_role("list", name="Channels found").get_by_label("lobby").check()
    page.get_by_label("Search the channels of this bot").fill("att")
    page.get_by_role("list", name="Channels found").get_by_label("attic").check()
    expect(browser.text("2 chosen")).to_be_visible()
    browser.press("Show what would happen")


def test_a_list_is_pasted_checked_run_and_taken_back(browser, bot):
    page = browser.page
    fill_in(browser, "Anna <nobody@acme.example>\n@anna, @dora; @bert\n@anna")

    expect(browser.text("4 people were read.")).to_be_visible()
    expect(page.get_by_role("button", name="Stop the dry run")).to_be_visible()
    work()
    browser.press("Leave out the 2 that cannot be done")
    browser.press("Run: add 4")
    expect(page.get_by_role("button", name="Cancel what waits")).to_be_visible()
    work()

    expect(page.locator("#group-now").get_by_text("Finished: all 4 are done.")).to_be_visible()
    expect(page.get_by_role("cell", name="added").first).to_be_visible()
    assert members("attic") == members("lobby") == {"echo", "dora", "anna", "bert"}
    assert members("garden") == {"echo", "dora"}

    browser.follow("Undo")
    expect(browser.text("4 memberships that this change began will end again.")).to_be_visible()
    browser.press("Take it back")
    work()
    expect(page.locator("#group-now").get_by_text("Finished: all 4 are done.")).to_be_visible()
    assert members("attic") == members("lobby") == {"echo", "dora"}


def test_channels_stay_chosen_while_others_are_searched_for(browser, bot):
    page = browser.page
    browser.open("bots_jobgroup_people", bot.pk)
    search = page.get_by_label("Search the channels of this bot")
    chosen = page.get_by_role("list", name="Chosen channels")

    browser.press("Choose all of these")
    expect(chosen.get_by_role("checkbox")).to_have_count(3)
    search.fill("garden")
    expect(page.get_by_role("list", name="Channels found").get_by_role("checkbox")).to_have_count(1)
    expect(page.get_by_role("list", name="Channels found").get_by_label("garden")).to_be_checked()
    chosen.get_by_label("garden").click()  # and it is gone

    expect(browser.text("2 chosen")).to_be_visible()
    expect(
        page.get_by_role("list", name="Channels found").get_by_label("garden")
    ).not_to_be_checked()
    search.press("Enter")  # does not send the form
    expect(chosen.get_by_role("checkbox")).to_have_count(2)


def test_the_keyboard_is_enough(browser, bot):
    page = browser.page
    browser.open("bots_jobgroup_people", bot.pk)
    page.get_by_role("textbox", name="People").focus()
    page.keyboard.type("@anna")
    page.get_by_label("Search the channels of this bot").focus()
    page.keyboard.type("lobby")
    found = page.get_by_role("list", name="Channels found").get_by_role("checkbox")
    expect(found).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Show what would happen").press("Enter")
    work()
    page.get_by_role("button", name="Run: add 1").press("Enter")
    work()

    expect(page.locator("#group-now").get_by_text("Finished: all 1 are done.")).to_be_visible()


@in_both_looks
def test_the_pages_are_without_barriers(browser, bot, dark, phone):
    browser.look(dark=dark, phone=phone)
    found = []

    def look() -> None:
        found.extend(browser.barriers())
        assert browser.overflow() <= 0, browser.page.url

    fill_in(browser, "@anna, @dora, @nobody")
    look()  # the dry run
    work()
    expect(browser.page.get_by_role("button", name="Leave out the 2")).to_be_visible()
    look()  # what it found
    browser.press("Leave out the 2 that cannot be done")
    browser.press("Run: add 2")
    work()
    expect(
        browser.page.locator("#group-now").get_by_text("Finished: all 2 are done.")
    ).to_be_visible()
    browser.page.locator("summary").filter(has_text="Channels").click()
    look()  # what became of it
    browser.follow("Undo")
    look()
    for name, args in (("choose", ()), ("people", (bot.pk,)), ("changelist", ())):
        browser.open(f"bots_jobgroup_{name}", *args)
        look()

    assert found == []
