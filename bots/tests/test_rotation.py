"""New credentials are tried before they are used, and what is refused changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from bots import clients, lifecycle, rotation
from bots.models import Bot, BotMemory, Credential, JobKind
from bots.refusals import Invalid
from bots.tests.builders import SECRET, make_bot, make_space, make_user
from bots.tests.trouble import early_in_a_half_minute
from spaces.models import LocalAccount
from spaces.platforms.errors import Unavailable
from spaces.testing import faulty
from spaces.testing.mattermost import SimulatedMattermost
from spaces.testing.mattermost.making import PASSWORD

pytestmark = pytest.mark.django_db

WRONG = "not-the-password-42"


@pytest.fixture
def server() -> Iterator[SimulatedMattermost]:
    with SimulatedMattermost() as server:
        server.make.user("alice")
        yield server
        clients.close_idle(older_than=0)


@pytest.fixture
def echo() -> Iterator[Bot]:
    yield make_bot(space=make_space(platform="faulty"))
    faulty.reset()


def replace(
    bot: Bot, accepted_account: str = "", learned: str = "", **values: str
) -> rotation.Trial:
    return rotation.replace_credentials(
        bot,
        values,
        user=None,
        requested_by="alice",
        accepted_account=accepted_account,
        learned=learned,
    )


def stored(bot: Bot) -> list[tuple[str, str]]:
    return list(Credential.objects.filter(bot=bot).values_list("value", "reference"))


def new_bot(slug: str, **changes: Any) -> Bot:
    """One that never logged in."""
    clients.close_idle(older_than=0)  # no client of an earlier test may be found
    bot = Bot(**{"slug": slug, "name": slug.title(), "space": make_space()} | changes)
    lifecycle.create(bot, requested_by="test")
    return bot


def mattermost_bot(server: SimulatedMattermost, **credentials: str) -> Bot:
    """A bot that has logged in with these, or with a token of the account `helper-bot`."""
    if not credentials:
        credentials = {"token": server.make.bot("helper-bot")[1]}
    bot = new_bot("helper", space=make_space("chat", platform="mattermost", url=server.url))
    lifecycle.set_credentials(bot, credentials, user=None)
    with clients.borrow(bot):
        pass
    return Bot.objects.select_related("space", "connection").get(pk=bot.pk)


def test_good_ones_are_used_from_then_on(echo, monkeypatch):
    monkeypatch.setenv("BOT_ECHO", SECRET)
    before = echo.generation

    tried = rotation.replace_credentials(
        echo, {"secret": "$BOT_ECHO"}, user=make_user("alice"), requested_by="alice"
    )

    assert tried.ok
    assert tried.identity.person.username == "echo"
    assert tried.findings[0].text.startswith("Logged in as echo")
    row = Credential.objects.get(bot=echo)
    assert (row.reference, row.changed_by.get_username()) == ("$BOT_ECHO", "alice")
    echo.refresh_from_db()
    assert echo.generation > before
    assert echo.jobs.get().kind == JobKind.SYNC


@pytest.mark.parametrize("entered", [WRONG, "$BOT_MISSING", "$HOME", "file:missing", ""])
def test_bad_ones_change_nothing_at_all(echo, entered):
    before = stored(echo)

    tried = replace(echo, secret=entered)

    assert not tried.ok
    assert tried.identity is None
    (finding,) = tried.findings
    assert (finding.level, bool(finding.remedy)) == ("error", True)
    assert tried.refused == finding.code
    assert stored(echo) == before
    now = Bot.objects.select_related("connection").get(pk=echo.pk)
    assert now.generation == echo.generation
    assert now.connection.state == echo.connection.state
    assert not now.jobs.exists()


def test_a_platform_that_is_away_or_broken_has_not_said_yes(echo):
    faulty.script(
        faulty.before(Unavailable(f"No answer to {WRONG}.")),
        faulty.before(KeyError("id")),
        operation="connect",
    )

    assert replace(echo, secret=SECRET).refused == "platform_unavailable"
    assert replace(echo, secret=SECRET).refused == "misconfigured"
    assert not echo.jobs.exists()


def test_no_finding_repeats_what_was_entered(echo):
    faulty.script(faulty.before(Unavailable(f"GET /?token={WRONG}")), operation="connect")

    (finding,) = replace(echo, secret=WRONG).findings

    assert WRONG not in finding.text


def test_credentials_of_another_account_are_refused_until_somebody_means_it(server):
    bot = mattermost_bot(server)
    before = stored(bot)
    _, token = server.make.bot("other-bot")

    tried = replace(bot, token=token)

    assert tried.refused == rotation.OTHER_ACCOUNT
    assert "other-bot" in tried.findings[0].text
    assert "helper-bot" in tried.findings[0].text
    assert tried.identity.person.username == "other-bot"
    assert stored(bot) == before

    accepted = replace(bot, token=token, accepted_account=tried.identity.person.id)

    assert accepted.ok
    bot.refresh_from_db()
    assert bot.identity["person"]["username"] == "other-bot"
    assert bot.person.username == "other-bot"


def test_who_accepts_one_account_has_not_accepted_another(server):
    bot = mattermost_bot(server)
    _, token = server.make.bot("other-bot")

    assert not replace(bot, token=token, accepted_account="somebody").ok


def test_a_session_of_the_old_ones_does_not_make_new_ones_look_good(server):
    bot = mattermost_bot(server, login="alice", password=PASSWORD)
    assert BotMemory.objects.filter(bot=bot).exists()

    assert replace(bot, password=WRONG).refused == "credentials_refused"

    assert BotMemory.objects.filter(bot=bot).exists()
    assert lifecycle.check(bot).identity.person.username == "alice"


def test_a_code_of_a_second_factor_is_spent_once_by_trial_and_use_together(server):
    bot = mattermost_bot(server, login="alice", password=PASSWORD)
    values = {"password": PASSWORD, "mfa": server.make.mfa_code(server.make.mfa_secret("alice"))}

    tried = rotation.attempt(bot, values)
    assert tried.ok
    assert replace(bot, learned=tried.learned, **values).ok

    with clients.borrow(Bot.objects.select_related("space", "connection").get()) as platform:
        assert platform.connect().person.username == "alice"


def test_a_code_that_the_bot_itself_has_just_used_does_not_make_good_credentials_bad(server):
    secret = server.make.mfa_secret("alice")
    early_in_a_half_minute(server)
    bot = mattermost_bot(server, login="alice", password=PASSWORD, mfa=secret)

    (finding,) = rotation.attempt(bot, {"password": PASSWORD}).findings

    assert finding.code == "code_used"
    assert "the next one comes in" in finding.text
    assert "Try again" in finding.remedy
    server.controls.advance(30)
    assert replace(bot, password=PASSWORD).ok


def test_what_trials_used_up_is_known_to_the_next_and_no_session_of_theirs(server):
    bot = mattermost_bot(server, login="alice", password=PASSWORD)
    secret = server.make.mfa_secret("alice")
    early_in_a_half_minute(server)
    tried = rotation.attempt(bot, {"mfa": secret})

    again = rotation.attempt(bot, {"mfa": secret}, learned=tried.learned)
    wrong = rotation.attempt(bot, {"password": WRONG}, learned=tried.learned)

    assert (tried.ok, again.refused) == (True, "code_used")
    assert wrong.refused == "credentials_refused"


def test_trying_makes_no_account_where_the_first_login_makes_it():
    bot = new_bot("fresh")

    assert rotation.attempt(bot, {"secret": WRONG}).ok

    assert not LocalAccount.objects.filter(username="fresh").exists()


def test_trying_meets_no_faults():
    bot = new_bot("fresh", options={"fault_drop_percent": 100})

    assert rotation.attempt(bot, {"secret": WRONG}).ok


def test_another_webhook_is_no_other_account():
    bot = new_bot("alarm", space=make_space("chat", platform="mattermost-webhook"))
    lifecycle.set_credentials(bot, {"webhook_url": "http://127.0.0.1:1/hooks/a"}, user=None)
    with clients.borrow(bot):
        pass

    tried = replace(bot, webhook_url="http://127.0.0.1:1/hooks/b")

    assert tried.ok
    assert "Logged in" not in tried.findings[0].text
    assert not any("Logged in" in found.text for found in lifecycle.check(bot).findings)


def test_the_day_until_which_they_work_is_stored_with_them(echo):
    day = date(2027, 1, 31)

    rotation.replace_credentials(
        echo, {"secret": SECRET}, user=None, requested_by="alice", expiries={"secret": day}
    )

    assert Credential.objects.get(bot=echo).expires_on == day


def test_what_the_platform_finds_besides_is_told_and_keeps_nobody_from_using_them(server):
    bot = mattermost_bot(server)
    token = server.make.token("helper-bot")

    tried = replace(bot, token=token)

    assert tried.ok
    assert "no_team" in {finding.code for finding in tried.findings}


def test_names_that_the_platform_does_not_know_are_refused(echo):
    with pytest.raises(Invalid, match="knows no credential"):
        replace(echo, token="x")
    with pytest.raises(Invalid, match="Nothing was entered"):
        replace(echo)
