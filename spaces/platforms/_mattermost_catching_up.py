"""Catching up on Mattermost: everything that happened in the bot's channels since a position.

All channels share one position, which moves when all of them were read. A walk through them that
was interrupted goes on where it was, so that even what takes longer than anybody waits is done in
the end; and because the first channels were then read some time ago, another walk follows.

Positions overlap by a minute, which also covers posts whose time was taken before that of others
that were told first. What is told twice has the same id. Nothing tells of reactions taken away; a
post has those it has now.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spaces.platforms import _mattermost_wire as wire
from spaces.platforms._mattermost_api import Fields
from spaces.platforms._mattermost_posts import Changes, Reader, everybody
from spaces.platforms.errors import Forbidden, NotFound
from spaces.platforms.messages import (
    Batch,
    ChannelsNow,
    Cursor,
    Incoming,
    Kind,
    MessageReactions,
)

OVERLAP = 60_000  # ms that are read again; a post is stored within seconds of its time
START_TOLERANCE = 1_000  # ms that the server's clock is not known better than
# A poll looks for edits, deletions and reactions once in as many seconds as there are channels.
LONGEST_SWEEP_PAUSE = 60.0  # seconds
BATCH = 200  # events
CHANNELS_PER_STEP = 10  # that are read before the walk's progress is told


@dataclass(frozen=True, slots=True)
class Walk:
    """On its way through all channels in the order of their ids: how far it came. `everywhere`:
    also where nothing was posted, which edits, deletions and reactions need."""

    began: int  # the server's milliseconds
    done_up_to: str
    everywhere: bool


@dataclass(frozen=True, slots=True)
class Position:
    """How far was read, in the server's milliseconds.

    Nothing before `start` is told. `news` is the position in posts, `changes` that in edits,
    deletions and reactions, and `swept_at` when we last looked for those, by our clock in seconds.
    `walk` was begun from here and not ended.
    """

    start: int
    news: int
    changes: int
    swept_at: float
    walk: Walk | None = None

    @classmethod
    def of(cls, cursor: Cursor) -> Position:
        start = int(cursor.get("start", 0))
        news = int(cursor.get("at", start))
        return cls(
            start=start,
            news=news,
            changes=int(cursor.get("changes", news)),
            swept_at=float(cursor.get("swept_at", 0)),
            walk=_walk_of(cursor),
        )

    def cursor(self) -> dict[str, Any]:
        walk = self.walk and [self.walk.began, self.walk.done_up_to, self.walk.everywhere]
        return {
            "start": self.start,
            "at": self.news,
            "changes": self.changes,
            "swept_at": self.swept_at,
            "walk": walk,
        }

    def since(self, walk: Walk) -> int:
        reached = self.changes if walk.everywhere else self.news
        return max(reached - OVERLAP, self.start)


def _walk_of(cursor: Cursor) -> Walk | None:
    match cursor.get("walk"):
        case [int(began), str(done_up_to), bool(everywhere)]:
            return Walk(began, done_up_to, everywhere)
    return None


def starting_position(reader: Reader) -> Position:
    """Now: the newest thing that ever happened in a channel of the bot's."""
    newest = max(map(_newest, reader.channels(archived=True)), default=0)
    now = reader.server_now()
    # An import may bring posts of the future, from where nothing would be heard.
    at = newest if 0 < newest <= now + START_TOLERANCE else now - START_TOLERANCE
    return Position(start=at, news=at, changes=at, swept_at=0)


