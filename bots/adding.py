"""What is about to be added: a space whose server is asked first, a bot that was tried first."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from django.utils.crypto import salted_hmac

from bots import access, audit, closing, lifecycle
from bots.access import Actor
from bots.memory import StoredMemory
from bots.models import Bot
from spaces.models import Space
from spaces.platforms import registry
from spaces.platforms.contract import Ability, Account, effective_options
from spaces.platforms.errors import Misconfigured, PlatformError, Unavailable
from spaces.platforms.messages import Finding

log = logging.getLogger(__name__)


def reach(space: Space) -> Finding | None:
    """What answers at the URL of a space, stored or not; bad news is a finding, too. None where
    the platform cannot tell before somebody logs in."""
    platform = registry.get(space.platform)
    if Ability.REACH not in platform.abilities:
        return None
    options = effective_options(platform, space.options, {})
    try:
        asked = platform(
            Account(space=space.slug, url=space.url, bot="", options=options, credentials={})
        )
        try:
            return asked.reach()
        except (PlatformError, Misconfigured):
            raise
        except Exception:
            # A plugin's fault must not look like one of ours.
            log.exception("the platform %s broke while %s was asked", platform.name, space.url)
            return lifecycle.bad_news(lifecycle.broke(asked))
        finally:
            closing.close(asked)
    except Unavailable as error:
        # The server may come later: the page offers to add the space all the same.
        return replace(lifecycle.bad_news(error), remedy="")
    except (PlatformError, Misconfigured) as error:
        return lifecycle.bad_news(error)


def mark_of(bot: Bot, values: Mapping[str, str]) -> str:
    """By which these very settings and credentials are known again. It tells nothing about them
    to anybody without the key of this install."""
    space = bot.space
    settings = [space.pk, space.url, space.options, bot.slug, bot.options, sorted(values.items())]
    return salted_hmac("bots.adding", json.dumps(settings), algorithm="sha256").hexdigest()


def add(
    bot: Bot,
    values: Mapping[str, str],
    *,
    actor: Actor,
    expiries: Mapping[str, date | None],
    untested: str = "",
    learned: str = "",
) -> None:
    """Store a new bot, validated already, with its credentials and until when they work; whoever
    adds it sees it.

    `untested` is why no test speaks for it; empty when one does. `learned` is what tests did.
    """
    with audit.together():
        lifecycle.create(bot, requested_by=actor.label)
        access.give(actor, bot)
        if values:
            lifecycle.set_credentials(bot, values, user=actor.user)
            lifecycle.set_expiries(bot, expiries)
            StoredMemory(bot).write(learned)
        if untested:
            audit.record("bot.added_untested", bot, note=untested)
