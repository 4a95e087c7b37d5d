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
    COMMAND_INVOKED = "command.invoked"  # somebody asked the bot with a slash command
    GAP = "gap"  # events between `data["since"]` and `data["until"]` cannot be had any more

    CONNECTION_CHANGED = "connection.changed"
    JOB_FINISHED = "job.finished"
    INCIDENT_OPENED = "incident.opened"  # something needs a look; `bots.incidents` says what
    INCIDENT_CLOSED = "incident.closed"


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
    purpose: str = ""
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
    only_for: PersonRef | None = None  # the one person in `channel` who sees it, and only for now
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
    purpose: str = ""
    people: tuple[PersonRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelChange:
    """What to change of a channel; `None` leaves as it is."""

    title: str | None = None
    topic: str | None = None
    purpose: str | None = None
    name: str | None = None
    kind: ChannelKind | None = None  # public or private


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


CANNOT = "cannot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a `check()`: `level` is ok, warning or error.

    With the code `CANNOT` it is ok, and no good news: the bot may not do something that few need.
    """

    level: str
    code: str
    text: str
    remedy: str = ""

    @property
    def mark(self) -> str:
        """What a page puts before it: its level, or `cannot`."""
        return CANNOT if self.code == CANNOT else self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    person: PersonInfo
    name: str
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReactions:
    """All reactions that a message has at the moment, of a platform that does not tell of those
    that came and went while nobody listened. `since` is the time after which nothing was heard.
    """

    channel_id: str
    message_id: str
    reactions: tuple[Reaction, ...]
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsNow:
    """All channels that the bot is in at the moment, archived ones too, of a platform that does not
    tell it of those it was thrown out of while nobody listened. `since` is the time after which
    nothing was heard."""

    ids: frozenset[str]
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What a platform told us, in our words; `raw` keeps the words it used.

    `id` is unique per bot: the same id twice is the same event, however it reached us. Where it is
    told again with a thread, a card or names of files that were missing, its message is completed.
    Which of the optional fields are filled follows from `kind`:

    | kind | fields |
    | --- | --- |
    | message.posted, message.edited | person, message_id, text, card, files, thread |
    | message.deleted | message_id, with_thread |
    | message.read | person, message_id (the newest one read) |
    | reaction.* | person, message_id, reaction |
    | participant.* | people, and person: who did it; without a channel: in or out of many |
    | channel.* | channel; without one it is asked for |
    | presence.changed | person, presence |
    | typing | person |
    | command.invoked | person, command, text (what follows it), thread |
    | gap | since (start of the hole; `occurred_at` is its end), text (why) |
    """

    kind: Kind
    id: str
    occurred_at: datetime
    channel_id: str = ""
    channel: ChannelInfo | None = None
    # What is known of a channel that `channel_id` only names: its kind, the other person in it.
    channel_kind: ChannelKind | None = None
    peer: PersonInfo | None = None
    person: PersonInfo | None = None
    own: bool = False  # the bot itself caused it
    hint: bool = False  # no event: only who takes part is learned from it
    system: bool = False  # a message that the platform wrote, not somebody; `person` is its cause
    message_id: str = ""
    text: str = ""
    card: Card | None = None
    files: tuple[FileInfo, ...] = ()
    thread: str = ""
    # Deleted together with all answers to it, of which the platform says nothing now. What is told
    # of each has the id that this one has, with the answer's message id in place of its own.
    with_thread: bool = False
    reaction: str = ""
    reactions: tuple[Reaction, ...] | None = None  # the message's, where all are known
    command: str = ""  # with its slash
    people: tuple[PersonInfo, ...] = ()
    presence: Presence | None = None
    since: datetime | None = None
    raw: Json = field(default_factory=dict)
    # Where reading goes on after this one; empty when this alone moves no position.
    cursor: Cursor = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A piece of catching up. `cursor` may be stored once all the rest is."""

    incoming: tuple[Incoming, ...]
    cursor: Cursor
    reactions: tuple[MessageReactions, ...] = ()
    channels: ChannelsNow | None = None


# Webhooks -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """An HTTP request that a platform made to us. Header names are in lower case."""

    method: str
    headers: Mapping[str, str] = field(repr=False)
    query: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What a genuine webhook told. The platform waits up to `answer_seconds` for an answer that a
    handler may give; 0 when it takes none."""

    incoming: tuple[Incoming, ...]
    answer_seconds: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a handler answers at once; `private`: only to who asked, where the platform can."""

    text: str = ""
    card: Card | None = None
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookResponse:
    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""


# Requests of the platform's own kind --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomRequest:
    """A request in the platform's own words; `path` begins after its base path."""

    method: str  # in upper case
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomResponse:
    status: int
    body: Json  # text where it is no JSON
