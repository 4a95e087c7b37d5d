"""Platforms that call us, for tests of the door they come through.

Both work as the local platform does, and may also tell of messages and slash commands by webhook:
JSON by POST, or the same fields in the query of a GET, with a token that only both sides know.

    {"token": "…", "id": "7", "channel": "…", "user": "alice", "text": "hi", "wait": 3}

They are registered when this module is imported, which only tests do.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from spaces.platforms.contract import Ability, Credential, Platform
from spaces.platforms.errors import Forbidden, Rejected
from spaces.platforms.local import Local
from spaces.platforms.messages import (
    Answer,
    Incoming,
    Kind,
    PersonInfo,
    Webhook,
    WebhookRequest,
    WebhookResponse,
)
from spaces.platforms.registry import register

TOKEN = "only both sides know it"
LONGEST_ANSWER = 1000  # characters


@register
class Hooked(Local):
    name = "hooked"
    label = "Hooked"
    abilities = Local.abilities | {Ability.WEBHOOK}
    credentials = (  # type: ignore[assignment]  # one more than its parent declares
        *Local.credentials,
        Credential(name="hook", label="Token", required=False),
    )

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        told = _read(request)
        wanted = self.account.credentials.get("hook", TOKEN)
        if not hmac.compare_digest(str(told.pop("token", "")).encode(), wanted.encode()):
            raise Forbidden("The token is another one.")
        try:
            return Webhook(incoming=(_incoming(told),), answer_seconds=float(told.get("wait", 0)))
        except (KeyError, ValueError) as error:
            raise Rejected(f"It tells of nothing: {error!r}.") from error

    def answer_webhook(self, request: WebhookRequest, answer: Answer | None) -> WebhookResponse:
        if answer is None:
            return WebhookResponse(body=b"{}")
        if len(answer.text) > LONGEST_ANSWER:
            raise Rejected("The answer is too long.")
        return WebhookResponse(body=json.dumps(asdict(answer)).encode())


@register
class Calling(Hooked):
    """Only calls: there is nothing to hold and nothing to ask."""

    name = "calling"
    label = "Calling"
    abilities = Hooked.abilities - {Ability.STREAM, Ability.CATCH_UP}
    open_stream = Platform.open_stream
    decode = Platform.decode
    start_cursor = Platform.start_cursor
    catch_up = Platform.catch_up


def _read(request: WebhookRequest) -> dict[str, Any]:
    if request.method == "GET":
        return dict(parse_qsl(request.query))
    try:
        told = json.loads(request.body)
    except ValueError as error:
        raise Rejected("It is no JSON.") from error
    if not isinstance(told, dict):
        raise Rejected("It is no object.")
    return told


def _incoming(told: dict[str, Any]) -> Incoming:
    command = told.get("command", "")
    return Incoming(
        kind=Kind.COMMAND_INVOKED if command else Kind.MESSAGE_POSTED,
        id=f"hook:{told['id']}",
        occurred_at=datetime.now(UTC),
        channel_id=told["channel"],
        person=PersonInfo(id=told["user"], username=told["user"]),
        message_id="" if command else told["id"],
        command=command,
        text=told.get("text", ""),
        raw=told,
    )
