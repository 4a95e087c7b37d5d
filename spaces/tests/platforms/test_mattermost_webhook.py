"""Sending through an incoming webhook of Mattermost, which gives no account and answers nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from spaces.platforms.contract import Account, effective_options, mismatches
from spaces.platforms.errors import (
    Forbidden,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    Unavailable,
    Unsupported,
)
from spaces.platforms.mattermost_webhook import DEFAULT, MattermostWebhook
from spaces.platforms.messages import Card, ChannelKind, Outgoing, PersonRef
from spaces.testing.http_server import HttpServer, answer
from spaces.tests.platforms.mattermost_company import Company, message

Made = Callable[..., MattermostWebhook]
PATH = "/hooks/"


def webhook_to(url: str, **options: Any) -> MattermostWebhook:
    return MattermostWebhook(
        Account(
            space="chat",
            url="",
            bot="announcer",
            options=effective_options(MattermostWebhook, options, {}),
            credentials={"webhook_url": url},
        )
    )


@pytest.fixture
def hook(company: Company) -> dict[str, Any]:
    company.make.admin()
    company.make.join_team(company.team, "admin")
    body = {"channel_id": company.lounge.id, "display_name": "Announcements"}
    made: dict[str, Any] = company.ask("admin", "POST", "/hooks/incoming", body)
    return made


@pytest.fixture
def webhook(company: Company, hook: dict[str, Any]) -> Iterator[Made]:
    made: list[MattermostWebhook] = []

    def make(**options: Any) -> MattermostWebhook:
        made.append(webhook_to(f"{company.server.url}{PATH}{hook['id']}", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.close()


def outgoing(channel: str = DEFAULT, text: str = "hello", **more: Any) -> Outgoing:
    return replace(message(None, text, **more), channel=channel)


def test_it_can_do_what_it_declares():
    assert mismatches(MattermostWebhook) == []


def test_a_message_goes_to_the_webhooks_own_channel(company, webhook):
    sent = webhook().post_message(outgoing(text="*hello*"))

    assert company.texts() == ["*hello*"]
    assert (sent.channel_id, bool(sent.message_id)) == (DEFAULT, True)


def test_a_message_goes_to_channels_and_people_that_the_options_name(company, webhook):
    there = company.make.channel("acme", "there", "alice", "admin")
    bot = webhook(channels="#there, @alice")

    bot.post_message(outgoing("there", "to a channel"))
    bot.post_message(outgoing("@alice", "to a person"))
    bot.post_message(outgoing("", "to the same person", person=PersonRef(username="alice")))

    assert company.texts(there) == ["to a channel"]
    direct = company.make.direct_channel("admin", "alice")
    assert company.texts(direct) == ["to a person", "to the same person"]
    assert company.texts() == []


def test_what_the_options_name_is_listed_and_found(webhook):
    bot = webhook(channels="#there, @alice")

    assert [(info.id, info.kind) for info in bot.list_channels()] == [
        (DEFAULT, ChannelKind.PUBLIC),
        ("there", ChannelKind.PUBLIC),
        ("@alice", ChannelKind.DIRECT),
    ]
    assert bot.find_channel(name="#there").id == bot.find_channel(id="there").id == "there"
    assert bot.find_channel(person=PersonRef(username="alice")).id == "@alice"


@pytest.mark.parametrize("channel", ["elsewhere", "", "@bob", "@"])
def test_what_the_options_do_not_name_is_not_written_to(company, webhook, channel):
    company.make.channel("acme", "elsewhere", "alice", "admin")
    bot = webhook(channels="there")

    with pytest.raises(NotFound):
        bot.post_message(outgoing(channel))

    assert company.texts() == []


def test_a_card_goes_out_as_an_attachment(company, webhook):
    card = Card(title="Build 7", body="It *works*.", color="green")

    webhook().post_message(outgoing(text="", card=card))

    (post,) = company.posts()
    (attachment,) = post.props["attachments"]
    assert (attachment["title"], attachment["text"]) == ("Build 7", "It *works*.")


@pytest.mark.parametrize(
    ("allowed", "name"),
    [(True, "Announcer"), (False, None)],
)
def test_a_name_of_its_own_is_shown_where_the_server_lets_it(company, webhook, allowed, name):
    company.controls.change_settings({"ServiceSettings": {"EnablePostUsernameOverride": allowed}})

    webhook(username="Announcer").post_message(outgoing())

    assert company.posts()[0].props.get("override_username") == name


def lock(company: Company, hook: dict[str, Any]) -> None:
    company.ask("admin", "PUT", f"/hooks/incoming/{hook['id']}", {"channel_locked": True})


def delete(company: Company, hook: dict[str, Any]) -> None:
    company.ask("admin", "DELETE", f"/hooks/incoming/{hook['id']}")


def switch_off(company: Company, hook: dict[str, Any]) -> None:
    company.controls.change_settings({"ServiceSettings": {"EnableIncomingWebhooks": False}})


def archive(company: Company, hook: dict[str, Any]) -> None:
    company.ask("admin", "DELETE", f"/channels/{company.make.channel('acme', 'gone').id}")


def leave_alone(company: Company, hook: dict[str, Any]) -> None:
    """The message is what is wrong."""


@pytest.mark.parametrize(
    ("happens", "wrong", "error"),
    [
        (lock, {"channel": "there"}, Forbidden),
        (delete, {}, Rejected),
        (switch_off, {}, Rejected),
        (archive, {"channel": "gone"}, Rejected),
        (leave_alone, {"text": ""}, Rejected),
        (leave_alone, {"channel": "nowhere"}, NotFound),
        (leave_alone, {"channel": "@nobody"}, Rejected),
    ],
)
def test_a_refusal_says_what_is_wrong(company, hook, webhook, happens, wrong, error):
    company.make.channel("acme", "there", "alice", "admin")
    happens(company, hook)
    bot = webhook(channels="there, gone, nowhere, @nobody")

    with pytest.raises(error) as caught:
        bot.post_message(outgoing(**wrong))

    assert hook["id"] not in f"{caught.value} {caught.value!r} {caught.value.detail}"
    assert company.texts() == []


def test_a_message_whose_answer_got_lost_is_left_to_a_person(company, webhook):
    """Nothing can be asked, and sending it again might say it twice."""
    bot = webhook()
    company.controls.swallow_answers(path=PATH)

    with pytest.raises(OutcomeUnknown):
        bot.post_message(outgoing())
    with pytest.raises(Unsupported):
        bot.find_sent(outgoing())


def test_a_server_that_is_away_has_taken_nothing(company, webhook):
    bot = webhook()
    company.controls.go_down()

    with pytest.raises(Unavailable):
        bot.post_message(outgoing())


def test_a_rate_limit_says_how_long_to_wait(company, webhook):
    company.controls.limit_rate(path=PATH, retry_after=7)

    with pytest.raises(RateLimited) as caught:
        webhook().post_message(outgoing())

    assert caught.value.retry_after == 7


def test_what_is_no_webhook_of_mattermosts_is_misconfigured():
    with HttpServer() as server:
        server.will(answer(b"<html>Welcome</html>", headers={"Content-Type": "text/html"}))
        bot = webhook_to(f"{server.url}{PATH}x")

        with pytest.raises(Misconfigured):
            bot.post_message(outgoing())
        bot.close()


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://chat.example.org/hooks/x", "https:///hooks"]
)
def test_a_url_that_is_none_is_misconfigured(url):
    with pytest.raises(Misconfigured):
        webhook_to(url)


def test_its_identity_is_told_without_asking_and_without_the_secret(hook):
    bot = webhook_to(f"http://127.0.0.1:1{PATH}{hook['id']}", username="Announcer")

    identity = bot.connect()

    assert (identity.person.username, identity.person.is_bot) == ("Announcer", True)
    assert hook["id"] not in repr((identity, bot.account))
    assert {finding.level for finding in bot.check(identity)} == {"warning"}


def test_the_secret_is_not_logged(company, hook, webhook, caplog):
    caplog.set_level(logging.DEBUG)
    bot = webhook(debug_log=True)
    company.controls.fail(status=500, path=PATH)

    with pytest.raises(PlatformError):
        bot.post_message(outgoing())
    bot.post_message(outgoing())

    ours = [one.getMessage() for one in caplog.records if one.name.startswith("spaces.platforms")]
    assert ours
    assert not any(hook["id"] in line for line in ours)
