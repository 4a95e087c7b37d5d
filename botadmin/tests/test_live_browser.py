"""Pieces of a page that are renewed while somebody is in the middle of something."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Locator, expect

from botadmin.tests import estate
from botadmin.tests.browser import Browser
from bots import bulk_actions
from bots.connections import states
from bots.models import Bot, BulkKind, Connection
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_job,
    make_subscription,
    make_user,
    run_lanes,
)
from spaces.platforms.errors import CredentialsRefused

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# Focuses all that can be focused in a piece, one after the other, and has the piece renewed.
LOSES = """async (name) => {
    const piece = () => document.getElementById(name);
    const found = () => [...piece().querySelectorAll(
        "a[href], button:not(:disabled), summary, [tabindex='0']"
    )].filter((one) => one.checkVisibility());
    for (const fold of piece().querySelectorAll("details")) fold.open = true;
    const lost = [];
    const count = found().length;
    for (let n = 0; n < count; n++) {
        const before = found()[n];
        before.focus();
        await window.renew(name);
        const now = document.activeElement;
        if (now === before || now.outerHTML !== before.outerHTML) lost.push(before.outerHTML);
    }
    return lost;
}"""


def look_again(browser: Browser, name: str) -> None:
    """As the browser does every few seconds, and as if the piece had changed."""
    browser.page.evaluate("(name) => window.renew(name)", name)


@pytest.fixture(autouse=True)
def renew(browser: Browser) -> None:
    browser.page.add_init_script(
        """window.renew = (name) => {
            const piece = document.getElementById(name);
            const options = { source: piece, target: piece, headers: { "X-Mark": "" } };
            return htmx.ajax("GET", piece.getAttribute("hx-get"), options);
        };"""
    )


def aloud(browser: Browser) -> Locator:
    return browser.page.locator("body > p[role=status]")


@pytest.mark.long
def test_whoever_uses_the_keyboard_keeps_their_place_in_every_piece_of_every_page(browser):
    found = []
    seen = 0

    for address in estate.addresses(estate.build()):
        if not browser.is_page(address.path, holding="data-live"):
            continue
        browser.visit(address.path)
        names = browser.page.locator("[data-live][hx-swap^=outerHTML]").evaluate_all(
            "pieces => pieces.map((piece) => piece.id)"
        )
        for name in names:
            seen += 1
            lost = browser.page.evaluate(LOSES, name)
            found += [f"{address.path}: {element[:120]}" for element in lost]

    assert not found, "\n".join(found)
    assert seen > 10


def test_what_somebody_unfolded_stays_open(browser):
    bot = make_bot("echo")
    make_subscription("https://shop.example/hook", bots=[bot])  # which is still to be told
    job = make_job(bot, make_channel(bot))
    run_lanes()
    page = browser.page
    browser.open("bots_job_change", job.pk)
    browser.text("What was asked, and what the platform said").click()
    answer = page.get_by_role("heading", name="Answered")
    expect(answer).to_be_visible()

    look_again(browser, "trace")

    expect(answer).to_be_visible()


def test_what_changed_is_read_out_once_and_nothing_else_is(browser):
    bot = make_bot("echo")
    browser.open("bots_bot_change", bot.pk)
    aloud(browser).evaluate("place => { place.wasHere = true; }")

    look_again(browser, "bot-state")
    expect(aloud(browser)).to_have_text("")

    states.refuse(bot, CredentialsRefused("The token was revoked."))
    look_again(browser, "bot-state")
    expect(aloud(browser)).to_contain_text("bad credentials The token was revoked.")
    assert aloud(browser).evaluate("place => place.wasHere") is True


def test_what_only_counts_on_is_not_read_out(browser):
    bot = make_bot("echo")
    Bot.objects.update(receive="webhook")
    calls = Connection.objects.filter(bot=bot)
    calls.update(last_call_at=timezone.now() - timedelta(minutes=1))
    browser.open("bots_bot_change", bot.pk)
    expect(browser.page.locator("#bot-state")).to_contain_text("the last came at")

    calls.update(last_call_at=timezone.now())
    look_again(browser, "bot-state")

    expect(aloud(browser)).to_have_text("")


def test_an_action_with_many_bots_is_read_out_when_it_is_over(browser):
    keeper = make_user("bob", is_superuser=True)
    bots = [make_bot("one"), make_bot("two")]
    action = bulk_actions.ask(BulkKind.STOP, bots, user=keeper)
    browser.open("bots_bulkaction_change", action.pk)
    expect(aloud(browser)).to_have_text("")

    bulk_actions.work(action.pk)

    expect(aloud(browser)).to_contain_text("Finished.")


def test_the_page_says_that_nobody_answers_only_while_nobody_does(browser):
    bot = make_bot("echo")
    page = browser.page
    browser.open("bots_bot_change", bot.pk)
    piece = f"**{reverse('admin:bots_bot_piece', args=[bot.pk, 'state'])}"

    page.route(piece, lambda route: route.fulfill(status=502))
    expect(page.get_by_role("alert")).to_contain_text("botadmin does not answer")
    page.unroute(piece)
    look_again(browser, "bot-state")

    expect(page.get_by_role("alert")).to_have_count(0)
    browser.complaints.clear()  # of the answer that was none


def test_what_is_not_there_any_more_is_told_as_that(browser):
    bot = make_bot("echo")
    browser.open("bots_bot_change", bot.pk)

    bot.delete()

    expect(browser.page.get_by_role("alert")).to_contain_text("This is not there any more.")
    browser.complaints.clear()  # of the answers 404
