"""What operators do with bots, and what comes of it."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from bots import clients, lifecycle, secrets
from bots.connections import states
from bots.models import Bot, Credential, JobKind
from bots.refusals import Invalid
from bots.tests.builders import SECRET, make_bot, make_channel, make_space
from spaces.models import Space
from spaces.platforms.errors import (
    CredentialsRefused,
    Misconfigured,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


def test_a_new_bot_looks_for_its_channels():
    bot = Bot(slug="new", name="New", space=make_space())

    lifecycle.create(bot, requested_by="alice")

    assert bot.jobs.get().kind == JobKind.SYNC
    assert bot.connection.state == "off"


def test_a_check_names_who_the_bot_is():
    bot = make_bot()

    checked = lifecycle.check(bot)

    assert checked.ok or all(f.level != "error" for f in checked.findings)
    assert checked.identity.person.username == "echo"


def test_a_check_tells_bad_news_instead_of_raising():
    bot = make_bot()
    lifecycle.set_credentials(bot, {"secret": "wrong"}, user=None)

    checked = lifecycle.check(bot)

    assert not checked.ok
    assert checked.findings[0].code == "credentials_refused"
    assert checked.findings[0].remedy
    bot.connection.refresh_from_db()
    assert bot.connection.state == "bad_credentials"


@pytest.mark.parametrize(
    "error", [Unavailable("away"), RateLimited("busy", retry_after=9), OutcomeUnknown("silent")]
)
def test_whoever_asks_a_platform_is_not_told_that_somebody_else_goes_on(error):
    bot = make_bot(space=make_space("shaky", platform="faulty"))
    faulty.script(faulty.before(error), operation="connect")

    (finding,) = lifecycle.check(bot).findings

    assert finding.text == error.detail
    assert finding.remedy.startswith("Try again in a moment.")


def test_a_check_that_succeeds_lets_a_refused_bot_try_again():
    bot = make_bot()
    states.refuse(bot, CredentialsRefused("The account was locked."))
    bot.connection.refresh_from_db()
    assert states.is_refused(bot)

    lifecycle.check(bot)

    bot.refresh_from_db()
    assert not states.is_refused(bot)


def test_who_was_refused_with_old_settings_has_no_say():
    bot = make_bot()
    outdated = Bot.objects.select_related("connection").get(pk=bot.pk)
    lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)

    states.refuse(outdated, CredentialsRefused("The old password."))

    bot.connection.refresh_from_db()
    assert bot.connection.state == "off"


def test_a_check_without_credentials_says_which_is_missing():
    bot = make_bot()
    lifecycle.set_credentials(bot, {"secret": ""}, user=None)

    (finding,) = lifecycle.check(bot).findings

    assert finding.code == "misconfigured"
    assert "Account password" in finding.text


def test_credentials_are_stored_encrypted_and_never_in_clear():
    bot = make_bot()

    stored = Credential.objects.get(bot=bot)

    assert SECRET not in stored.value
    assert secrets.decrypt(stored.value) == SECRET
    assert SECRET not in repr(clients.account(bot))


def test_an_unknown_credential_is_refused():
    with pytest.raises(Invalid, match="knows no credential 'token'"):
        lifecycle.set_credentials(make_bot(), {"token": "x"}, user=None)


def test_a_reference_is_looked_up_when_it_is_needed(monkeypatch):
    bot = make_bot()
    lifecycle.set_credentials(bot, {"secret": "$BOT_ECHO_PASSWORD"}, user=None)

    (finding,) = lifecycle.check(bot).findings
    assert "BOT_ECHO_PASSWORD is not set" in finding.text

    monkeypatch.setenv("BOT_ECHO_PASSWORD", SECRET)
    assert lifecycle.check(bot).ok


def test_a_secret_that_begins_with_a_dollar_is_written_with_two():
    bot = make_bot()

    lifecycle.set_credentials(bot, {"secret": "$$plain"}, user=None)

    assert clients.account(bot).credentials["secret"] == "$plain"


def test_files_outside_the_secrets_folder_and_botadmins_own_variables_are_no_credentials(settings):
    for reference in ("file:../keys/secret_key", "file:/etc/passwd", "$BOTADMIN_SECRET_KEY"):
        with pytest.raises(Misconfigured):
            secrets.resolve(reference)


def test_only_variables_with_an_allowed_name_are_credentials(settings, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "of the database")
    with pytest.raises(Misconfigured, match="does not begin with BOT_"):
        secrets.resolve("$PGPASSWORD")

    settings.BOTADMIN_CREDENTIAL_VARIABLES = ["BOT_", "PG"]
    assert secrets.resolve("$PGPASSWORD") == "of the database"


def test_a_change_writes_only_what_it_names():
    bot = make_bot()
    read_before = Bot.objects.get(pk=bot.pk)
    lifecycle.stop(bot)

    read_before.name = "Other"
    lifecycle.changed(read_before, fields=["name"], requested_by="alice")

    bot.refresh_from_db()
    assert (bot.name, bot.enabled) == ("Other", False)


def test_a_change_of_a_space_writes_only_what_it_names():
    space = make_space()
    read_before = Space.objects.get(pk=space.pk)
    Space.objects.update(options={"poll_seconds": 9})

    read_before.name = "Other"
    lifecycle.space_changed(read_before, fields=["name"])

    space.refresh_from_db()
    assert (space.name, space.options) == ("Other", {"poll_seconds": 9})


def test_a_file_of_the_secrets_folder_is_a_credential(settings, tmp_path):
    settings.BOTADMIN_SECRETS_DIR = tmp_path
    (tmp_path / "echo").write_text("from a file\n")

    assert secrets.resolve("file:echo") == "from a file"


def test_a_credential_encrypted_with_a_lost_key_says_so(settings):
    stored = secrets.encrypt("x")
    settings.BOTADMIN_ENCRYPTION_KEYS = ["pOw2Wzv7sLm1vUKgCbS3C2QnYbNfT3nD2oYQ2o0r1Bg="]

    with pytest.raises(Misconfigured, match="a key that is not here"):
        secrets.decrypt(stored)


def test_receipts_that_may_not_be_switched_off_stay_on():
    space = make_space("strict", options={"read_receipts_locked": True})
    bot = make_bot(space=space)

    with pytest.raises(Rejected) as refusal:
        lifecycle.set_read_receipts(bot, False)

    bot.refresh_from_db()
    assert refusal.value.code == "read_receipts_locked"
    assert bot.read_receipts


def test_every_change_makes_holders_start_anew():
    bot = make_bot()
    seen = [bot.generation]
    for change in (
        lambda: lifecycle.changed(bot, fields=["name"], requested_by="alice"),
        lambda: lifecycle.set_credentials(bot, {"secret": SECRET}, user=None),
        lambda: lifecycle.set_read_receipts(bot, False),
        lambda: lifecycle.reconnect(bot),
        lambda: lifecycle.stop(bot),
        lambda: lifecycle.start(bot),
    ):
        change()
        bot.refresh_from_db()
        seen.append(bot.generation)

    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"receive": "carrier pigeon"}, "receive"),
        ({"permissions": ["fly"]}, "permissions"),
        ({"handlers": ["nobody"]}, "handlers"),
        ({"options": {"colour": "red"}}, "options"),
        ({"options": {"poll_seconds": "soon"}}, "options"),
        ({"options": {"poll_seconds": 0}}, "options"),
    ],
)
def test_a_bot_that_cannot_work_is_refused_when_it_is_saved(changes, field):
    bot = Bot(**{"slug": "new", "name": "New", "space": make_space()} | changes)

    with pytest.raises(ValidationError) as refusal:
        bot.full_clean()

    assert field in refusal.value.message_dict


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"platform": "telex"}, "platform"),
        ({"options": {"colour": "red"}}, "options"),
        ({"options": {"read_receipts_locked": "yes"}}, "options"),
        ({"options": []}, "options"),
    ],
)
def test_a_space_that_cannot_work_is_refused_when_it_is_saved(changes, field):
    space = Space(**{"slug": "new", "name": "New", "platform": "local"} | changes)

    with pytest.raises(ValidationError) as refusal:
        space.full_clean()

    assert field in refusal.value.message_dict


def test_a_space_with_bots_is_not_deleted():
    bot = make_bot()

    with pytest.raises(Invalid):
        lifecycle.delete_space(bot.space)


def test_a_bot_is_deleted_with_all_it_did():
    bot = make_bot()
    make_channel(bot)
    lifecycle.sync(bot, requested_by="alice")

    lifecycle.delete(bot)

    assert not Bot.objects.exists()


def test_a_platform_whose_code_breaks_is_a_finding_and_no_crash():
    bot = make_bot(space=make_space("shaky", platform="faulty"))
    faulty.script(faulty.before(AttributeError("no such thing")), operation="connect")

    checked = lifecycle.check(bot)

    faulty.reset()
    assert not checked.ok
    assert "failed; the log has the details" in checked.findings[0].text
