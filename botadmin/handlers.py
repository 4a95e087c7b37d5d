"""Handlers that come with botadmin."""

from __future__ import annotations

from bots.handlers import Call, on


@on("message.posted")
def echo(call: Call) -> None:
    """Say again what people say; other bots are left alone, or two echoes would never end."""
    if call.text and not call.person.get("is_bot"):
        call.reply(call.text)
