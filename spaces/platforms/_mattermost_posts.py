"""Reading Mattermost's channels: pages of posts, and everything that happened since a moment.

What makes it hard, all of it in the server's source (11.6):

- `since` gives the posts that were *changed* after a time, deleted ones and old versions of edited
  ones among them; at most 1,000, chosen without any order.
- `before` skips posts of the same millisecond as its anchor.
- Nothing tells of reactions taken away; a post has those it has now.

So positions overlap by a minute, which also covers posts whose time was taken before that of others
that were told first. What is told twice has the same id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from spaces.platforms import _mattermost_wire as wire
from spaces.platforms._mattermost_api import PAGE, Api, Fields
from spaces.platforms.errors import Forbidden, NotFound, RateLimited, Rejected
from spaces.platforms.messages import (
    Batch,
    Cursor,
    Incoming,
    Kind,
    MessageReactions,
    PersonInfo,
)

OVERLAP = 60_000  # ms that are read again; a post is stored within seconds of its time
SINCE_MOST = 1_000  # rows of a `since`; so many mean that there may be more
KNOWN_FROM_PRECISION = 1_000  # ms
START_TOLERANCE = 1_000  # ms that the server's clock is not known better than
# A poll looks for edits, deletions and reactions once in as many seconds as there are channels.
LONGEST_SWEEP_PAUSE = 60.0  # seconds
SHORTEST_PAUSE = 0.5  # seconds, before a rate limit is tried again
BATCH = 200  # events
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """How far was read, in the server's milliseconds.

    Nothing before `start` is told. `news` is the position in posts, `changes` that in edits,
    deletions and reactions, and `swept_at` when we last looked for those, by our clock in seconds.
    """

    start: int
    news: int
    changes: int
    swept_at: float

    @classmethod
    def of(cls, cursor: Cursor) -> Position:
        start = int(cursor.get("start", 0))
        news = int(cursor.get("at", start))
        return cls(
            start=start,
            news=news,
            changes=int(cursor.get("changes", news)),
            swept_at=float(cursor.get("swept_at", 0)),
        )

    def cursor(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "at": self.news,
            "changes": self.changes,
            "swept_at": self.swept_at,
        }


@dataclass(frozen=True, slots=True)
class _Page:
    """Posts, newest first, and what was asked to get them."""

    before: str
    number: int
    posts: list[Fields]


@dataclass(frozen=True, slots=True)
class _Changes:
    """Posts that were changed after a time; all of them, or all since `known_from` and some of
    before."""

    posts: list[Fields]
    known_from: int
    are_all: bool


class Reader:
    """Reads as one bot; `patience_seconds` is how long it waits for rate limits, all in all.

    `hide_deleted`: what was deleted before we came is not told as a message. `team_ids`: channels
    of other teams are passed over; `None`: there are none to pass over.
    """

    def __init__(
        self,
        api: Api,
        own_id: str,
        *,
        hide_deleted: bool = True,
        patience_seconds: float = 0,
        team_ids: Collection[str] | None = None,
    ):
        self._api = api
        self._team_ids = team_ids
        self._own_id = own_id
        self._hide_deleted = hide_deleted
        self._patience = patience_seconds
        self._people: dict[str, PersonInfo] = {}

    # Channels and people --------------------------------------------------------------------------

    def channels(self, *, archived: bool = False) -> list[Fields]:
        """All the bot is in, direct ones included."""
        query = {"include_deleted": "true"} if archived else None
        told = self._get("/users/me/channels", query) or []
        return [
            one
            for one in told
            if (archived or not one.get("delete_at")) and self._is_ours(one.get("team_id"))
        ]

    def _is_ours(self, team_id: str | None) -> bool:
        return self._team_ids is None or not team_id or team_id in self._team_ids

    def people(self, ids: Iterable[str]) -> Mapping[str, PersonInfo]:
        """Who these are, and everybody asked for before; the server is asked once for each."""
        unknown = sorted({id for id in ids if id and id not in self._people})
        for user in self._patiently(lambda: list(self._api.in_pieces("/users/ids", unknown))):
            self._people[user["id"]] = wire.person(user)
        return self._people

    # Pages ----------------------------------------------------------------------------------------

    def newest_first(self, channel_id: str) -> Iterator[Incoming]:
        """The messages of a channel, each once."""
        seen: set[str] = set()
        for page in self._pages(channel_id):
            fresh = [post for post in page.posts if post["id"] not in seen]
            # Pages overlap by one millisecond: no more need be remembered.
            seen = {post["id"] for post in page.posts}
            yield from self._messages(fresh)

    def pinned(self, channel_id: str) -> list[Incoming]:
        """Newest first."""
        told = _ordered(self._get(f"/channels/{channel_id}/pinned"))
        return self._messages(_sorted(told)[::-1])

    def _messages(self, posts: Sequence[Fields]) -> list[Incoming]:
        """Posts as `message.posted` values with their reactions; those about people are none."""
        people = self.people(_everybody(posts))
        values = [(wire.posted(p, self._author(p), self._own_id), p) for p in posts]
        return [
            replace(value, reactions=wire.reactions(post, people))
            for value, post in values
            if value.kind is Kind.MESSAGE_POSTED
        ]

    def _author(self, post: Fields) -> PersonInfo:
        return wire.author_of(post, self._people.get(post["user_id"]))

    def _pages(self, channel_id: str) -> Iterator[_Page]:
        """Pages of posts that overlap by the posts of one millisecond."""
        before, number = "", 0
        while True:
            page = self._page(channel_id, before, number)
            if page.posts:
                yield page
            if len(page.posts) < PAGE:
                return
            oldest = page.posts[-1]["create_at"]
            later = [post for post in page.posts if post["create_at"] > oldest]
            # All of one millisecond: only counting leads past them.
            before, number = (later[-1]["id"], 0) if later else (before, number + 1)

    def _page(self, channel_id: str, before: str, number: int) -> _Page:
        query: Fields = {"per_page": PAGE, "page": number}
        if before:
            query["before"] = before
        posts = _ordered(self._get(f"/channels/{channel_id}/posts", query))
        return _Page(before, number, posts)

    # Since a moment -------------------------------------------------------------------------------

    def since(self, channel_id: str, since: int) -> Iterator[list[Fields]]:
        """Everything posted or changed after `since`, deleted posts too, in pieces, each sorted by
        time, in the order of their posting. Where that is more than the server tells at once, what
        was posted is complete, and of what was changed some may be missing."""
        changes = self._changes(channel_id, since)
        yield from self._pieces(channel_id, since, changes)

    def _pieces(self, channel_id: str, since: int, changes: _Changes) -> Iterator[list[Fields]]:
        rows = changes.posts
        if changes.are_all:
            yield _sorted(rows)
            return
        yield _sorted([post for post in rows if post["create_at"] <= since])
        gone = [post for post in rows if post["delete_at"] and post["create_at"] > since]
        yield from self._posted_since(channel_id, since, _sorted(gone))

    def _posted_since(
        self, channel_id: str, since: int, gone: list[Fields]
    ) -> Iterator[list[Fields]]:
        """All posts after `since`, oldest first, with those that are `gone` and on no page.

        One page in memory at a time: they are walked to find the oldest, and back. The newest is
        kept, because another one has taken its place by then.
        """
        walked: list[_Page] = []
        for page in self._pages(channel_id):
            walked.append(page if not walked else replace(page, posts=[]))
            if page.posts[-1]["create_at"] <= since:
                break
        told: set[str] = set()
        for page in reversed(walked):
            posts = page.posts or self._page(channel_id, page.before, page.number).posts
            fresh = [p for p in posts if p["create_at"] > since and p["id"] not in told]
            told = {post["id"] for post in posts}
            newest = max((post["create_at"] for post in fresh), default=since)
            due = [post for post in gone if post["create_at"] <= newest]
            gone = gone[len(due) :]
            yield _sorted([*fresh, *due])
        yield gone

    def _changes(self, channel_id: str, since: int) -> _Changes:
        """Where that is more than the server tells at once: what it tells, and everything after
        the earliest moment from which on it tells all."""
        rows = self._rows_since(channel_id, since)
        if len(rows) < SINCE_MOST:
            return _Changes(posts=rows, known_from=since, are_all=True)
        latest = max(post["update_at"] for post in rows)
        low, high, later = since, max(latest, self._server_now()), list[Fields]()
        # Until the latest change of all is among them: the position is made of it.
        while high - low > (KNOWN_FROM_PRECISION if later else 1):
            middle = (low + high) // 2
            found = self._rows_since(channel_id, middle)
            if len(found) >= SINCE_MOST:
                low = middle
            else:
                high, later = middle, found
        known = {post["id"]: post for post in (*rows, *later)}
        return _Changes(posts=list(known.values()), known_from=high, are_all=False)

    def _rows_since(self, channel_id: str, since: int) -> list[Fields]:
        """At most 1,000 rows before old versions of edited posts are taken out."""
        posts = _ordered(self._get(f"/channels/{channel_id}/posts", {"since": since}))
        if len(posts) >= SINCE_MOST:
            return posts[:SINCE_MOST]
        return [post for post in posts if not post.get("original_id")]

    # Catching up ----------------------------------------------------------------------------------

    def start(self) -> Position:
        """Now: the newest thing that ever happened in a channel of the bot's."""
        newest = max((_newest(one) for one in self.channels(archived=True)), default=0)
        now = self._server_now()
        # An import may bring posts of the future, from where nothing would be heard.
        start = newest if 0 < newest <= now + START_TOLERANCE else now - START_TOLERANCE
        return Position(start=start, news=start, changes=start, swept_at=0)

    def catch_up(self, position: Position, *, sweep: bool) -> Iterator[Batch]:
        """What happened since. Without `sweep` mostly where something was posted, and only now
        and then everywhere, which edits, deletions and reactions need."""
        swept_at, began = time.time(), self._server_now()
        channels = self.channels(archived=True)
        pause = min(len(channels), LONGEST_SWEEP_PAUSE)
        sweep = sweep or swept_at - position.swept_at >= pause
        since = (position.changes if sweep else position.news) - OVERLAP
        since = max(since, position.start)
        newest = changed = position.news
        for channel in sorted(channels, key=lambda one: str(one["id"])):
            newest = max(newest, _newest(channel))
            yield from _batches(_channel_news(channel, since))
            if channel.get("delete_at") or not (sweep or _newest(channel) > since):
                continue
            try:
                changed = max(changed, (yield from self._channel(channel["id"], since)))
            except (NotFound, Forbidden):
                continue  # thrown out of it a moment ago
        # What happened while we read may be missing from channels read before it happened.
        reached = max(position.news, min(newest, began))
        after = Position(
            start=position.start,
            news=reached,
            changes=max(reached, min(changed, began)) if sweep else position.changes,
            swept_at=swept_at if sweep else position.swept_at,
        )
        yield Batch(incoming=(), cursor=after.cursor())

    def _channel(self, channel_id: str, since: int) -> Generator[Batch, None, int]:
        """Returns when its latest change was."""
        changes = self._changes(channel_id, since)
        for posts in self._pieces(channel_id, since, changes):
            people = self.people(_everybody(posts))
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
        if not changes.are_all:
            yield Batch(incoming=(_gap(channel_id, since, changes.known_from),), cursor={})
        return max((post["update_at"] for post in changes.posts), default=since)

    def _tell(self, post: Fields, since: int) -> Iterator[Incoming]:
        if post.get("original_id"):
            return  # how a post was before it was edited
        author, gone = self._author(post), post["delete_at"]
        if post["create_at"] > since and not (gone and self._hide_deleted):
            yield wire.posted(post, author, self._own_id)
        if gone > since:
            yield wire.deleted(post, wire.moment(gone))
        elif not gone and (post.get("edit_at") or 0) > since:
            yield wire.edited(post, author, self._own_id)

    # Asking ---------------------------------------------------------------------------------------

    def _server_now(self) -> int:
        return int((time.time() + self._api.http.clock_skew_seconds) * 1000)

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._patiently(lambda: self._api.get(path, query))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What `ask` gives, after waiting for rate limits: whoever begins a long catch-up anew
        each time it meets one might never end it."""
        while True:
            try:
                return ask()
            except RateLimited as limit:
                pause = max(limit.retry_after, SHORTEST_PAUSE)
                if pause > self._patience:
                    raise
                self._patience -= pause
                time.sleep(pause)


def _ordered(told: Any) -> list[Fields]:
    """The posts of a list in its order; it may hold others besides, such as roots of threads."""
    if not isinstance(told, dict):
        raise Rejected("The server's list of posts is none.", code="unexpected_answer")
    posts = told.get("posts") or {}
    return [posts[id] for id in told.get("order") or () if id in posts]


def _sorted(posts: Sequence[Fields]) -> list[Fields]:
    """Oldest first; in one millisecond, a question before its answers."""
    return sorted(posts, key=lambda post: (post["create_at"], bool(post["root_id"]), post["id"]))


def _newest(channel: Fields) -> int:
    names = ("last_post_at", "create_at", "update_at", "delete_at")
    return max(int(channel.get(name) or 0) for name in names)


def _everybody(posts: Sequence[Fields]) -> list[str]:
    reacted = [
        one["user_id"]
        for post in posts
        for one in (post.get("metadata") or {}).get("reactions") or ()
    ]
    return [post["user_id"] for post in posts] + reacted


def _channel_news(channel: Fields, since: int) -> list[Incoming]:
    """What became of the channel itself."""
    created, changed = channel.get("create_at", 0), channel.get("update_at", 0)
    if channel.get("delete_at"):
        return [wire.channel_archived(channel)] if channel["delete_at"] > since else []
    if created > since:
        return [wire.channel_created(channel)]
    return [wire.channel_changed(channel)] if changed > since else []


def _batches(
    told: Sequence[Incoming], reactions: Sequence[MessageReactions] = ()
) -> Iterator[Batch]:
    """The position stays until all channels are read: they share one."""
    for start in range(0, len(told), BATCH):
        yield Batch(incoming=tuple(told[start : start + BATCH]), cursor={})
    if reactions:
        yield Batch(incoming=(), cursor={}, reactions=tuple(reactions))


def _gap(channel_id: str, since: int, until: int) -> Incoming:
    return Incoming(
        kind=Kind.GAP,
        id=f"gap:{channel_id}:{since}",  # the same one again has no other end worth telling
        occurred_at=wire.moment(until),
        since=wire.moment(since),
        channel_id=channel_id,
        text="So much happened here that the server does not tell all of it: edits, deletions and "
        "reactions of older messages may be missing. Every message that still exists was told.",
    )
