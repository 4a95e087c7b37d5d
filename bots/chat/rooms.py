"""The rooms of a bot, the one with the newest message first, and what they are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import formats, timezone
from django.utils.text import Truncator

from bots import targets
from bots.models import Bot, Direction, Message
from spaces.models import Channel, Participant
from spaces.platforms.messages import ChannelKind

PAGE = 50
MOST = 1_000  # shown at once
LONGEST_LINE = 90  # characters
NAMED = 4  # people of a group that has no title
PERSONAL = (ChannelKind.DIRECT, ChannelKind.GROUP)  # called as who takes part
ICONS = {
    ChannelKind.PUBLIC: "tag",
    ChannelKind.PRIVATE: "lock",
    ChannelKind.GROUP: "group",
    ChannelKind.DIRECT: "person",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    channel: Channel
    name: str
    icon: str
    kind: str
    line: str  # of the last message
    last_at: datetime | None
    lately: str  # the same for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    rooms: Sequence[Room]
    more: bool


def active(bot: Bot, search: str, limit: int) -> Listed:
    return _listed(bot, _found(bot, search).filter(archived=False), limit)


def archived(bot: Bot, search: str) -> Listed:
    return _listed(bot, _found(bot, search).filter(archived=True), PAGE)


def name_of(bot: Bot, channel: Channel) -> str:
    return _names(bot, [channel])[channel.pk]


def lately(moment: datetime) -> str:
    """The time of today, the day of this year, or the date."""
    then, now = timezone.localtime(moment), timezone.localtime()
    if then.date() == now.date():
        return formats.date_format(then, "H:i")
    return formats.date_format(then, "j M" if then.year == now.year else "j M Y")


def _found(bot: Bot, search: str) -> QuerySet[Channel]:
    rows = targets.channels_of(bot)
    if not search:
        return rows
    others = Participant.objects.filter(channel=OuterRef("pk")).exclude(person=bot.person_id)
    called = (
        Q(person__name__icontains=search)
        | Q(person__username__icontains=search)
        | Q(person__email__icontains=search)
    )
    return rows.filter(
        Q(name__icontains=search)
        | Q(title__icontains=search)
        | (Q(kind__in=PERSONAL) & Exists(others.filter(called)))
    )


def _listed(bot: Bot, rows: QuerySet[Channel], limit: int) -> Listed:
    # Both are looked up in an index, once for each room: nobody walks through the messages.
    newest = Message.objects.filter(bot=bot, channel=OuterRef("pk")).order_by("-sent_at", "-pk")
    ordered = rows.annotate(
        last_at=Subquery(newest.values("sent_at")[:1]), last_id=Subquery(newest.values("pk")[:1])
    ).order_by(F("last_at").desc(nulls_last=True), "name", "pk")
    channels = list(ordered[: limit + 1])
    shown = channels[:limit]
    last = Message.objects.select_related("sender").in_bulk([c.last_id for c in shown if c.last_id])
    names = _names(bot, shown)
    rooms = [
        Room(
            channel=channel,
            name=names[channel.pk],
            icon=ICONS[ChannelKind(channel.kind)],
            kind=channel.kind,
            line=_line(last.get(channel.last_id)),
            last_at=channel.last_at,
            lately=lately(channel.last_at) if channel.last_at else "",
        )
        for channel in shown
    ]
    return Listed(rooms=rooms, more=len(channels) > limit)


def _line(message: Message | None) -> str:
    if message is None:
        return "Nothing was said yet."
    return Truncator(f"{_author(message)}: {summary(message)}").chars(LONGEST_LINE)


def _author(message: Message) -> str:
    if message.direction == Direction.OUT:
        return "Bot"
    return str(message.sender) if message.sender else "Somebody"


def summary(message: Message) -> str:
    """A message in one line."""
    if message.deleted_at:
        return "deleted"
    if message.text.strip():
        return " ".join(message.text[:1_000].split())
    if message.card:
        return str(message.card.get("title") or message.card.get("summary") or "a card")
    return ", ".join(file["name"] or "a file" for file in message.files) or "an empty message"


def _names(bot: Bot, channels: Iterable[Channel]) -> dict[int, str]:
    """What to call these; one query at most."""
    names = {channel.pk: channel.title or channel.name for channel in channels}
    personal = [c for c in channels if c.kind == ChannelKind.DIRECT or not names[c.pk]]
    others: dict[int, list[str]] = defaultdict(list)
    if personal:
        rows = Participant.objects.filter(channel__in=personal).exclude(person=bot.person_id)
        for row in rows.select_related("person").order_by("pk"):
            others[row.channel_id].append(str(row.person))
    for channel in personal:
        people = others[channel.pk]
        more = ["…"] if len(people) > NAMED else []
        names[channel.pk] = ", ".join(people[:NAMED] + more) or names[channel.pk]
    return {c.pk: names[c.pk] or f"Room {c.remote_id}" for c in channels}
