"""Which channel, person or message a caller means, and in which lane work for it waits."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db.models import Exists, OuterRef, Q, QuerySet

from bots.models import Bot, Event, Job, Message
from bots.models.lane import UNFINISHED
from bots.recent import Recent
from bots.refusals import Missing
from spaces.models import Channel, Participant, Person
from spaces.platforms.messages import ChannelKind, PersonRef

LARGEST_ID = 2**63 - 1
UNORDERED = "unordered"
CONTROL = "bot"  # the lane of what concerns the bot as a whole

_channels: Recent[tuple[int, str], Channel] = Recent()  # by bot and text


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
    found = channels(bot, [text])[text]
    if isinstance(found, Missing):
        raise found
    return found


def channels(bot: Bot, texts: Iterable[str]) -> dict[str, Channel | Missing]:
    """What `channel` says of each text, in one query."""
    names = {text: text.strip().lstrip("#~") for text in texts}
    wanted = set(names.values())
    rows = list(channels_of(bot).filter(_called(wanted)))
    return {text: _one_channel(bot, text, name, rows) for text, name in names.items()}


def what_names(bot: Bot, channel: Channel) -> str:
    """What somebody reads and `channel` finds this one by: its name, unless that may mean another;
    then our id."""
    named = channel.name or channel.title
    return named if channels(bot, [named])[named] == channel else str(channel.pk)


def recent_channels(bot: Bot, texts: Collection[str]) -> dict[str, Channel | Missing]:
    """As `channels`, for sending: those that were found a moment ago (`bots.recent`) are not looked
    for again."""
    known: dict[str, Channel | Missing] = {
        text: channel for text in texts if (channel := _channels.get((bot.pk, text)))
    }
    if not (unknown := set(texts) - known.keys()):
        return known
    asked_at = time.monotonic()
    for text, found in channels(bot, unknown).items():
        if isinstance(found, Channel):
            _channels.put((bot.pk, text), found, read_at=asked_at)
        known[text] = found
    return known


def channel_to_restore(bot: Bot, text: str) -> Channel | None:
    """The channel that `text` names as in `channel`, among `channels_to_restore`. Of several with
    a name an archived one is meant.

    None for one that we do not know. Raises `Missing` with code `channel_ambiguous`.
    """
    name = text.strip().lstrip("#~")
    rows = list(channels_to_restore(bot).filter(_called([name])))
    by_id = [row for row in rows if name in (str(row.pk), row.remote_id)]
    wanted = by_id or [row for row in rows if row.archived] or rows
    found = _one_channel(bot, text, name, wanted) if wanted else None
    if isinstance(found, Missing):
        raise found
    return found


def channels_to_restore(bot: Bot) -> QuerySet[Channel]:
    """The channels that the bot may know, also when it is not listed in them any more, as
    platforms leave archived ones out: public ones, and those in which it did or heard something."""
    theirs = Q(kind=ChannelKind.PUBLIC)
    for rows in (
        Participant.objects.exclude(person=None).filter(person=bot.person_id),
        Message.objects.filter(bot=bot),
        Job.objects.filter(bot=bot),
        Event.objects.filter(bot=bot),
    ):
        theirs |= Q(Exists(rows.filter(channel=OuterRef("pk"))))
    return Channel.objects.filter(theirs, space_id=bot.space_id)


def _called(names: Collection[str]) -> Q:
    """Channels with one of these ids or names, ours or the platform's."""
    named = [name for name in names if name]
    return Q(pk__in=_ids(named)) | Q(remote_id__in=names) | Q(name__in=named) | Q(title__in=named)


def _one_channel(bot: Bot, text: str, name: str, rows: Sequence[Channel]) -> Channel | Missing:
    """Our id goes before the platform's, which may be a number too, and that before names."""
    own_id = as_id(name)
    found = (
        [row for row in rows if row.pk == own_id]
        or [row for row in rows if row.remote_id == name]
        or [row for row in rows if name and name in (row.name, row.title)]
    )
    if len(found) == 1:
        return found[0]
    if found:
        return Missing(
            f"{bot.slug} is in several channels called {text!r}; use an id.",
            code="channel_ambiguous",
            field="channel",
        )
    return Missing(
        f"{bot.slug} is in no channel called {text!r}; Sync looks for new ones.", field="channel"
    )


