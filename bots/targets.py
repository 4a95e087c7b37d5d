"""Which channel, person or message a caller means, and in which lane work for it waits."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from bots.models import Bot, Message
from bots.refusals import Missing
from spaces.models import Channel, Person
from spaces.platforms.messages import ChannelKind, PersonRef

LARGEST_ID = 2**63 - 1
UNORDERED = "unordered"
CONTROL = "bot"  # the lane of what concerns the bot as a whole


def channels_of(bot: Bot) -> QuerySet[Channel]:
    """The channels the bot takes part in."""
    if bot.person_id is None:
        return Channel.objects.none()
    return Channel.objects.filter(space_id=bot.space_id, participants__person_id=bot.person_id)


def channel(bot: Bot, text: str) -> Channel:
    """The one channel of the bot that `text` names: our id, the platform's id, or a name.

    A leading `#` or `~` is dropped. Raises `Missing` with code `not_found` or
    `channel_ambiguous`.
    """
    name = text.strip().lstrip("#~")
    by_id = Q(remote_id=name)
    if (own_id := as_id(name)) is not None:
        by_id |= Q(pk=own_id)
    mine = channels_of(bot)
    found = list(mine.filter(by_id)[:2]) or list(mine.filter(Q(name=name) | Q(title=name))[:2])
    if not found:
        raise Missing(
            f"{bot.slug} is in no channel called {text!r}; Sync looks for new ones.",
            field="channel",
        )
    if len(found) > 1:
        raise Missing(
            f"{bot.slug} is in several channels called {text!r}; use an id.",
            code="channel_ambiguous",
            field="channel",
        )
    return found[0]


def message(bot: Bot, text: str) -> Message:
    """The bot's message with this id, ours or the platform's. Raises `Missing`."""
    match = Q(remote_id=text)
    if (own_id := as_id(text)) is not None:
        match |= Q(pk=own_id)
    found = bot.messages.select_related("channel").filter(match).order_by("pk").first()
    if found is None:
        raise Missing(f"{bot.slug} knows no message {text!r}.", field="message")
    return found


def person(bot: Bot, text: str) -> PersonRef:
    """How the platform is told whom `text` means; by id when we know the person already."""
    ref = PersonRef.parse(text)
    known = _known(bot.space_id, ref)
    return PersonRef(id=known.remote_id, username=known.username) if known else ref


def lane_of_channel(bot: Bot, channel: Channel) -> str:
    """A direct channel shares the lane of its person, however the person was named."""
    if channel.kind == ChannelKind.DIRECT:
        others = channel.participants.exclude(person=bot.person)
        peer = others.values_list("person__remote_id", flat=True).first()
        if peer is not None:
            return f"person:{peer}"
    return f"channel:{channel.remote_id}"


def lane_of_person(ref: PersonRef) -> str:
    # Somebody we do not know yet has no id here; what was typed has to do.
    return f"person:{ref.id}" if ref.id else f"person:?{str(ref).lower()}"[:300]


def as_id(text: str) -> int | None:
    """`text` as one of our ids, or None when it cannot be one."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        return None
    number = int(text)
    return number if number <= LARGEST_ID else None


def _known(space_id: int, ref: PersonRef) -> Person | None:
    people = Person.objects.filter(space_id=space_id)
    for match in ({"remote_id": ref.id}, {"username": ref.username}, {"email": ref.email}):
        (value,) = match.values()
        if value and len(found := people.filter(**match)[:2]) == 1:
            return found[0]
    return None
