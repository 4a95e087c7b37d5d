"""Sync: read a bot's channels, participants and recent messages from its platform."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bots import clients, departures, lanes
from bots.actions import action
from bots.bulkhead import bulkhead
from bots.memberships import describe_soon, list_soon
from bots.models import Bot, Job, JobKind
from bots.recording import write_down
from spaces import sync
from spaces.models import Channel
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.errors import Forbidden, Misconfigured, NotFound, PlatformError

log = logging.getLogger(__name__)

HISTORY = 50  # messages read per channel
BUSY_SECONDS = 5.0  # what finds no room among the bot's other work is tried again after this


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
    write = sync.found_channels if departures.will_be_told(bot, platform) else sync.bot_channels
    return write(bot.space_id, bot.person_id, platform.list_channels())


def describe(bot_id: int, channel_ids: Sequence[int]) -> None:
    """Ask the platform about channels that events only named: what they are called, who is in them.

    Does nothing about those that were read meanwhile. What fails is left to the next sync.
    """
    bot = _enabled(bot_id)
    if bot is None:
        return
    channels = list(Channel.objects.filter(pk__in=channel_ids, space=bot.space, synced_at=None))
    if channels:
        later = partial(describe_soon, bot_id, channel_ids, seconds=BUSY_SECONDS)
        _ask(bot, lambda platform: _describe(bot, platform, channels), later=later)


def list_anew(bot_id: int) -> None:
    """Ask the platform which channels the bot is in. What fails is left to the next sync."""
    bot = _enabled(bot_id)
    if bot is not None:
        later = partial(list_soon, bot_id, seconds=BUSY_SECONDS)
        _ask(bot, lambda platform: sync_channels(bot, platform), later=later)


def _enabled(bot_id: int) -> Bot | None:
    bots = Bot.objects.select_related("space", "connection")
    return bots.filter(pk=bot_id, enabled=True).first()


def _ask(bot: Bot, question: Callable[[Platform], object], *, later: Callable[[], None]) -> None:
    """Now, or `later` while the bot has its share of this process's threads."""
    if not bulkhead().enter_poll(bot):
        later()
        return
    try:
        with clients.borrow(bot) as platform:
            question(platform)
    except (PlatformError, Misconfigured) as error:
        log.warning("the channels of %s wait for a sync: %s", bot.slug, error.detail)
    finally:
        if (parked := bulkhead().leave_poll(bot)) is not None:
            lanes.wake([parked])


def _describe(bot: Bot, platform: Platform, channels: Sequence[Channel]) -> None:
    can_find = Ability.FIND_CHANNEL in platform.abilities
    if not can_find:
        sync_channels(bot, platform)
    for channel in channels:
        try:
            if can_find:
                _find(bot, platform, channel)
            _participants(bot, platform, channel.remote_id, channel.pk)
        except (NotFound, Forbidden) as error:
            log.info("channel %s is not shown to %s: %s", channel.pk, bot.slug, error.detail)


def _find(bot: Bot, platform: Platform, channel: Channel) -> None:
    info = platform.find_channel(id=channel.remote_id)
    peer_ids = sync.people(bot.space_id, [info.peer] if info.peer else [])
    sync.channels(bot.space_id, [info])
    sync.take_parts((channel.pk, person_id) for person_id in peer_ids.values())


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
    return len(write_down(bot, channel_id, read))
