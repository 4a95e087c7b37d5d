"""Messages that a platform told because it was asked: written down, so that each has an id."""

from __future__ import annotations

from collections.abc import Sequence

from bots.inbox import keep_messages, message_from
from bots.models import Bot, Message
from spaces import sync
from spaces.platforms.messages import Incoming


def write_down(bot: Bot, channel_id: int, told: Sequence[Incoming]) -> list[str]:
    """Messages of one channel and who sent them, each once; returns the platform's ids of them."""
    people = sync.people(bot.space_id, [i.person for i in told if i.person])
    rows: list[Message] = [
        message_from(i, bot.pk, channel_id, people[i.person.id] if i.person else None) for i in told
    ]
    keep_messages(rows)
    return [row.remote_id for row in rows]
