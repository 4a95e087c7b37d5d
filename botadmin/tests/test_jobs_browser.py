"""Jobs in a real browser: what is stuck, and the trace of a message."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from botadmin.tests.browser import in_both_looks
from bots.models import Bot, Job, Message
from bots.tests.builders import deliver, make_bot, make_channel, make_job, run_lanes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_an_operator_finds_what_is_stuck_and_cancels_all_of_it(browser):
    bot = make_bot("echo", name="Echo")
    lobby = make_channel(bot, "lobby")
    for _ in range(3):
        make_job(bot, lobby)
    Bot.objects.update(enabled=False)
    page = browser.page

    browser.visit(f"{reverse('admin:bots_job_changelist')}?why=bot_off")
    expect(browser.text("The bot is switched off.").first).to_be_visible()
    page.get_by_role("link", name="Cancel …").click()
    expect(browser.text("3 jobs that match can be cancelled.")).to_be_visible()
    browser.press("Cancel them")

    expect(browser.text("Jobs cancelled: 3.")).to_be_visible()
    assert not Job.objects.exclude(state="cancelled").exists()


def test_a_trace_follows_its_message_by_itself(browser):
    bot = make_bot("echo", name="Echo")
    job = make_job(bot, make_channel(bot, "lobby"), "good morning")
    page = browser.page

    browser.open("bots_job_change", job.pk)
    trace = page.get_by_role("region", name="Trace")
    expect(trace.get_by_text("still to come")).to_be_visible()
    run_lanes()
    deliver()

    expect(trace.get_by_text("On the platform")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    asked = trace.get_by_text("What was asked, and what the platform said")
    asked.focus()
    page.keyboard.press("Enter")
    expect(trace.get_by_text("post_message")).to_be_visible()
    trace.get_by_role("link", name=Message.objects.get().remote_id, exact=True).click()
    expect(page.get_by_role("region", name="Trace")).to_contain_text("this page")


@in_both_looks
def test_everybody_can_use_the_pages_of_jobs(browser, dark, phone):
    bot = make_bot("echo", name="Echo")
    lobby = make_channel(bot, "lobby")
    sent = make_job(bot, lobby, "good morning " * 40)
    run_lanes()
    deliver()
    waiting = make_job(bot, lobby)
    browser.look(dark=dark, phone=phone)

    for row in (sent, waiting, Message.objects.get(), bot.events.latest("pk")):
        browser.open(f"bots_{row._meta.model_name}_change", row.pk)
        assert browser.barriers() == []
        assert browser.overflow() == 0
    for name in ("job", "message", "event"):
        browser.visit(f"{reverse(f'admin:bots_{name}_changelist')}?q=1")
        browser.open(f"bots_{name}_changelist")
        assert browser.barriers() == []
        assert browser.overflow() == 0
    browser.visit(f"{reverse('admin:bots_job_all', args=['cancel'])}?state__exact=queued")
    assert browser.barriers() == []
