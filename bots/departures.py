"""Channels that a bot was taken out of while it was not connected.

Some platforms tell nobody who is not in a channel that he was in it once. Such a platform tells on
coming back where the bot is; the rest is compared here with what we knew.
"""

from __future__ import annotations

from django.utils import timezone

from bots.models import Bot, Receive, State
from spaces.models import Participant
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.messages import ChannelsNow, Incoming, Kind, PersonInfo

WHY = (
    "The bot was taken out of this channel while it was not connected: what was written there "
    "until then is not known."
)


def since(bot_id: int, now: ChannelsNow) -> list[Incoming]:
    """For each channel that the bot is not in any more: that what happened there is not known, and
    that it left. Both have the same ids when they are told twice."""
    known = Participant.objects.filter(person__bot=bot_id).order_by("pk")
    told: list[Incoming] = []
    for pk, channel, person in known.values_list("pk", "channel__remote_id", "person__remote_id"):
        if channel not in now.ids:
            told += _left(f"departure:{pk}", channel, person, now)
    return told


def _left(id: str, channel: str, person: str, now: ChannelsNow) -> list[Incoming]:
    at = timezone.now()
    return [
        Incoming(
            kind=Kind.GAP,
            id=f"{id}:gap",
            occurred_at=at,
            since=now.since,
            channel_id=channel,
            text=WHY,
        ),
        Incoming(
            kind=Kind.PARTICIPANT_LEFT,
            id=id,
            occurred_at=at,
            channel_id=channel,
            people=(PersonInfo(id=person),),
        ),
    ]


def will_be_told(bot: Bot, platform: Platform) -> bool:
    """Whether the bot is about to learn by its events where it is not any more. To forget it before
    would be to keep it from who reads the events."""
    if not (bot.connection.cursor and Ability.CATCH_UP in platform.abilities):
        return False
    is_live = bot.connection.state == State.LIVE
    return bot.receive == Receive.POLL or (bot.receive == Receive.WEBSOCKET and not is_live)
