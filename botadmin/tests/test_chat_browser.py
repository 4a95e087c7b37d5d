"""The chat page in a real browser: an operator talks with the demo bot, and reads on as it
answers."""

from __future__ import annotations

import re
from io import BytesIO

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Locator, Page, Route, expect

from botadmin.tests.browser import Browser, in_both_looks
from bots import clients, demo
from bots.connections import poller
from bots.models import Bot, Job, Message
from bots.tests import cast
from bots.tests.builders import run_lanes
from spaces.models import Channel, LocalMessage, Person
from spaces.platforms.messages import File, Outgoing

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture
def bot() -> Bot:
    clients.close_idle(older_than=0)  # of bots of other tests
    bot = demo.seed()
    Bot.objects.filter(pk=bot.pk).update(receive="poll")
    return bot


@pytest.fixture
def lobby(bot) -> Channel:
    return Channel.objects.get(name="lobby")


def work(bot: Bot) -> None:
    """What the other processes do meanwhile: the bot hears, its handlers answer, jobs are sent."""
    run_lanes()
    poller.poll(bot.pk)
    run_lanes()
    poller.poll(bot.pk)


def open_room(browser: Browser, bot: Bot, lobby: Channel) -> Page:
    browser.visit(reverse("chat:room", args=[bot.slug, lobby.pk]))
    return browser.page


def bubble(page: Page, text: str):
    return page.get_by_role("article").filter(has_text=text)