def message(bot: Bot, text: str) -> Message:
    """The bot's message with this id, ours or the platform's. Raises `Missing`."""
    match = Q(remote_id=text)
    if (own_id := as_id(text)) is not None:
        match |= Q(pk=own_id)
    found = list(bot.messages.select_related("channel").filter(match))
    if not found:
        raise Missing(f"{bot.slug} knows no message {text!r}.", field="message")
    return next((row for row in found if row.pk == own_id), found[0])


def threads(bot: Bot, texts: Iterable[str]) -> dict[str, str]:
    """The platform's id for each message, named as in `message`; as it is when we do not know
    it. One query."""
    wanted = set(texts)
    if not wanted:
        return {}  # most messages answer none
    rows = bot.messages.filter(pk__in=_ids(wanted)).values_list("pk", "remote_id")
    remote_ids = {str(pk): remote_id for pk, remote_id in rows}
    return {text: remote_ids.get(text, text) for text in wanted}


def person(bot: Bot, text: str) -> PersonRef:
    """How the platform is told whom `text` means; by id when we know the person already."""
    return people(bot, [text])[text]


def people(bot: Bot, texts: Iterable[str]) -> dict[str, PersonRef]:
    """What `person` says of each text, in one query."""
    refs = {text: PersonRef.parse(text) for text in texts}
    if not refs:
        return {}  # most messages go to channels
    known = Person.objects.filter(
        Q(remote_id__in={ref.id for ref in refs.values()} - {""})
        | Q(username__in={ref.username for ref in refs.values()} - {""})
        | Q(email__in={ref.email for ref in refs.values()} - {""}),
        space_id=bot.space_id,
    )
    by: dict[tuple[str, str], list[Person]] = defaultdict(list)
    for row in known:
        for field in ("remote_id", "username", "email"):
            by[field, getattr(row, field)].append(row)
    return {text: _known(ref, by) for text, ref in refs.items()}


def _known(ref: PersonRef, by: Mapping[tuple[str, str], Sequence[Person]]) -> PersonRef:
    """The person we know by this id, username or e-mail, if that is one person; else `ref`."""
    for key in (("remote_id", ref.id), ("username", ref.username), ("email", ref.email)):
        found = by.get(key, ()) if key[1] else ()
        if len(found) == 1:
            return PersonRef(id=found[0].remote_id, username=found[0].username, email=ref.email)
    return ref


def lanes_of_channels(bot: Bot, channels: Sequence[Channel]) -> dict[int, str]:
    """The lane of each channel, by our id; at most one query.

    A direct channel shares the lane of its person, however the person was named.
    """
    lanes = {channel.pk: f"channel:{channel.remote_id}" for channel in channels}
    if direct := [c.pk for c in channels if c.kind == ChannelKind.DIRECT]:
        others = Participant.objects.filter(channel__in=direct).exclude(Q(person=bot.person_id))
        for channel_id, peer in others.order_by("-pk").values_list("channel", "person__remote_id"):
            lanes[channel_id] = f"person:{peer}"
    return lanes


def lanes_of_people(bot: Bot, refs: Iterable[PersonRef]) -> dict[PersonRef, str]:
    """The lane of each person; at most one query.

    Somebody whose id we learned while work waits under the name that was typed stays in the lane
    of that name until it is empty: what is sent now must not overtake it.
    """
    lanes = {ref: lane_of_person(ref) for ref in refs}
    former = {ref: _former_lanes(ref) - {lane} for ref, lane in lanes.items()}
    if not any(former.values()):
        return lanes
    waiting = set(
        Job.objects.filter(
            bot=bot, lane__key__in=set().union(*former.values()), state__in=UNFINISHED
        ).values_list("lane__key", flat=True)
    )
    return lanes | {ref: min(keys & waiting) for ref, keys in former.items() if keys & waiting}


def _former_lanes(ref: PersonRef) -> set[str]:
    """Those that hold work for this person from before we knew the id."""
    typed = [PersonRef(id=ref.username)] if ref.username else []
    typed += [PersonRef(username=ref.username)] if ref.username else []
    typed += [PersonRef(email=ref.email)] if ref.email else []
    return {lane_of_person(name) for name in typed}


def lane_of_person(ref: PersonRef) -> str:
    # Somebody we do not know yet has no id here; what was typed has to do.
    return f"person:{ref.id}" if ref.id else f"person:?{str(ref).lower()}"[:300]


def as_id(text: str) -> int | None:
    """`text` as one of our ids, or None when it cannot be one."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        return None
    number = int(text)
    return number if number <= LARGEST_ID else None


def _ids(texts: Iterable[str]) -> list[int]:
    return [number for number in map(as_id, texts) if number is not None]
