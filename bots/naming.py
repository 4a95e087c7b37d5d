"""What channels are called, on every page: by title or name, and conversations by who is in them.

A conversation between two has no name of its own on most platforms, and no other than its number on
some: for a bot it is called as the others in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from bots.models import Bot
from spaces.models import Channel, Participant
from spaces.platforms.messages import ChannelKind

NAMED = 4  # people of a conversation without a title

# A channel, and the bot for whom it is called; None: for nobody who is in it.
Place = tuple[Bot | None, Channel]
Names = Mapping[tuple[int | None, int], str]  # by the ids of both


def name(bot: Bot | None, channel: Channel) -> str:
    return names([(bot, channel)])[bot.pk if bot else None, channel.pk]


def names(places: Iterable[Place]) -> Names:
    """What to call each of these; one query at most."""
    places = list(places)
    titles = {channel.pk: channel.title or channel.name for _, channel in places}
    personal = {c.pk for _, c in places if _is_personal(c, titles[c.pk])}
    people: dict[int, list[tuple[int, str]]] = defaultdict(list)
    if personal:
        rows = Participant.objects.filter(channel__in=personal).select_related("person")
        for row in rows.order_by("pk"):
            people[row.channel_id].append((row.person_id, str(row.person)))
    found: dict[tuple[int | None, int], str] = {}
    for bot, channel in places:
        inside = people[channel.pk]
        itself = bot.person_id if bot else None
        if bot and not any(person == itself for person, _ in inside):
            inside = []  # it is not there any more, and who is there now is not for its operators
        others = [called for person, called in inside if person != itself]
        more = ["…"] if len(others) > NAMED else []
        called = ", ".join(others[:NAMED] + more) or titles[channel.pk]
        found[bot.pk if bot else None, channel.pk] = called or f"Room {channel.remote_id}"
    return found


def _is_personal(channel: Channel, title: str) -> bool:
    """Whether it is called by who is in it. They are few: a platform has a title for the others."""
    is_group = channel.kind == ChannelKind.GROUP
    return channel.kind == ChannelKind.DIRECT or (is_group and not title)