def test_an_operator_tries_the_demo_bot(browser, bot, lobby):
    page = browser.page
    browser.visit("/chat/")
    page.get_by_role("link", name="Echo", exact=True).click()
    page.get_by_role("link", name=re.compile("^Lobby")).click()
    expect(page.get_by_role("heading", name="Lobby")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()

    page.get_by_label("Write as").select_option("alice")
    page.get_by_role("textbox", name="Message").fill("Is anybody *there*?")
    page.keyboard.press("Control+Enter")
    expect(browser.text("Said as alice.")).to_be_visible()
    work(bot)
    expect(bubble(page, "Is anybody there?")).to_have_count(2)
    expect(page.get_by_label("Write as")).to_have_value("alice")

    page.get_by_label("Write as").select_option("")
    page.get_by_role("textbox", name="Message").fill("Here is a picture.")
    browser.text("Files, card, preview").click()
    page.get_by_label("Files", exact=True).set_input_files(
        [{"name": "dot.png", "mimeType": "image/png", "buffer": PNG}]
    )
    browser.press("Preview")
    expect(page.get_by_role("region", name="On Local")).to_contain_text("File: dot.png")
    browser.press("Send")
    expect(bubble(page, "Here is a picture.")).to_contain_text("Message queued")
    work(bot)
    sent = bubble(page, "Here is a picture.")
    expect(sent).not_to_contain_text("queued")
    expect(sent.get_by_role("img", name="dot.png")).to_be_visible()
    with page.expect_download() as download:
        sent.get_by_role("link", name="dot.png").last.click()
    assert download.value.path().read_bytes() == PNG

    sent.hover()
    sent.get_by_role("link", name="React, edit").click()
    page.locator("#sheet").get_by_role("button", name="tada").click()
    expect(page.locator("#sheet")).not_to_be_visible()
    work(bot)
    chip = sent.get_by_role("button", name="tada 1")
    expect(chip).to_have_attribute("aria-pressed", "true")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        chip.click()
    work(bot)
    expect(chip).to_have_count(0)

    sent.hover()
    sent.get_by_role("link", name="Answer").click()
    thread = page.get_by_role("complementary", name="Thread")
    expect(thread.get_by_role("textbox", name="Answer")).to_be_focused()
    page.keyboard.type("And an answer.")
    page.keyboard.press("Control+Enter")
    expect(thread.get_by_text("Message queued")).to_be_visible()
    work(bot)
    expect(thread.get_by_role("article").filter(has_text="And an answer.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(thread).to_have_count(0)
    expect(bubble(page, "Here is a picture.").first).to_contain_text("1 answer")
    assert not Job.objects.exclude(state="succeeded").exists()


def test_a_picture_that_did_not_come_is_asked_for_again(browser, bot, lobby):
    with clients.borrow(bot) as platform:
        picture = File(name="dot.png", content_type="image/png", size=len(PNG), open=opened)
        words = Outgoing(key="1", channel=lobby.remote_id, text="Look.", files=(picture,))
        platform.post_message(words)
    work(bot)
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=200, content_type="image/png", body="not yet")

    browser.page.route("**/image/**", answer)
    page = open_room(browser, bot, lobby)

    shown = page.get_by_role("img", name="dot.png")
    expect(shown).to_have_attribute("src", re.compile(r"try=1"))
    page.wait_for_function("document.querySelector('.chat-files img').naturalWidth > 0")
    assert len(asked) == 2


def opened() -> BytesIO:
    return BytesIO(PNG)


def test_edits_and_deletions_show_by_themselves(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    page.get_by_role("textbox", name="Message").fill("helo")
    page.keyboard.press("Control+Enter")
    sent = bubble(page, "helo")
    expect(sent).to_contain_text("Message queued")
    work(bot)
    expect(sent).not_to_contain_text("queued")

    sent.hover()
    sent.get_by_role("link", name="React, edit").click()
    page.get_by_role("textbox", name="New text").fill("hello")
    browser.press("Save the new text")
    expect(page.locator("#sheet")).not_to_be_visible()
    work(bot)
    sent = page.get_by_role("article").filter(has=browser.text("hello", exact=True))
    expect(sent).to_contain_text("edited")

    sent.hover()
    sent.get_by_role("link", name="React, edit").click()
    browser.text("Delete this message").click()
    browser.press("Delete message")
    expect(page.locator("#sheet")).not_to_be_visible()
    work(bot)
    expect(browser.text("This message was deleted.")).to_be_visible()


def test_what_a_person_cannot_write_stays_in_sight_until_it_is_taken_out(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    browser.text("Files, card, preview").click()
    title = page.get_by_label("Title", exact=True)
    title.fill("Released")
    page.get_by_label("Write as").select_option("alice")
    page.get_by_role("button", name="Send").click()

    expect(page.get_by_role("alert")).to_contain_text("you write text only. Leave out the rest.")
    expect(title).to_have_value("Released")
    title.fill("")
    page.get_by_role("textbox", name="Message").fill("We released it")
    page.get_by_role("button", name="Send").click()
    work(bot)

    expect(bubble(page, "We released it").first).to_contain_text("Alice Archer")
    expect(browser.text("Files, card, preview")).to_be_hidden()


def test_a_very_long_name_stays_on_the_page(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    page.get_by_label("Write as").select_option("+")
    page.get_by_label("Their name").fill("m" * 100)
    page.get_by_role("textbox", name="Message").fill("It is me")
    page.get_by_role("button", name="Send").click()
    work(bot)

    said = bubble(page, "It is me").first
    expect(said).to_contain_text("m" * 100)
    assert said.evaluate("element => element.scrollWidth <= element.clientWidth")


def log_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.locator("[type=submit]").click()


def test_what_was_begun_outlives_a_session_that_ends(browser, bot, lobby):
    User.objects.create_superuser("carol", password="other-word")
    page = open_room(browser, bot, lobby)
    words = page.get_by_role("textbox", name="Message")
    words.fill("A long story,\nnot told yet")
    browser.text("Files, card, preview").click()
    page.get_by_label("Title", exact=True).fill("Chapter 1")

    Session.objects.all().delete()
    log_in(page, "alice", "password")

    expect(words).to_have_value("A long story,\nnot told yet")
    expect(page.get_by_label("Title", exact=True)).to_have_value("Chapter 1")
    expect(page.get_by_label("Title", exact=True)).to_be_visible()

    Session.objects.all().delete()
    log_in(page, "carol", "other-word")
    expect(words).to_have_value("")

    browser.become(User.objects.get(username="alice"))
    page.reload()
    words.press("Control+Enter")
    expect(bubble(page, "A long story")).to_contain_text("Message queued")
    expect(words).to_have_value("")
    page.reload()
    expect(words).to_have_value("")


def test_an_edit_outlives_a_session_that_ends_and_not_its_dialog(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    page.get_by_role("textbox", name="Message").fill("helo")
    page.keyboard.press("Control+Enter")
    expect(bubble(page, "helo")).to_contain_text("Message queued")
    work(bot)
    new_text = page.get_by_role("textbox", name="New text")

    def open_dialog() -> None:
        bubble(page, "helo").hover()
        bubble(page, "helo").get_by_role("link", name="React, edit").click()

    open_dialog()
    new_text.fill("hello")
    Session.objects.all().delete()
    log_in(page, "alice", "password")
    open_dialog()
    expect(new_text).to_have_value("hello")

    page.keyboard.press("Escape")
    expect(page.locator("#sheet")).not_to_be_visible()
    open_dialog()
    expect(new_text).to_have_value("helo")


def test_a_name_that_turns_the_writing_turns_nothing_beside_it(browser, bot, lobby):
    Person.objects.filter(username="alice").update(name="Alice \u202e Archer")
    page = open_room(browser, bot, lobby)
    who = page.locator(".chat-who").filter(has_text="Alice").first

    assert reads_forward(who.locator("time"))
    browser.open("spaces_channel_change", lobby.pk)
    assert reads_forward(page.locator(".tables td:last-child").first)


def reads_forward(shown: Locator) -> bool:
    """Whether the first letter is drawn left of the last one."""
    return shown.evaluate(
        """element => {
            const letters = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
            const left = (from) => {
                const range = document.createRange();
                range.setStart(letters, from);
                range.setEnd(letters, from + 1);
                return range.getBoundingClientRect().left;
            };
            const words = letters.data;
            return left(words.search(/\\S/)) < left(words.trimEnd().length - 1);
        }"""
    )


def test_a_long_name_leaves_room_for_the_rest_of_a_table(browser, bot, lobby):
    Person.objects.filter(username="alice").update(name="m" * 100, username="n" * 100)
    Message.objects.filter(channel=lobby).update(text="x" * 500)
    browser.open("spaces_channel_change", lobby.pk)

    for title in ("Participants", "Latest messages"):
        table = browser.page.get_by_role("region", name=title).locator("table")
        box = table.evaluate("e => [e.scrollWidth, e.parentElement.clientWidth]")
        assert box[0] <= box[1], title
    text = browser.page.get_by_role("cell", name="x" * 100).first.bounding_box()
    assert text["width"] > 300


def test_a_double_click_sends_once(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    page.get_by_role("textbox", name="Message").fill("just once")
    page.get_by_role("button", name="Send", exact=True).dblclick()
    expect(bubble(page, "just once")).to_have_count(1)
    work(bot)

    expect(bubble(page, "just once")).to_have_count(1)
    assert LocalMessage.objects.filter(text="just once").count() == 1


def test_whoever_reads_further_up_stays_there(browser, bot, lobby):
    now = timezone.now()
    Message.objects.bulk_create(
        Message(
            bot=bot,
            channel=lobby,
            remote_id=f"x{n}",
            direction="in",
            text=f"line {n}.",
            sent_at=now,
        )
        for n in range(120)
    )
    page = open_room(browser, bot, lobby)
    expect(bubble(page, "line 119.")).to_be_in_viewport()
    browser.press("Earlier messages")
    expect(bubble(page, "line 20.")).to_have_count(1)
    expect(bubble(page, "line 119.")).not_to_be_in_viewport()
    expect(page.locator(".chat-day")).to_have_count(1)
    there = bubble(page, "line 30.")
    there.scroll_into_view_if_needed()
    before = there.bounding_box()

    Message.objects.create(
        bot=bot, channel=lobby, remote_id="y", direction="in", text="news!", sent_at=now
    )

    news = page.get_by_role("button", name="New messages")
    expect(news).to_be_visible()
    assert there.bounding_box() == before
    news.click()
    expect(bubble(page, "news!")).to_be_in_viewport()
    expect(news).not_to_be_visible()
    expect(page.get_by_role("article")).to_have_count(101)


def test_on_a_phone_one_pane_comes_after_the_other(browser, bot, lobby):
    browser.look(phone=True)
    page = browser.page
    browser.visit(reverse("chat:rooms", args=[bot.slug]))
    page.get_by_role("link", name=re.compile("^Lobby")).click()
    expect(page.get_by_role("navigation", name="Rooms")).not_to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).not_to_be_focused()
    page.get_by_role("link", name="Answer").first.click()
    page.get_by_role("link", name="Back to the room").click()
    page.get_by_role("link", name="Back to rooms").click()
    expect(page.get_by_role("navigation", name="Rooms")).to_be_visible()


def test_a_preview_comes_into_sight_and_its_parts_are_folded(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    browser.text("Files, card, preview").click()
    page.get_by_role("textbox", name="Message").fill("All work and no play. " * 800)
    browser.press("Preview")

    expect(page.get_by_role("region", name="Preview")).to_be_focused()
    expect(page.get_by_role("heading", name="On Local: 5 messages")).to_be_in_viewport()
    fold = browser.text("All of message 2")
    fold.click()
    expect(page.locator("details details[open]")).to_contain_text("All work and no play.")
    with page.expect_response("**/preview/"):
        page.get_by_role("textbox", name="Message").press_sequentially("!")
    expect(page.get_by_role("region", name="Preview")).to_contain_text("!")
    expect(page.locator(".htmx-settling")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()


def test_a_preview_that_comes_late_leaves_alone_who_goes_on_writing(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    browser.text("Files, card, preview").click()
    text = page.get_by_role("textbox", name="Message")
    text.fill("All work")

    def come_late(route):
        text.focus()
        route.continue_()

    page.route("**/preview/", come_late)
    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_role("region", name="Preview")).to_contain_text("All work")
    expect(page.locator(".htmx-settling")).to_have_count(0)
    expect(text).to_be_focused()


def test_the_keyboard_gets_past_what_is_on_every_page(browser, bot, lobby):
    browser.visit("/admin/")
    page = browser.page
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.wait_for_url("**#content")
    page.keyboard.press("Tab")
    expect(page.locator("#content :focus")).to_have_count(1)

    open_room(browser, bot, lobby)
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the message")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()


def test_rooms_are_searched_while_typing(browser, bot, lobby):
    page = open_room(browser, bot, lobby)
    page.get_by_label("Search rooms").press_sequentially("oper")

    rooms = page.locator("#rooms")
    expect(rooms.get_by_role("link")).to_have_count(1)
    expect(rooms).to_contain_text("Operations")


def test_who_only_looks_follows_and_has_nothing_to_press(browser, bot, lobby):
    browser.become(cast.person("bob", cast.WATCHES, bot))
    page = open_room(browser, bot, lobby)
    expect(browser.text("You may read here and not write.")).to_be_visible()

    Message.objects.create(
        bot=bot,
        channel=lobby,
        remote_id="y",
        direction="in",
        text="news!",
        sent_at=timezone.now(),
        reactions=[{"person": "1", "name": "tada"}],
    )

    expect(bubble(page, "news!")).to_be_visible()
    expect(page.locator(".chat button:visible")).to_have_count(0)


@in_both_looks
def test_nobody_is_kept_out(browser, bot, lobby, dark, phone):
    browser.look(dark=dark, phone=phone)
    page = browser.page
    top = Message.objects.filter(channel=lobby).first()
    Message.objects.filter(pk=top.pk).update(reactions=[{"person": "1", "name": "tada"}])
    room = reverse("chat:room", args=[bot.slug, lobby.pk])

    for address in ("/chat/?choose", f"/chat/{bot.slug}/", room, f"{room}{top.pk}/"):
        browser.visit(address)
        assert browser.barriers() == [], address
        assert browser.overflow() <= 0, address
    browser.visit(room)
    browser.text("Files, card, preview").click()
    page.get_by_role("textbox", name="Message").fill("hello " * 1_000)
    browser.press("Preview")
    expect(page.get_by_role("region", name="On Local")).to_be_visible()
    assert browser.barriers() == []
    page.get_by_role("article").first.hover()
    page.get_by_role("link", name="React, edit").first.click()
    expect(page.locator("#sheet")).to_be_visible()
    assert browser.barriers() == []
