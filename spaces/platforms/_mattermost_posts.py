"""Reading Mattermost's channels: pages of posts, and those changed since a moment.

What makes it hard, all of it in the server's source (11.6):

- `since` gives the posts that were *changed* after a time, deleted ones and old versions of edited
  ones among them; at most 1,000, chosen without any order, of which some may then be left out.
- `before` skips posts of the same millisecond as its anchor.
- Every list brings the threads of its posts along, however long, unless it is told not to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from spaces.platforms import _mattermost_wire as wire
from spaces.platforms._mattermost_api import NO_CHANNELS, PAGE, Api, Fields
from spaces.platforms.errors import NotFound, RateLimited, Rejected
from spaces.platforms.messages import Incoming, Kind, PersonInfo

# The server tells at most 1,000 rows of a `since`, and leaves out some after it has chosen them.
# So many, with a margin for those, mean that there may be more.
SINCE_MANY = 900
KNOWN_FROM_PRECISION = 1_000  # ms
SHORTEST_PAUSE = 0.5  # seconds, before a rate limit is tried again
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Page:
    """Posts, newest first, and what was asked to get them."""

    before: str
    number: int
    posts: list[Fields]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """Posts that were changed after a time; all of them, or all since `known_from` and some of
    before. Of posts written before `hidden_until` the server tells nothing."""

    posts: list[Fields]
    known_from: int
    are_all: bool
    hidden_until: int


class Reader:
    """Reads as one bot; `patience_seconds` is how long it waits for rate limits, all in all, or
    until `wait_anew` is called.

    `team_ids`: asked once for the teams whose channels are read; `None`: all are.
    """

    def __init__(
        self,
        api: Api,
        own_id: str,
        *,
        patience_seconds: float = 0,
        team_ids: Callable[[], Collection[str]] | None = None,
    ):
        self._api = api
        self._team_ids = cache(team_ids) if team_ids else None
        self.own_id = own_id
        self._patience = self._patience_left = patience_seconds
        self._people: dict[str, PersonInfo] = {}

    # Channels and people --------------------------------------------------------------------------

    def channels(self, *, archived: bool = False) -> list[Fields]:
        """Those the bot is in, direct ones included."""
        listed = self._listed({"include_deleted": "true"} if archived else {})
        return list(filter(self.is_ours, listed))

    def channels_of_all_teams(self) -> list[Fields]:
        """As `channels`, archived ones and those that are passed over among them."""
        return self._listed({"include_deleted": "true"})

    def _listed(self, query: Fields) -> list[Fields]:
        try:
            return self._list("/users/me/channels", query) or []
        except NotFound as error:
            if error.code != NO_CHANNELS:
                raise
            return []

    def is_ours(self, channel: Fields) -> bool:
        team_id = channel.get("team_id")
        return self._team_ids is None or not team_id or team_id in self._team_ids()

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
        told = _ordered(self._list_posts(f"/channels/{channel_id}/pinned", {}))
        return self._messages(in_order(told)[::-1])

    def _messages(self, posts: Sequence[Fields]) -> list[Incoming]:
        """Posts as `message.posted` values with their reactions; those about people are none."""
        people = self.people(everybody(posts))
        values = [(wire.posted(p, self.author(p), self.own_id), p) for p in posts]
        return [
            replace(value, reactions=wire.reactions(post, people))
            for value, post in values
            if value.kind is Kind.MESSAGE_POSTED
        ]

    def author(self, post: Fields) -> PersonInfo:
        """Somebody asked for before."""
        return wire.author_of(post, self._people.get(post["user_id"]))

    def _pages(self, channel_id: str) -> Iterator[_Page]:
        """Pages of posts that overlap by the posts of one millisecond."""
        before, number = "", 0
        while True:
            page = self._page(channel_id, before, number)
            if page.posts:
                yield page
            if not page.has_more:
                return
            oldest = page.posts[-1]["create_at"]
            later = [post for post in page.posts if post["create_at"] > oldest]
            # All of one millisecond: only counting leads past them.
            before, number = (later[-1]["id"], 0) if later else (before, number + 1)

    def _page(self, channel_id: str, before: str, number: int) -> _Page:
        query: Fields = {"per_page": PAGE, "page": number}
        if before:
            query["before"] = before
        told = self._list_posts(f"/channels/{channel_id}/posts", query)
        posts = _ordered(told)
        # A page may be short because something on it is not shown, and a full one be the last.
        has_more = bool(posts) and (len(posts) >= PAGE or bool(told.get("prev_post_id")))
        return _Page(before, number, posts, has_more)

    # Since a moment -------------------------------------------------------------------------------

    def posted_since(self, channel_id: str, since: int) -> Iterator[Fields]:
        """All posts written after `since` in any order, and maybe others; some of them twice. Where
        the server does not tell all that was changed, deleted ones may be missing."""
        posts, are_all, _ = self._rows_since(channel_id, since)
        yield from posts
        if are_all:
            return
        for page in self._pages(channel_id):
            yield from page.posts
            if page.posts[-1]["create_at"] <= since:
                return

    def pieces(self, channel_id: str, since: int, changes: Changes) -> Iterator[list[Fields]]:
        """Everything posted or changed after `since`, deleted posts too, in pieces, each in the
        order of their posting. What was posted is complete, also where `changes` are not."""
        rows = changes.posts
        if changes.are_all:
            yield in_order(rows)
            return
        yield in_order([post for post in rows if post["create_at"] <= since])
        gone = [post for post in rows if post["delete_at"] and post["create_at"] > since]
        yield from self._posted_since(channel_id, since, in_order(gone))

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
            yield in_order([*fresh, *due])
        yield gone

    def changes(self, channel_id: str, since: int) -> Changes:
        """Where that is more than the server tells at once: what it tells, and everything after
        the earliest moment from which on it tells all."""
        rows, are_all, hidden_until = self._rows_since(channel_id, since)
        if are_all:
            return Changes(rows, since, True, hidden_until)
        latest = max((post["update_at"] for post in rows), default=since)
        low, high, later = since, max(latest, self.server_now()), list[Fields]()
        # Until the latest change of all is among them: the position is made of it.
        while high - low > (KNOWN_FROM_PRECISION if later else 1):
            middle = (low + high) // 2
            found, are_all, _ = self._rows_since(channel_id, middle)
            if are_all:
                high, later = middle, found
            else:
                low = middle
        known = {post["id"]: post for post in (*rows, *later)}
        return Changes(list(known.values()), high, False, hidden_until)

    def _rows_since(self, channel_id: str, since: int) -> tuple[list[Fields], bool, int]:
        """Posts changed after `since`, whether that is all of them, and until when posts are
        hidden. How posts were before they were edited counts among the rows, and is left out."""
        told = self._list_posts(f"/channels/{channel_id}/posts", {"since": since})
        rows = _ordered(told)
        hidden_until = int(told.get("first_inaccessible_post_time") or 0)
        posts = [post for post in rows if not post.get("original_id")]
        return posts, len(rows) < SINCE_MANY, hidden_until

    # Asking ---------------------------------------------------------------------------------------

    def server_now(self) -> int:
        return int((time.time() + self._api.http.clock_skew_seconds) * 1000)

    def wait_anew(self) -> None:
        """Be as patient as at the beginning."""
        self._patience_left = self._patience

    def _list_posts(self, path: str, query: Fields) -> Fields:
        told = self._list(path, {**query, "skipFetchThreads": "true"})
        if not isinstance(told, dict):
            raise Rejected("The server's list of posts is none.", code="unexpected_answer")
        return told

    def _list(self, path: str, query: Fields) -> Any:
        return self._patiently(lambda: self._api.listing(path, query))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What `ask` gives, after waiting for rate limits: whoever begins a long catch-up anew
        each time it meets one might never end it."""
        while True:
            try:
                return ask()
            except RateLimited as limit:
                pause = max(limit.retry_after, SHORTEST_PAUSE)
                if pause > self._patience_left:
                    raise
                self._patience_left -= pause
                time.sleep(pause)


def _ordered(told: Fields) -> list[Fields]:
    """The posts of a list in its order; it may hold others besides, such as roots of threads."""
    posts = told.get("posts") or {}
    return [posts[id] for id in told.get("order") or () if id in posts]


def in_order(posts: Sequence[Fields]) -> list[Fields]:
    """Oldest first; in one millisecond, a question before its answers."""
    return sorted(posts, key=lambda post: (post["create_at"], bool(post["root_id"]), post["id"]))


def everybody(posts: Sequence[Fields]) -> list[str]:
    """The ids of who wrote them, and who reacted to them."""
    reacted = [
        one["user_id"]
        for post in posts
        for one in (post.get("metadata") or {}).get("reactions") or ()
    ]
    return [post["user_id"] for post in posts] + reacted
