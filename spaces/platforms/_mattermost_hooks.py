"""Mattermost calling us: outgoing webhooks and slash commands. Pure.

Both carry a token that Mattermost made, by which they are known to be genuine. An outgoing webhook
tells of a post, under the same id as the websocket does; a command is no post and has an id of its
own, that of its trigger.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from spaces.platforms import _mattermost_wire as wire
from spaces.platforms import nested
from spaces.platforms.errors import Forbidden, Rejected
from spaces.platforms.messages import (
    Answer,
    ChannelKind,
    FileInfo,
    Incoming,
    Kind,
    PersonInfo,
    Webhook,
    WebhookRequest,
    WebhookResponse,
)

ANSWER_SECONDS = 3.0  # Mattermost waits for 30, but so does the person who asked
TEXT_LIMIT = 16_383  # code points of a post; more where a server is configured so
MOST_FIELDS = 2_000  # a command has two for everybody whom its text mentions
MILLISECONDS_FROM = 100_000_000_000  # a timestamp above is in ms: JSON has those, forms seconds
SECRET_FIELDS = ("token", "trigger_id", "response_url")  # each lets its holder do something


def parse(request: WebhookRequest, tokens: str) -> Webhook:
    """Raises `Forbidden` without one of `tokens`, `Rejected` for what Mattermost does not send."""
    told = _fields(request)
    _require_token(request, told, tokens.replace(",", " ").split())
    if not told.get("user_id") or not told.get("channel_id"):
        raise Rejected("This is no webhook of Mattermost's.", code="invalid_webhook")
    incoming = _command(request, told) if told.get("command") else _post(told)
    return Webhook(incoming=(incoming,), answer_seconds=ANSWER_SECONDS)


def answer(request: WebhookRequest, answer: Answer | None) -> WebhookResponse:
    """Raises `Rejected` for what can only go out as a message of its own."""
    if answer is None:
        return WebhookResponse(body=b"{}")
    body: dict[str, Any] = {"text": answer.text}
    if _fields(request).get("command"):
        if len(answer.text) > TEXT_LIMIT:
            raise Rejected("The answer to a command is one post.", code="too_long")
        body["response_type"] = "ephemeral" if answer.private else "in_channel"
    elif answer.private:
        raise Rejected("The answer to a webhook is a post for everybody.", code="not_private")
    if answer.card:
        body["attachments"] = [wire.card_out(answer.card)]
    return WebhookResponse(body=json.dumps(body).encode())


def _command(request: WebhookRequest, told: dict[str, str]) -> Incoming:
    # Without a trigger, a repetition of the same request is the same command.
    once = told.get("trigger_id") or request.query + request.body.decode(errors="replace")
    return Incoming(
        kind=Kind.COMMAND_INVOKED,
        id=f"command:{hashlib.sha256(once.encode()).hexdigest()[:40]}",
        occurred_at=datetime.now(UTC),
        command=told["command"],
        text=told.get("text", ""),
        thread=told.get("root_id", ""),
        **_place(told),
    )


def _post(told: dict[str, str]) -> Incoming:
    if not told.get("post_id"):
        raise Rejected("This is no webhook of Mattermost's.", code="invalid_webhook")
    ids = filter(None, told.get("file_ids", "").split(","))
    return Incoming(
        kind=Kind.MESSAGE_POSTED,
        id=f"post:{told['post_id']}",
        occurred_at=_moment(told.get("timestamp", "")),
        message_id=told["post_id"],
        text=told.get("text", ""),
        files=tuple(FileInfo(id=id, name="") for id in ids),
        channel_kind=ChannelKind.PUBLIC,  # there are no outgoing webhooks elsewhere
        **_place(told),
    )


def _place(told: dict[str, str]) -> dict[str, Any]:
    return {
        "channel_id": told["channel_id"],
        "person": PersonInfo(id=told["user_id"], username=told.get("user_name", "")),
        "raw": {name: value for name, value in told.items() if name not in SECRET_FIELDS},
    }


def _fields(request: WebhookRequest) -> dict[str, str]:
    """The fields of a query, a form or a JSON object, all as text."""
    text = request.query if request.method == "GET" else request.body.decode(errors="replace")
    if request.method != "GET" and "json" in request.headers.get("content-type", ""):
        return _json_fields(text)
    try:
        fields = parse_qs(text, max_num_fields=MOST_FIELDS)
        return {name: values[0] for name, values in fields.items()}
    except ValueError as error:
        raise Rejected("Too many fields.", code="invalid_webhook") from error


def _json_fields(text: str) -> dict[str, str]:
    try:
        told = nested.loads(text)
    except ValueError as error:
        raise Rejected("The body is no JSON.", code="invalid_webhook") from error
    if not isinstance(told, dict):
        raise Rejected("The body is no JSON object.", code="invalid_webhook")
    told = {name: "" if value is None else value for name, value in told.items()}
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in told.items()}


def _require_token(request: WebhookRequest, told: dict[str, str], tokens: list[str]) -> None:
    header = request.headers.get("authorization", "")
    given = header[6:].strip() if header.lower().startswith("token ") else told.get("token", "")
    # JSON may hold halves of characters, which have no bytes of their own.
    given_bytes = given.encode(errors="replace")
    if not any(hmac.compare_digest(given_bytes, token.encode()) for token in tokens):
        raise Forbidden(
            "The token of this webhook is none of the bot's.",
            next_step="Enter the token that Mattermost shows for the webhook or command among the "
            "bot's credentials.",
        )


def _moment(timestamp: str) -> datetime:
    if not timestamp.isdecimal() or len(timestamp) > 15:
        return datetime.now(UTC)
    number = int(timestamp)
    return wire.moment(number if number > MILLISECONDS_FROM else number * 1000)
