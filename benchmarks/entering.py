"""Bots that exist on a Mattermost, entered here."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from bots import lifecycle
from bots.models import Bot, Lane, Receive
from spaces.models import Space


def enter(slug: str, url: str, tokens: Sequence[str], *, receive: Receive) -> list[Bot]:
    """A space, and in it a bot for each token. They are switched off and know no channels."""
    with transaction.atomic():
        space = Space.objects.create(slug=slug, name=slug, platform="mattermost", url=url)
        for n, token in enumerate(tokens):
            bot = Bot(slug=f"{slug}-{n}", name=f"{slug} {n}", space=space, receive=receive)
            bot.enabled = False
            lifecycle.create(bot, requested_by="benchmark")
            lifecycle.set_credentials(bot, {"token": token}, user=None)
        Lane.objects.filter(bot__space=space).delete()  # and with them the jobs that look around
    return list(
        Bot.objects.select_related("space", "connection").filter(space=space).order_by("pk")
    )
