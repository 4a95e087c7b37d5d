"""What the benchmarks play in: a local space with bots that are all members of its channels."""

from __future__ import annotations

from bots import clients, lifecycle, syncing
from bots.models import Bot
from spaces.models import Space
from spaces.platforms.messages import ChannelInfo, ChannelKind, NewChannel

CHANNELS = 10


def make_bots(number: int) -> list[Bot]:
    """New bots, logged in, each a member of all channels; nothing of theirs is waiting."""
    space = Space.objects.create(slug="bench", name="Benchmark", platform="local")
    bots = [_make_bot(space, f"bot-{n}") for n in range(number)]
    rooms = make_rooms(bots[0], CHANNELS)
    for bot in bots:
        with clients.borrow(bot) as platform:
            for room in rooms:
                platform.join_channel(room.id)
            syncing.sync_channels(bot, platform)
    return bots


def make_rooms(bot: Bot, number: int) -> list[ChannelInfo]:
    """New public channels with the bot in them, known to us."""
    names = [f"channel-{n}" for n in range(number)]
    with clients.borrow(bot) as platform:
        rooms = [
            platform.create_channel(NewChannel(key=name, kind=ChannelKind.PUBLIC, name=name))[0]
            for name in names
        ]
        syncing.sync_channels(bot, platform)
    return rooms


def _make_bot(space: Space, slug: str) -> Bot:
    bot = Bot(slug=slug, name=slug, space=space)
    lifecycle.create(bot, requested_by="benchmark")
    lifecycle.set_credentials(bot, {"secret": "a password"}, user=None)
    bot.lanes.all().delete()  # and with it the job that looks around
    return Bot.objects.select_related("space", "connection").get(pk=bot.pk)
