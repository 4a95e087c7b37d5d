"""Whether something that was said is a command for a bot, and which text it is then."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bots.handling.patterns import words
from bots.models import Bot
from spaces.models import Channel
from spaces.platforms.messages import ChannelKind, Kind


@dataclass(frozen=True, slots=True)
class Addressed:
    """What was said to the bot, and how the next command may begin that is said in the same place:
    with a prefix, a mention, a slash, or nothing."""

    text: str
    lead: str

    @property
    def word(self) -> str:
        """The command, as it is compared; empty when nothing was said."""
        first = next(words(self.text), None)
        return first.text.casefold() if first else ""


def addressed(
    bot: Bot, prefix: str, kind: str, data: dict[str, Any], channel: Channel | None
) -> Addressed | None:
    """What an event says to the bot as a command, None when it does not. Other bots are not
    listened to: two that explain themselves to one another would never end."""
    if (data.get("person") or {}).get("is_bot"):
        return None
    if kind == Kind.COMMAND_INVOKED:
        return _invoked(bot, str(data.get("command", "")).lstrip("/"), str(data.get("text", "")))
    if kind != Kind.MESSAGE_POSTED:
        return None
    text = str((data.get("message") or {}).get("text", "")).strip()
    if prefix and text.startswith(prefix):
        rest = text.removeprefix(prefix)
        # "! look" is said, not asked.
        return Addressed(rest, prefix) if rest[:1].strip() else None
    if mention := re.match(rf"@{re.escape(_name(bot))}[:,]?\s+", text, re.IGNORECASE):
        return Addressed(text[mention.end() :], prefix or f"@{_name(bot)} ")
    if channel is not None and channel.kind == ChannelKind.DIRECT:
        return Addressed(text, "")
    return None


def _invoked(bot: Bot, command: str, text: str) -> Addressed:
    """`/deploy api` is the command deploy; so is `/ada deploy api` of a bot called ada."""
    if command.casefold() == _name(bot).casefold():
        return Addressed(text, f"/{_name(bot)} ")
    return Addressed(f"{command} {text}", "/")


def _name(bot: Bot) -> str:
    """What people call the bot where it is."""
    return bot.person.username if bot.person and bot.person.username else bot.slug
