"""The values that cross the border between us and a platform.

All are frozen dataclasses. Ids are the platform's own, always text; times are aware and in UTC;
empty text means "not given". Nothing here knows Django, a database or a particular platform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, BinaryIO

# What JSON can hold. Payloads of platforms and their read positions are opaque to us.
Json = Any
Cursor = Mapping[str, Json]  # position name → value; a newer cursor's names replace older ones


class ChannelKind(StrEnum):
    PUBLIC = "public"
    PRIVATE = "private"
    GROUP = "group"  # a direct conversation of several people
    DIRECT = "direct"


class Role(StrEnum):
    MEMBER = "member"
    MODERATOR = "moderator"


class Kind(StrEnum):
    """What an event tells. The first block comes from platforms, the second from botadmin."""

    MESSAGE_POSTED = "message.posted"
    MESSAGE_EDITED = "message.edited"
    MESSAGE_DELETED = "message.deleted"
    MESSAGE_READ = "message.read"
    REACTION_ADDED = "reaction.added"
    REACTION_REMOVED = "reaction.removed"
    PARTICIPANT_JOINED = "participant.joined"
    PARTICIPANT_LEFT = "participant.left"
    CHANNEL_CREATED = "channel.created"
    CHANNEL_CHANGED = "channel.changed"
    CHANNEL_DELETED = "channel.deleted"
    PRESENCE_CHANGED = "presence.changed"
    TYPING = "typing"
    GAP = "gap"  # events between `data["since"]` and `data["until"]` cannot be had any more

    CONNECTION_CHANGED = "connection.changed"
    JOB_FINISHED = "job.finished"


class Presence(StrEnum):
    ONLINE = "online"
    AWAY = "away"
    DND = "dnd"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRef:
    """How a caller names a person: one of the three, the others empty."""

    id: str = ""
    username: str = ""
    email: str = ""

    @classmethod
    def parse(cls, text: str) -> PersonRef:
        """Read `@name`, `name@example.com`, or a bare word, which may be a username or an id."""
        text = text.strip()
        if text.startswith("@"):
            return cls(username=text[1:])
        if "@" in text:
            return cls(email=text)
        return cls(id=text, username=text)

    def __str__(self) -> str:
        return self.email or self.username or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonInfo:
    id: str
    username: str = ""
    name: str = ""
    email: str = ""
    is_bot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelInfo:
    id: str
    kind: ChannelKind
    name: str = ""  # short, unique within a space where the platform has such names
    title: str = ""
    topic: str = ""
    archived: bool = False
    peer: PersonInfo | None = None  # the other person of a direct channel


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantInfo:
    person: PersonInfo
    role: Role = Role.MEMBER
    joined_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A boxed message. `color` is a name or `#rrggbb`; `body` and field values are markdown."""

    title: str = ""
    body: str = ""
    summary: str = ""
    link: str = ""
    image: str = ""
    thumbnail: str = ""
    color: str = ""
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file on its way out. `open` gives a fresh stream each time, so that a retry can reread."""

    name: str
    content_type: str
    size: int  # bytes
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """A file a message carries. `id` is what `download_file` takes."""

    id: str
    name: str
    content_type: str = "application/octet-stream"
    size: int = 0  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to post: into `channel`, or to `person` directly, exactly one of them.

    `key` is unique per message and the same on every retry: platforms that can drop repeats by a
    client's key are given this one. `not_before` is when we first tried to send it, a lower bound
    for `find_sent`.
    """

    key: str
    channel: str = ""
    person: PersonRef | None = None
    text: str = ""  # markdown
    card: Card | None = None
    files: tuple[File, ...] = ()
    thread: str = ""  # id of the message to answer
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    message_id: str
    channel_id: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChannel:
    """A channel to create; `key` as in `Outgoing`."""

    key: str
    kind: ChannelKind
    name: str = ""
    title: str = ""
    topic: str = ""
    people: tuple[PersonRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonOutcome:
    """What became of one person in a request about several; `code` is empty when it worked."""

    asked: str
    code: str = ""
    detail: str = ""
    person: PersonInfo | None = None

    @property
    def ok(self) -> bool:
        return not self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the platform says the bot is, and what it says the bot may do.

    `permissions` holds the remote permissions in the platform's own words, `None` when it does not
    tell. `read_receipts` is the remote setting, `None` when there is none.
    """

    person: PersonInfo
    permissions: tuple[str, ...] | None = None
    read_receipts: bool | None = None
    server: str = ""  # product and version, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a `check()`: `level` is ok, warning or error."""

    level: str
    code: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What a platform told us, in our words; `raw` keeps the words it used.

    `id` is unique per bot: the same id twice is the same event, however it reached us. Which of
    the optional fields are filled follows from `kind`:

    | kind | fields |
    | --- | --- |
    | message.posted, message.edited | person, message_id, text, card, files, thread |
    | message.deleted | message_id |
    | message.read | person, message_id (the newest one read) |
    | reaction.* | person, message_id, reaction |
    | participant.* | people, and person: who did it |
    | channel.* | channel |
    | presence.changed | person, presence |
    | typing | person |
    | gap | since (start of the hole; `occurred_at` is its end), text (why) |
    """

    kind: Kind
    id: str
    occurred_at: datetime
    channel_id: str = ""
    channel: ChannelInfo | None = None
    person: PersonInfo | None = None
    own: bool = False  # the bot itself caused it
    message_id: str = ""
    text: str = ""
    card: Card | None = None
    files: tuple[FileInfo, ...] = ()
    thread: str = ""
    reaction: str = ""
    people: tuple[PersonInfo, ...] = ()
    presence: Presence | None = None
    since: datetime | None = None
    raw: Json = field(default_factory=dict)
    # Where reading goes on after this one; empty when this alone moves no position.
    cursor: Cursor = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A piece of catching up. `cursor` may be stored once all of `incoming` is."""

    incoming: tuple[Incoming, ...]
    cursor: Cursor