class CatchingUp:
    """`hide_deleted`: what was deleted before we came is not told as a message."""

    def __init__(self, reader: Reader, *, hide_deleted: bool):
        self._reader = reader
        self._hide_deleted = hide_deleted

    def since(self, position: Position, *, sweep: bool) -> Iterator[Batch]:
        """What happened since. Without `sweep` mostly where something was posted, and only now
        and then everywhere."""
        for batch in self._walks(position, sweep=sweep):
            yield batch
            self._reader.wait_anew()  # whoever took it knows that we are at work

    def _walks(self, position: Position, *, sweep: bool) -> Iterator[Batch]:
        if position.walk:
            channels = self._reader.channels_of_all_teams()
            position = yield from self._walk(position, position.walk, channels)
        began = self._reader.server_now()
        channels = self._reader.channels_of_all_teams()
        pause = min(len(channels), LONGEST_SWEEP_PAUSE)
        everywhere = sweep or time.time() - position.swept_at >= pause
        yield from self._walk(position, Walk(began, "", everywhere), channels)

    # Through the channels -------------------------------------------------------------------------

    def _walk(
        self, position: Position, walk: Walk, channels: Sequence[Fields]
    ) -> Generator[Batch, None, Position]:
        """Returns the position after it."""
        yield Batch(incoming=(), cursor={}, channels=_are_now(channels, position))
        since = position.since(walk)
        ours = sorted(filter(self._reader.is_ours, channels), key=lambda one: str(one["id"]))
        due = [one for one in ours if one["id"] > walk.done_up_to and _is_due(one, since, walk)]
        changed = position.news
        for number, channel in enumerate(due, 1):
            changed = max(changed, (yield from self._channel(channel, since)))
            if number % CHANNELS_PER_STEP == 0:
                so_far = replace(walk, done_up_to=channel["id"])
                yield Batch(incoming=(), cursor=replace(position, walk=so_far).cursor())
        after = _after(position, walk, newest=max(map(_newest, ours), default=0), changed=changed)
        yield Batch(incoming=(), cursor=after.cursor())
        return after

    def _channel(self, channel: Fields, since: int) -> Generator[Batch, None, int]:
        """What happened in it and became of it; returns when its latest change was."""
        news = _channel_news(channel, since, self._reader.own_id)
        is_over = bool(channel.get("delete_at"))
        changed = since
        if not is_over:
            yield from _batches(news)
        try:
            changed = yield from self._posts(channel["id"], since)
        except (NotFound, Forbidden):
            # Thrown out of it a moment ago, or nobody may read what is archived.
            now = self._reader.server_now()
            id = f"{channel['id']}:unreadable:{_newest(channel)}"
            yield _gap(channel["id"], id, since, now, UNREADABLE)
        if is_over:
            yield from _batches(news)
        return changed

    def _posts(self, channel_id: str, since: int) -> Generator[Batch, None, int]:
        changes = self._reader.changes(channel_id, since)
        yield from _gaps(channel_id, since, changes)
        for posts in self._reader.pieces(channel_id, since, changes):
            people = self._reader.people(everybody(posts))
            told = [value for post in posts for value in self._tell(post, since)]
            reactions = [
                MessageReactions(
                    channel_id=channel_id,
                    message_id=post["id"],
                    reactions=wire.reactions(post, people),
                    since=wire.moment(since),
                )
                for post in posts
                if not post["delete_at"] and post["update_at"] > since
            ]
            yield from _batches(told, reactions)
        return max((post["update_at"] for post in changes.posts), default=since)

    def _tell(self, post: Fields, since: int) -> Iterator[Incoming]:
        author, gone = self._reader.author(post), post["delete_at"]
        if post["create_at"] > since and not (gone and self._hide_deleted):
            yield wire.posted(post, author, self._reader.own_id)
        if gone > since:
            yield wire.deleted(post, wire.moment(gone))
        elif not gone and (post.get("edit_at") or 0) > since:
            yield wire.edited(post, author, self._reader.own_id)


def _are_now(channels: Sequence[Fields], position: Position) -> ChannelsNow:
    ids = frozenset(str(channel["id"]) for channel in channels)
    return ChannelsNow(ids=ids, since=wire.moment(position.news))


def _is_due(channel: Fields, since: int, walk: Walk) -> bool:
    # Nobody changes anything in an archived channel.
    return _newest(channel) > since or (walk.everywhere and not channel.get("delete_at"))


def _after(position: Position, walk: Walk, *, newest: int, changed: int) -> Position:
    # What happened while we read may be missing from channels read before it happened.
    reached = max(position.news, min(newest, walk.began))
    return Position(
        start=position.start,
        news=reached,
        changes=max(reached, min(changed, walk.began)) if walk.everywhere else position.changes,
        swept_at=time.time() if walk.everywhere else position.swept_at,
    )


def _newest(channel: Fields) -> int:
    names = ("last_post_at", "create_at", "update_at", "delete_at")
    return max(int(channel.get(name) or 0) for name in names)


def _channel_news(channel: Fields, since: int, own_id: str) -> list[Incoming]:
    """What became of the channel itself."""
    created, changed = channel.get("create_at", 0), channel.get("update_at", 0)
    if channel.get("delete_at"):
        return [wire.channel_archived(channel)] if channel["delete_at"] > since else []
    if created > since:
        return [wire.channel_created(channel, own_id)]
    return [wire.channel_changed(channel)] if changed > since else []


def _batches(
    told: Sequence[Incoming], reactions: Sequence[MessageReactions] = ()
) -> Iterator[Batch]:
    """The position stays until all channels are read: they share one."""
    for first in range(0, len(told), BATCH):
        yield Batch(incoming=tuple(told[first : first + BATCH]), cursor={})
    if reactions:
        yield Batch(incoming=(), cursor={}, reactions=tuple(reactions))


# What cannot be told ------------------------------------------------------------------------------

UNREADABLE = "The bot may not read here any more: what was written meanwhile is not known."
HIDDEN = "The server hides older messages, as its licence demands: they are not known."
TOO_MANY = (
    "So much happened here that the server does not tell all of it: edits, deletions and reactions "
    "of older messages may be missing. Every message that still exists was told."
)


def _gaps(channel_id: str, since: int, changes: Changes) -> Iterator[Batch]:
    if changes.hidden_until > since:
        id = f"{channel_id}:hidden:{changes.hidden_until}"
        yield _gap(channel_id, id, since, changes.hidden_until, HIDDEN)
    if not changes.are_all:
        # The same one again has no other end worth telling.
        yield _gap(channel_id, f"{channel_id}:{since}", since, changes.known_from, TOO_MANY)


def _gap(channel_id: str, id: str, since: int, until: int, why: str) -> Batch:
    gap = Incoming(
        kind=Kind.GAP,
        id=f"gap:{id}",
        occurred_at=wire.moment(until),
        since=wire.moment(since),
        channel_id=channel_id,
        text=why,
    )
    return Batch(incoming=(gap,), cursor={})
