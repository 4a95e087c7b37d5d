"""Sync: read a bot's channels, participants and recent messages from its platform."""

from __future__ import annotations

from typing import Any

from bots.actions import action
from bots.inbox import keep_messages, message_from
from bots.models import Bot, Job, JobKind
from spaces import sync
from spaces.models import Channel
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.errors import Forbidden, NotFound

HISTORY = 50  # messages read per channel


@action(JobKind.SYNC)
def everything(platform: Platform, job: Job) -> dict[str, Any]:
    """As `read_all`."""
    return read_all(job.bot, platform)


def read_all(bot: Bot, platform: Platform) -> dict[str, Any]:
    """Channels, and for each its participants and newest messages. Counts what it read.

    A channel that the bot was thrown out of meanwhile is passed over. What platforms return lazily
    may outlast the lane's lease: reading twice does no harm, and the next call renews or gives up.
    """
    channels = sync_channels(bot, platform)
    counts = {"channels": len(channels), "participants": 0, "messages": 0}
    for remote_id, channel_id in channels.items():
        try:
            counts["participants"] += _participants(bot, platform, remote_id, channel_id)
            counts["messages"] += _history(bot, platform, remote_id, channel_id)
        except (NotFound, Forbidden):
            Channel.objects.filter(pk=channel_id).update(synced_at=None)
    return counts


def sync_channels(bot: Bot, platform: Platform) -> dict[str, int]:
    """Write down the bot's channels; returns remote id → our id. Nothing where unsupported."""
    if Ability.LIST_CHANNELS not in platform.abilities or bot.person_id is None:
        return {}
    return sync.bot_channels(bot.space_id, bot.person_id, platform.list_channels())


def _participants(bot: Bot, platform: Platform, remote_id: str, channel_id: int) -> int:
    if Ability.LIST_PARTICIPANTS not in platform.abilities:
        return 0
    infos = list(platform.list_participants(remote_id))
    sync.participants(channel_id, bot.space_id, infos)
    return len(infos)


def _history(bot: Bot, platform: Platform, remote_id: str, channel_id: int) -> int:
    if Ability.HISTORY not in platform.abilities:
        return 0
    read = list(platform.history(remote_id, quantity=HISTORY))
    people = sync.people(bot.space_id, [i.person for i in read if i.person])
    keep_messages(
        message_from(i, bot.pk, channel_id, people[i.person.id] if i.person else None) for i in read
    )
    return len(read)
