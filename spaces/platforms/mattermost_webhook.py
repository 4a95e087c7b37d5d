"""An incoming webhook of Mattermost: sending to a channel without having an account.

All that Mattermost gives is a URL, which is the secret. It answers `ok` and nothing else: no id of
the post, nothing to ask what became of it, so an answer that is lost leaves the job for a person.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from spaces.platforms import _mattermost_wire as wire
from spaces.platforms import http
from spaces.platforms._mattermost_api import refused
from spaces.platforms.contract import Ability, Account, Credential, Limits, Option, Platform
from spaces.platforms.errors import Misconfigured, NotFound
from spaces.platforms.messages import (
    ChannelInfo,
    ChannelKind,
    Finding,
    Identity,
    Outgoing,
    PersonInfo,
    PersonRef,
    Sent,
)
from spaces.platforms.registry import register

DEFAULT = "default"  # id of the channel that the webhook was made for


@register
class MattermostWebhook(Platform):
    name = "mattermost-webhook"
    label = "Mattermost incoming webhook"
    needs_url = False
    has_accounts = False
    abilities = frozenset(
        {
            Ability.POST,
            Ability.MARKDOWN,
            Ability.CARDS,
            Ability.LIST_CHANNELS,
            Ability.FIND_CHANNEL,
        }
    )
    credentials = (
        Credential(
            name="webhook_url",
            label="Webhook URL",
            help="As Mattermost shows it: https://chat.example.org/hooks/…",
            guide=(
                "In the product menu of Mattermost open Integrations, then Incoming Webhooks, and "
                "press Add Incoming Webhook. If the page is not there, a system administrator "
                "allows it: System Console, Integrations, Integration Management.",
                "Choose the channel that it writes to, save, and copy the URL that is shown.",
            ),
        ),
    )
    options = (
        *http.OPTIONS,
        Option(
            name="channels",
            label="Other channels",
            on=("bot",),
            help="Names, and @usernames, that the webhook may write to besides its own channel; "
            "separated by commas.",
        ),
        Option(
            name="username",
            label="Shown name",
            on=("bot",),
            help="Where the server lets webhooks override it.",
        ),
        Option(
            name="icon_url",
            label="Shown picture",
            type="url",
            on=("bot",),
            help="Where the server lets webhooks override it.",
        ),
    )
    limits = Limits(text=16_383)

    def __init__(self, account: Account):
        super().__init__(account)
        url = account.credentials.get("webhook_url", "").strip()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misconfigured("The webhook URL is none.", option="webhook_url")
        # The URL is all base: what is told of requests names their paths.
        self._http = http.Http(url, account, authorize=lambda: "", refusal=refused)
        self.longest_call_seconds = 10 + self._http.default_seconds + self._http.long_seconds

    def connect(self) -> Identity:
        """Nothing can be asked without posting, so this asks nothing."""
        digest = hashlib.sha256(self.account.credentials["webhook_url"].encode()).hexdigest()
        name = str(self.account.options["username"]) or "incoming-webhook"
        person = PersonInfo(id=f"webhook:{digest[:20]}", username=name, is_bot=True)
        return Identity(person=person, server="Mattermost incoming webhook")

    def check(self, identity: Identity) -> list[Finding]:
        return [
            Finding(
                level="warning",
                code="not_testable",
                text="A webhook cannot be tested without posting.",
                remedy="Send a message and look at the channel.",
            )
        ]

    def close(self) -> None:
        self._http.close()

    def list_channels(self) -> Iterator[ChannelInfo]:
        yield ChannelInfo(
            id=DEFAULT, kind=ChannelKind.PUBLIC, name=DEFAULT, title="The webhook's own channel"
        )
        for name in filter(None, re.split(r"[,\s]+", str(self.account.options["channels"]))):
            direct = name.startswith("@")
            yield ChannelInfo(
                id=name.lstrip("#~"),
                kind=ChannelKind.DIRECT if direct else ChannelKind.PUBLIC,
                name=name.lstrip("#~"),
            )

    def find_channel(
        self, *, id: str = "", name: str = "", person: PersonRef | None = None
    ) -> ChannelInfo:
        wanted = f"@{person}" if person else (id or name).lstrip("#~")
        for info in self.list_channels():
            if info.id == wanted:
                return info
        raise NotFound(f"The webhook's options name no channel {wanted!r}.")

    def post_message(self, message: Outgoing) -> Sent:
        channel = self.find_channel(id=message.channel, person=message.person).id
        options = self.account.options
        body: dict[str, Any] = {
            "text": message.text,
            "username": options["username"],
            "icon_url": options["icon_url"],
            "channel": "" if channel == DEFAULT else channel,
            "attachments": [wire.card_out(message.card)] if message.card else None,
            "props": {wire.KEY_PROP: message.key},
        }
        body = {name: value for name, value in body.items() if value}
        answer = self._http.request("POST", "", body=body, timeout_seconds=self._http.long_seconds)
        if answer.text.strip() != "ok":
            raise Misconfigured(
                "What answers at the webhook URL is no webhook of Mattermost's.",
                option="webhook_url",
            )
        return Sent(
            message_id=f"webhook:{message.key}", channel_id=channel, sent_at=datetime.now(UTC)
        )
