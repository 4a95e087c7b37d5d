"""Mattermost calling us: outgoing webhooks and slash commands, made by a simulated server, and
requests that it would never make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from spaces.platforms.errors import Forbidden, OutcomeUnknown, Rejected
from spaces.platforms.mattermost import Mattermost
from spaces.platforms.messages import (
    Answer,
    Card,
    ChannelKind,
    Incoming,
    Kind,
    WebhookRequest,
)
from spaces.testing.http_server import Exchange, HttpServer, head
from spaces.tests.platforms.mattermost_company import (
    BOT,
    Company,
    listening,
    message,
    wait_until,
)

TOKEN = "t" * 26
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Door:
    """Where the server calls: reads each call as the bot does, which is not connected, and answers
    with what is put into `answer`."""

    def __init__(self, listener: HttpServer):
        self._listener = listener
        self.bot: Mattermost | None = None
        self.answer: Answer | None = None
        self.told: list[Incoming] = []
        self.requests: list[WebhookRequest] = []
        self.statuses: list[int] = []

    def open(self, bot: Mattermost, *, calls: int = 1) -> None:
        self.bot = bot
        self._listener.will(*[self._act] * calls)

    def _act(self, exchange: Exchange) -> None:
        asked = exchange.read()
        request = WebhookRequest(
            method=asked.method,
            headers={name.lower(): value for name, value in asked.headers.items()},
            query=urlsplit(asked.target).query,
            body=asked.body,
        )
        self.requests.append(request)
        assert self.bot
        try:
            self.told += self.bot.parse_webhook(request).incoming
            response = self.bot.answer_webhook(request, self.answer)
            status, content, body = response.status, response.content_type, response.body
        except Forbidden:
            status, content, body = 403, "text/plain", b"This is not for you."
        lines = {"Content-Length": str(len(body)), "Content-Type": content}
        self.statuses.append(status)
        exchange.send(head(status, lines) + body)


@pytest.fixture
def door(company: Company) -> Iterator[Door]:
    company.make.admin()
    with HttpServer() as listener:
        yield Door(listener)


def outgoing_webhook(company: Company, door: Door, **more: Any) -> str:
    """Everything in the lounge goes to the door; its token."""
    hook = {
        "team_id": company.team.id,
        "channel_id": company.lounge.id,
        "display_name": "all",
        "callback_urls": [door._listener.url],
        **more,
    }
    return str(company.ask("admin", "POST", "/hooks/outgoing", hook)["token"])


def slash_command(company: Company, door: Door) -> dict[str, Any]:
    command = {"team_id": company.team.id, "trigger": "deploy", "url": door._listener.url}
    made: dict[str, Any] = company.ask("admin", "POST", "/commands", {**command, "method": "P"})
    return made


def bot_with(company: Company, *tokens: str) -> Mattermost:
    return company.bot({"token": company.token, "webhook_tokens": " ".join(tokens)})


def command(company: Company, name: str, line: str, **more: Any) -> Any:
    body = {"channel_id": company.lounge.id, "command": line, **more}
    return company.ask(name, "POST", "/commands/execute", body)


# Outgoing webhooks --------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["", FORM, JSON])
def test_a_post_is_told_as_the_websocket_tells_it(company, door, content_type):
    token = outgoing_webhook(company, door, content_type=content_type)
    door.open(bot_with(company, token))

    with listening(company.connected()) as ear:
        post = company.write("alice", company.lounge, "café & crème = 100 %")
        live = ear.hear_kind(Kind.MESSAGE_POSTED)
    wait_until(lambda: door.statuses)

    (told,) = door.told
    for name in ("kind", "id", "text", "message_id", "channel_id", "channel_kind", "person"):
        assert getattr(told, name) == getattr(live, name)
    assert abs(told.occurred_at - live.occurred_at) < timedelta(seconds=1)
    assert told.message_id == post.id
    assert company.texts() == ["café & crème = 100 %"]


def test_the_files_of_a_post_are_named_by_their_ids(company, door):
    token = outgoing_webhook(company, door)
    door.open(bot_with(company, token))
    files = [company.make.file("alice", company.lounge, f"{n}.txt", b"x") for n in range(2)]

    company.write("alice", company.lounge, "see", file_ids=tuple(file.id for file in files))
    wait_until(lambda: door.statuses)

    assert [file.id for file in door.told[0].files] == [file.id for file in files]


def test_an_answer_to_a_webhook_is_a_post_in_the_channel(company, door):
    token = outgoing_webhook(company, door)
    door.open(bot_with(company, token))
    door.answer = Answer(text="hello to you", card=Card(title="Build 7", link="https://x.example"))

    company.write("alice", company.lounge, "hello")
    wait_until(lambda: len(company.posts()) == 2)

    answer = company.posts()[1]
    assert answer.message == "hello to you"
    (attachment,) = answer.props["attachments"]
    assert (attachment["title"], attachment["title_link"]) == ("Build 7", "https://x.example")


def test_a_private_answer_to_a_webhook_is_not_put_before_everybody(company, door):
    token = outgoing_webhook(company, door)
    bot = bot_with(company, token)
    door.open(bot)
    company.write("alice", company.lounge, "hello")
    wait_until(lambda: door.statuses)

    with pytest.raises(Rejected):
        bot.answer_webhook(door.requests[0], Answer(text="between us", private=True))


def test_a_webhook_whose_token_was_renewed_is_refused(company, door):
    token = outgoing_webhook(company, door)
    door.open(bot_with(company, token))
    (hook,) = company.server.world.outgoing_hooks.values()
    company.ask("admin", "POST", f"/hooks/outgoing/{hook.id}/regen_token")

    company.write("alice", company.lounge, "hello")
    wait_until(lambda: door.statuses)

    assert (door.statuses, door.told) == ([403], [])


# Slash commands -----------------------------------------------------------------------------------


def test_a_command_is_told_with_who_gave_it_and_where(company, door):
    made = slash_command(company, door)
    door.open(bot_with(company, made["token"]), calls=2)
    root = company.write("alice", company.lounge, "a question")

    command(company, "alice", "/deploy web now", root_id=root.id)
    command(company, "alice", "/deploy")

    told, bare = door.told
    assert (told.kind, told.command, told.text) == (Kind.COMMAND_INVOKED, "/deploy", "web now")
    assert (told.person.id, told.person.username) == (company.user("alice").id, "alice")
    assert (told.channel_id, told.thread, told.message_id) == (company.lounge.id, root.id, "")
    assert (bare.command, bare.text, bare.thread) == ("/deploy", "", "")


def test_each_command_is_one_however_often_it_is_delivered(company, door):
    made = slash_command(company, door)
    bot = bot_with(company, made["token"])
    door.open(bot, calls=2)

    for _ in range(2):
        command(company, "alice", "/deploy web")
    again = [bot.parse_webhook(request).incoming[0].id for request in door.requests]

    assert [told.id for told in door.told] == again
    assert len(set(again)) == 2


def test_an_answer_in_the_channel_is_seen_by_everybody(company, door):
    made = slash_command(company, door)
    door.open(bot_with(company, made["token"]))
    door.answer = Answer(text="deployed")

    with listening(company.person("bob")) as ear:
        told = command(company, "alice", "/deploy web")
        ear.hear_text("deployed")

    assert told["response_type"] == "in_channel"
    assert company.texts() == ["deployed"]


def test_a_private_answer_is_seen_by_who_asked_alone(company, door):
    made = slash_command(company, door)
    door.open(bot_with(company, made["token"]))
    door.answer = Answer(text="between us", card=Card(title="Secret"), private=True)
    alice, bob = company.person("alice"), company.person("bob")

    with listening(alice) as asking, listening(bob) as watching:
        command(company, "alice", "/deploy web")
        answer = asking.hear_text("between us")
        company.write("alice", company.lounge, "the end")
        watching.hear_text("the end")

    assert answer.card.title == "Secret"
    assert "between us" not in {one.text for one in watching.told}
    assert company.texts() == ["the end"]


def test_a_command_that_is_not_answered_shows_nothing(company, door):
    made = slash_command(company, door)
    door.open(bot_with(company, made["token"]))

    command(company, "alice", "/deploy web")

    assert company.texts() == []


@pytest.mark.parametrize("private", [True, False])
def test_an_answer_longer_than_a_post_goes_out_by_itself(company, door, private):
    made = slash_command(company, door)
    bot = bot_with(company, made["token"])
    door.open(bot)
    command(company, "alice", "/deploy web")

    bot.answer_webhook(door.requests[0], Answer(text="x" * 16_383, private=private))
    with pytest.raises(Rejected):
        bot.answer_webhook(door.requests[0], Answer(text="x" * 16_384, private=private))


def test_what_lets_its_holder_do_something_is_not_kept(company, door):
    made = slash_command(company, door)
    door.open(bot_with(company, made["token"]))

    trigger_id = command(company, "alice", "/deploy web")["trigger_id"]

    kept = json.dumps(door.told[0].raw) + door.told[0].id
    for secret in (made["token"], trigger_id, "/hooks/commands/"):
        assert secret in door.requests[0].body.decode().replace("%2F", "/")
        assert secret not in kept
    assert repr(door.requests[0]).count(made["token"]) == 0


def test_a_wrong_token_is_told_to_who_gave_the_command_as_a_failure(company, door):
    slash_command(company, door)
    door.open(bot_with(company, TOKEN))

    with pytest.raises(OutcomeUnknown, match="403"):
        command(company, "alice", "/deploy")

    assert (door.statuses, door.told) == ([403], [])


# By hand ------------------------------------------------------------------------------------------

POSTED = {
    "token": TOKEN,
    "channel_id": "c" * 26,
    "user_id": "u" * 26,
    "user_name": "alice",
    "post_id": "p" * 26,
    "text": "hello",
    "timestamp": "1700000000",
}
COMMANDED = {
    "token": TOKEN,
    "channel_id": "c" * 26,
    "user_id": "u" * 26,
    "user_name": "alice",
    "command": "/deploy",
    "text": "web",
    "trigger_id": "g" * 26,
}


def form(fields: Any, **headers: str) -> WebhookRequest:
    return WebhookRequest(
        method="POST", headers={"content-type": FORM, **headers}, body=urlencode(fields).encode()
    )


def in_json(content: Any, content_type: str = JSON, **headers: str) -> WebhookRequest:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return WebhookRequest(
        method="POST", headers={"content-type": content_type, **headers}, body=body
    )


def by_get(fields: Any, **headers: str) -> WebhookRequest:
    return WebhookRequest(method="GET", headers=headers, query=urlencode(fields))


def without(fields: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name not in names}


@pytest.mark.parametrize(
    "request_",
    [
        form(COMMANDED),
        by_get(COMMANDED),
        form(without(COMMANDED, "token"), authorization=f"Token {TOKEN}"),
        by_get(without(COMMANDED, "token"), authorization=f"token  {TOKEN} "),
        form({**COMMANDED, "token": "another"}, authorization=f"Token {TOKEN}"),
        form(COMMANDED, authorization="Basic of-a-proxy"),
        in_json(COMMANDED, "application/json; charset=utf-8"),
    ],
)
def test_a_token_counts_in_the_header_as_well_as_among_the_fields(company, request_):
    (told,) = bot_with(company, TOKEN).parse_webhook(request_).incoming

    assert (told.command, told.text, told.person.username) == ("/deploy", "web", "alice")


@pytest.mark.parametrize("tokens", [f"other {TOKEN}", f"{TOKEN},other", f" {TOKEN}\nother "])
def test_a_bot_may_have_several_tokens(company, tokens):
    bot = company.bot({"token": company.token, "webhook_tokens": tokens})

    assert bot.parse_webhook(form(POSTED)).incoming
    assert bot.parse_webhook(form({**POSTED, "token": "other"})).incoming


@pytest.mark.parametrize("tokens", ["", " ", ",", "another", TOKEN[:-1], TOKEN + "t"])
@pytest.mark.parametrize(
    "request_",
    [
        form(POSTED),
        by_get(COMMANDED),
        in_json(POSTED),
        form(without(POSTED, "token")),
        form({**POSTED, "token": ""}),
        form({**POSTED, "token": "ţ"}),
        in_json({**POSTED, "token": "\ud800"}),
        in_json({**POSTED, "token": None}),
        in_json({**POSTED, "token": [TOKEN]}),
        form(COMMANDED, authorization="Token "),
        form(COMMANDED, authorization="Token"),
        WebhookRequest(method="POST", headers={}),
        WebhookRequest(method="GET", headers={}),
        WebhookRequest(method="POST", headers={"content-type": "text/plain"}, body=b"{}"),
        WebhookRequest(method="POST", headers={"content-type": "\x00"}, body=b"\xff\xfe\x00"),
    ],
)
def test_without_the_right_token_nothing_is_taken(company, tokens, request_):
    bot = company.bot({"token": company.token, "webhook_tokens": tokens})

    with pytest.raises(Forbidden):
        bot.parse_webhook(request_)


@pytest.mark.parametrize(
    "request_",
    [
        in_json(b""),
        in_json(b"{"),
        in_json(b"\xff\xfe"),
        in_json(b"[]"),
        in_json(b'"text"'),
        in_json(b"null"),
        in_json(b"[" * 200_000),
        in_json(b"1" * 6_000),
        in_json({"token": TOKEN}),
        form({"token": TOKEN}),
        form(without(POSTED, "post_id")),
        form(without(POSTED, "user_id")),
        form(without(POSTED, "channel_id")),
        form({**COMMANDED, "user_id": ""}),
        in_json({**POSTED, "channel_id": None}),
        form([("token", TOKEN)] * 3_000),
        WebhookRequest(method="GET", headers={}, query="&".join(["token=x"] * 3_000)),
    ],
)
def test_what_is_no_webhook_is_refused_as_that(company, request_):
    with pytest.raises(Rejected):
        bot_with(company, TOKEN).parse_webhook(request_)


def test_a_webhook_that_nests_without_end_is_read_all_the_same(company):
    deep = json.dumps(POSTED)[:-1] + ', "more": ' + "[" * 5_000 + "]" * 5_000 + "}"

    (told,) = bot_with(company, TOKEN).parse_webhook(in_json(deep.encode())).incoming

    assert told.text == "hello"


@pytest.mark.parametrize(
    ("timestamp", "year"),
    [
        ("1700000000", 2023),
        ("1700000000000", 2023),
        (1_700_000_000_000, 2023),
        ("999999999999999", 9999),
        ("99999999999999999", 0),
        ("yesterday", 0),
        ("-5", 0),
        ("", 0),
        (None, 0),
        ([], 0),
    ],
)
def test_a_time_that_is_none_is_now(company, timestamp, year):
    request = in_json({**POSTED, "timestamp": timestamp})

    (told,) = bot_with(company, TOKEN).parse_webhook(request).incoming

    assert told.occurred_at.year == (year or datetime.now(UTC).year)


def test_fields_without_a_value_are_empty(company):
    fields = {**POSTED, "text": None, "file_ids": None, "user_name": None}

    (told,) = bot_with(company, TOKEN).parse_webhook(in_json(fields)).incoming

    assert (told.text, told.files, told.person.username) == ("", (), "")


def test_a_command_that_mentions_hundreds_of_people_is_read(company):
    mentions = [("user_mentions", f"person-{n}") for n in range(900)]
    ids = [("user_mentions_ids", f"{n:026}") for n in range(900)]

    request = form([*COMMANDED.items(), *mentions, *ids])

    assert bot_with(company, TOKEN).parse_webhook(request).incoming[0].text == "web"


def test_a_command_without_a_trigger_is_known_by_what_it_says(company):
    bot, fields = bot_with(company, TOKEN), without(COMMANDED, "trigger_id")

    def id_of(request: WebhookRequest) -> str:
        return bot.parse_webhook(request).incoming[0].id

    assert id_of(form(fields)) == id_of(form(fields))
    assert id_of(form(fields)) != id_of(form({**fields, "text": "api"}))
    assert id_of(by_get(fields)) != id_of(by_get({**fields, "text": "api"}))


def test_an_outgoing_webhook_is_told_as_of_a_public_channel(company):
    """There are none elsewhere, and nobody has to ask."""
    (told,) = bot_with(company, TOKEN).parse_webhook(form(POSTED)).incoming

    assert told.channel_kind is ChannelKind.PUBLIC


def test_a_platform_may_be_asked_whose_server_is_away(company):
    company.controls.go_down()

    webhook = bot_with(company, TOKEN).parse_webhook(form(POSTED))

    assert webhook.incoming[0].text == "hello"
    assert webhook.answer_seconds > 0


def test_what_the_bot_sends_is_told_by_webhooks_too(company, door):
    """Whose it is the platform object cannot say: it does not know who the bot is."""
    token = outgoing_webhook(company, door)
    door.open(bot_with(company, token))

    company.connected().post_message(message(company.lounge, "mine"))
    wait_until(lambda: door.statuses)

    assert door.told[0].person.username == BOT
