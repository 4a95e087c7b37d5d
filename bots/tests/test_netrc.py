"""Credentials that stand in a netrc file of the secrets folder."""

from __future__ import annotations

import pytest

from bots import clients, lifecycle, secrets
from bots.scrub import scrub
from bots.tests.builders import SECRET, make_bot
from spaces.platforms.errors import Misconfigured

pytestmark = pytest.mark.django_db

HOST = "chat.example.org"


@pytest.fixture
def netrc(settings, tmp_path):
    settings.BOTADMIN_SECRETS_DIR = tmp_path
    path = tmp_path / "netrc"
    path.write_text(f"machine {HOST} login echo-bot password opensesame\nmachine bare login x\n")
    return path


def test_it_gives_the_password_and_the_login_name(netrc):
    assert secrets.resolve(f"netrc:{HOST}") == "opensesame"
    assert secrets.resolve(f"netrc:{HOST}:login") == "echo-bot"
    assert scrub("echo-bot said opensesame") == "echo-bot said [removed]"


def test_a_bot_logs_in_with_it(netrc):
    bot = make_bot()
    netrc.write_text(f'machine {HOST} login echo password "{SECRET}"\n')

    lifecycle.set_credentials(bot, {"secret": f"netrc:{HOST}"}, user=None)

    assert bot.credentials.get().reference == f"netrc:{HOST}"
    assert clients.account(bot).credentials["secret"] == SECRET
    assert lifecycle.check(bot).ok


def test_an_entry_for_all_other_hosts_counts(netrc):
    netrc.write_text("default login anybody password anything\n")

    assert secrets.resolve("netrc:some.where:login") == "anybody"
    assert secrets.resolve("netrc:some.where") == "anything"


def test_the_file_may_have_another_name(netrc, settings, tmp_path):
    settings.BOTADMIN_NETRC = "logins/chats"
    (tmp_path / "logins").mkdir()
    netrc.rename(tmp_path / "logins" / "chats")

    assert secrets.resolve(f"netrc:{HOST}") == "opensesame"


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("netrc:other.example.org", "no password for other.example.org"),
        ("netrc:bare", "no password for bare"),
        ("netrc:", "no password for a host without a name"),
        (f"netrc:{HOST}:account", "asks for 'account'"),
    ],
)
def test_what_is_not_there_is_told_in_plain_words(netrc, reference, told):
    with pytest.raises(Misconfigured, match=told):
        secrets.resolve(reference)


def test_a_missing_file_says_where_it_belongs(netrc):
    netrc.unlink()

    with pytest.raises(Misconfigured, match="cannot be read") as refused:
        secrets.resolve(f"netrc:{HOST}")

    assert "secrets folder as netrc" in refused.value.next_step


def test_a_broken_file_names_the_line_and_quotes_nothing(netrc):
    netrc.write_text(f"machine {HOST} login a password b\nopensesame\n")

    with pytest.raises(Misconfigured, match="near line") as refused:
        secrets.resolve(f"netrc:{HOST}")

    assert "opensesame" not in refused.value.detail
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("path", ["../netrc", "/etc/passwd"])
def test_files_outside_the_secrets_folder_are_out_of_reach(netrc, settings, path):
    settings.BOTADMIN_NETRC = path

    with pytest.raises(Misconfigured, match="outside the secrets folder"):
        secrets.resolve(f"netrc:{HOST}")
