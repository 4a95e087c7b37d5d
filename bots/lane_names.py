"""What lanes are for, in words: which channel, person or handler. Their keys are for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bots import access, naming, targets
from bots.access import Actor
from bots.models import Lane, LaneKind
from bots.targets import as_id
from spaces.models import Channel, Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The key of a lane, taken apart."""

    doing: str  # the handler, or how
    what: str  # channel, person, bot or any
    id: str

    @classmethod
    def read(cls, lane: Lane) -> Key:
        doing, target = "", lane.key
        if lane.kind == LaneKind.HANDLERS:
            doing, _, target = lane.key.partition(" ")
        elif target.startswith(f"{targets.UNORDERED}:"):
            doing, target = "in any order", target.removeprefix(f"{targets.UNORDERED}:")
        what, _, of = target.partition(":")
        return cls(doing=doing, what=what, id=of)


def whole(lane: Lane, actor: Actor | None = None) -> str:
    """With whose it is, for a sentence and for the audit log."""
    return f"{name(lane, actor)} of {lane.bot or lane.subscription}"


def name(lane: Lane, actor: Actor | None = None) -> str:
    return names([lane], actor)[lane.pk]


def names(lanes: Iterable[Lane], actor: Actor | None = None) -> dict[int, str]:
    """By the id of each lane; at most four queries if their bots are known. Those of subscriptions
    have names for an actor who sees what they are of, and are told by their keys without one."""
    keys = {lane: Key.read(lane) for lane in lanes}
    remote = {lane: key for lane, key in keys.items() if lane.bot}
    ours = {lane: key for lane, key in keys.items() if not lane.bot}
    told_of = _told_of(ours, actor) if actor else {}
    found = {**told_of, **_channels(remote), **_people(remote)}
    return {lane.pk: _words(lane, key, found.get(lane.pk, "")) for lane, key in keys.items()}


def _channels(keys: Mapping[Lane, Key]) -> dict[int, str]:
    """The channels of bots, which are known by the platform's id."""
    wanted = {lane: key.id for lane, key in keys.items() if key.what == "channel"}
    if not wanted:
        return {}
    spaces = {lane.bot.space_id for lane in wanted if lane.bot}
    rows = Channel.objects.filter(space__in=spaces, remote_id__in=set(wanted.values()))
    by_id = {(row.space_id, row.remote_id): row for row in rows}
    places = {
        lane.pk: (lane.bot, row)
        for lane, remote_id in wanted.items()
        if lane.bot and (row := by_id.get((lane.bot.space_id, remote_id)))
    }
    known = naming.names(places.values())
    return {pk: known[bot.pk, row.pk] for pk, (bot, row) in places.items()}


def _people(keys: Mapping[Lane, Key]) -> dict[int, str]:
    wanted = {lane: key.id for lane, key in keys.items() if key.what == "person"}
    # What was typed stands for somebody who was not known yet.
    told = {lane.pk: typed[1:] for lane, typed in wanted.items() if typed.startswith("?")}
    if len(told) == len(wanted):
        return told
    spaces = {lane.bot.space_id for lane in wanted if lane.bot}
    rows = Person.objects.filter(space__in=spaces, remote_id__in=set(wanted.values()))
    by_id = {(row.space_id, row.remote_id): str(row) for row in rows}
    for lane, remote_id in wanted.items():
        if lane.bot and (person := by_id.get((lane.bot.space_id, remote_id))):
            told[lane.pk] = person
    return told


def _told_of(keys: Mapping[Lane, Key], actor: Actor) -> dict[int, str]:
    """What subscriptions are told of: channels and bots by our ids. A lane may be older than what
    its subscription asks for now, and be of a bot that the actor may not see."""
    ids = {lane: (key.what, as_id(key.id)) for lane, key in keys.items()}
    channel_ids = {pk for what, pk in ids.values() if what == "channel" and pk}
    bot_ids = {pk for what, pk in ids.values() if what == "bot" and pk}
    channels = access.channels(actor).in_bulk(channel_ids) if channel_ids else {}
    bots = access.bots(actor).in_bulk(bot_ids) if bot_ids else {}
    known = naming.names((None, channel) for channel in channels.values())
    told = {}
    for lane, (what, pk) in ids.items():
        if what == "channel" and (None, pk) in known:
            told[lane.pk] = known[None, pk or 0]
        elif what == "bot" and pk in bots:
            told[lane.pk] = f"{bots[pk]}, outside channels"
    return told


def _words(lane: Lane, key: Key, found: str) -> str:
    if key.what == "any" and key.id:
        target = "any channel"
    elif key.what == targets.CONTROL and not key.id:
        target = "the bot as a whole"
    else:
        target = found or lane.key
    if not key.doing or target == lane.key:
        return target
    return f"{key.doing}: {target}" if lane.kind == LaneKind.HANDLERS else f"{target}, {key.doing}"
