"""The rooms of a bot, the one with the newest message first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import formats, timezone
from django.utils.text import Truncator

from bots import naming, targets
from bots.admin.platforms import find
from bots.chat import fellows, markdown
from bots.models import Bot, Direction, Message
from spaces.models import Channel, Participant
from spaces.platforms.contract import Ability
from spaces.platforms.messages import ChannelKind

PAGE = 50
MOST = 1_000  # shown at once
LONGEST_LINE = 90  # characters
LONGEST_SUMMARY = 1_000  # characters
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


def active(bot: Bot, search: str, limit: int, bots: QuerySet[Bot]) -> Listed:
    """`bots` are those that who looks may see."""
    return _listed(bot, _found(bot, search).filter(archived=False), limit, bots)


def archived(bot: Bot, search: str, bots: QuerySet[Bot]) -> Listed:
    return _listed(bot, _found(bot, search).filter(archived=True), PAGE, bots)


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


def _listed(bot: Bot, rows: QuerySet[Channel], limit: int, bots: QuerySet[Bot]) -> Listed:
    # Both are looked up in an index, once for each room: nobody walks through the messages.
    newest = Message.objects.filter(bot=bot, channel=OuterRef("pk")).order_by("-sent_at", "-pk")
    ordered = rows.annotate(
        last_at=Subquery(newest.values("sent_at")[:1]), last_id=Subquery(newest.values("pk")[:1])
    ).order_by(F("last_at").desc(nulls_last=True), "name", "pk")
    channels = list(ordered[: limit + 1])
    shown = channels[:limit]
    last = Message.objects.select_related("sender").in_bulk([c.last_id for c in shown if c.last_id])
    fellows.introduce((message.sender for message in last.values()), bots)
    names = naming.names((bot, channel) for channel in shown)
    rooms = [
        Room(
            channel=channel,
            name=names[bot.pk, channel.pk],
            icon=ICONS[ChannelKind(channel.kind)],
            kind=channel.kind,
            line=_line(bot, last.get(channel.last_id)),
            last_at=channel.last_at,
            lately=lately(channel.last_at) if channel.last_at else "",
        )
        for channel in shown
    ]
    return Listed(rooms=rooms, more=len(channels) > limit)


def _line(bot: Bot, message: Message | None) -> str:
    if message is None:
        return "Nothing was said yet."
    return Truncator(f"{_author(message)}: {summary(bot, message)}").chars(LONGEST_LINE)


def _author(message: Message) -> str:
    if message.direction == Direction.OUT:
        return "Bot"
    return str(message.sender) if message.sender else "Somebody"


def summary(bot: Bot, message: Message) -> str:
    """A message of the bot in one line."""
    if message.deleted_at:
        return "deleted"
    if message.text.strip():
        platform = find(bot.space.platform)
        has_markdown = platform is not None and Ability.MARKDOWN in platform.abilities
        text = message.text[:LONGEST_SUMMARY]
        # What has no words, say a line across, is shown as it was written.
        return (markdown.words(text) if has_markdown else "") or " ".join(text.split())
    if message.card:
        return str(message.card.get("title") or message.card.get("summary") or "a card")
    return ", ".join(file["name"] or "a file" for file in message.files) or "an empty message"
