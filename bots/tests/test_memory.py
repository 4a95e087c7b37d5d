"""What platforms remember between their objects: stored, shared, and forgotten in time."""

from __future__ import annotations

import pytest

from bots import clients, lifecycle, scrub
from bots.models import Bot, BotMemory
from bots.tests.builders import SECRET, make_bot

pytestmark = pytest.mark.django_db

SESSION = "session-of-the-newest-login"


def other_process(bot):
    """The account as somebody else reads it who knows the bot only from the database."""
    return clients.account(Bot.objects.select_related("space").get(pk=bot.pk))


@pytest.fixture
def bot():
    return make_bot()


def test_what_one_process_learns_the_other_reads(bot):
    one, other = clients.account(bot), other_process(bot)
    assert one.memory.read() == other.memory.read() == ""

    one.memory.write(SESSION)
    assert other.memory.read() == SESSION
    other.memory.write("a newer one")

    assert one.memory.read() == "a newer one"


def test_each_bot_has_its_own(bot):
    clients.account(bot).memory.write(SESSION)

    assert clients.account(make_bot("other")).memory.read() == ""


def test_it_is_encrypted_and_shown_nowhere(bot):
    account = clients.account(bot)
    account.memory.write(SESSION)

    assert SESSION not in BotMemory.objects.get().value
    assert SESSION not in repr(account)
    assert scrub.scrub(f"401 for {SESSION}") == "401 for [removed]"


def test_a_process_that_only_read_it_keeps_it_out_of_texts_too(bot):
    clients.account(bot).memory.write(SESSION)
    scrub._known.clear()
    scrub._forms = ()

    other_process(bot).memory.read()

    assert scrub.scrub(SESSION) == "[removed]"


def test_an_empty_text_removes_it(bot):
    memory = clients.account(bot).memory
    memory.write(SESSION)

    memory.write("")

    assert memory.read() == ""
    assert not BotMemory.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda bot: lifecycle.set_credentials(bot, {"secret": SECRET}, user=None),
        lambda bot: lifecycle.changed(
            bot, fields=[], requested_by="alice", credentials={"secret": SECRET}
        ),
        lambda bot: lifecycle.changed(bot, fields=["options"], requested_by="alice"),
        lambda bot: lifecycle.space_changed(bot.space, fields=["url"]),
    ],
    ids=["credentials", "credentials with others", "options", "space"],
)
def test_a_bot_that_may_be_somebody_else_now_remembers_nothing(bot, change):
    before = clients.account(bot)
    before.memory.write(SESSION)

    change(bot)
    before.memory.write("a login with the old settings")

    assert other_process(bot).memory.read() == ""


def test_a_pause_makes_nobody_forget(bot):
    clients.account(bot).memory.write(SESSION)

    lifecycle.stop(bot)
    lifecycle.start(bot)

    assert other_process(bot).memory.read() == SESSION


def test_one_encrypted_with_a_lost_key_is_as_if_there_were_none(bot, settings):
    memory = clients.account(bot).memory
    memory.write(SESSION)

    settings.BOTADMIN_ENCRYPTION_KEYS = ["pOw2Wzv7sLm1vUKgCbS3C2QnYbNfT3nD2oYQ2o0r1Bg="]

    assert memory.read() == ""
    memory.write("a new login")
    assert memory.read() == "a new login"


def test_it_goes_with_its_bot(bot):
    clients.account(bot).memory.write(SESSION)

    lifecycle.delete(bot)

    assert not BotMemory.objects.exists()
