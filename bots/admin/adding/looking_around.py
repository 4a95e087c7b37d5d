"""The channels of a new bot, as its platform tells of them now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from bots import clients, lifecycle
from bots.api import outside
from bots.models import Bot
from bots.refusals import Busy
from spaces.platforms import registry
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.errors import Forbidden, Misconfigured, PlatformError
from spaces.platforms.messages import ChannelInfo, ChannelKind, Finding

SHOWN = 200  # channels to choose from; others are named

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A channel to tick."""

    id: str
    title: str
    detail: str
    is_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the platform tells of now, or why it tells nothing."""

    offers: Sequence[Offer] = ()  # those it is in, then those it could join
    more: bool = False  # that it could join
    more_inside: int = 0
    finding: Finding | None = None


def look_around(bot: Bot) -> Found:
    """Bad news is a finding, too."""
    try:
        with outside.place_soon(), clients.borrow(bot) as platform:
            return _found(platform)
    except Busy as busy:
        return Found(finding=Finding(level="error", code=busy.code, text=busy.detail))
    except (PlatformError, Misconfigured) as error:
        return Found(finding=lifecycle.bad_news(error))
    except Exception:
        # A plugin's fault must not look like one of ours.
        platform_type = registry.get(bot.space.platform)
        log.exception("the platform %s broke while %s looked around", platform_type.name, bot.slug)
        return Found(finding=lifecycle.bad_news(lifecycle.broke(platform_type)))


def _found(platform: Platform) -> Found:
    inside: list[ChannelInfo] = []
    joinable: list[ChannelInfo] = []
    if Ability.LIST_CHANNELS in platform.abilities:
        listed = platform.list_channels()
        inside = [one for one in listed if one.kind is not ChannelKind.DIRECT]
    if Ability.LIST_JOINABLE in platform.abilities:
        with suppress(Forbidden):  # guests may be in channels and not look around
            joinable = list(islice(platform.list_joinable_channels(), SHOWN + 1))
    # Of those it is in nothing can be chosen: they leave room for those that it could join.
    shown = inside[: max(SHOWN // 2, SHOWN - len(joinable))]
    offers = [_offer(one, is_in=True) for one in shown]
    offers += [_offer(one, is_in=False) for one in joinable]
    return Found(
        offers=offers[:SHOWN], more=len(offers) > SHOWN, more_inside=len(inside) - len(shown)
    )


def _offer(info: ChannelInfo, *, is_in: bool) -> Offer:
    title = info.title or info.name or info.id
    parts = [info.name if info.name != title else "", info.kind.value, info.topic]
    return Offer(
        id=info.id, title=title, detail=", ".join(part for part in parts if part), is_in=is_in
    )
