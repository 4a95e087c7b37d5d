"""What a platform is: the class every file in this folder fills in.

A platform object serves one bot in one space. It is made of plain settings (`Account`), knows no
database and no other bot, and may be made anew for every piece of work. Calls block and return
values of `messages.py`, or raise an error of `errors.py`. An object is used by one thread at a
time; the reader thread calls only `decode` on it, which must be pure.

What a platform can do is what it overrides: every operation belongs to an `Ability`, and the
operations of abilities that a class does not declare raise `Unsupported` before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, BinaryIO, ClassVar, Literal, Protocol

from spaces.platforms.errors import Misconfigured, Unsupported
from spaces.platforms.messages import (
    Answer,
    Batch,
    ChannelChange,
    ChannelInfo,
    Cursor,
    CustomRequest,
    CustomResponse,
    Finding,
    Identity,
    Incoming,
    NewChannel,
    Outgoing,
    ParticipantInfo,
    PersonInfo,
    PersonOutcome,
    PersonRef,
    Presence,
    Sent,
    Webhook,
    WebhookRequest,
    WebhookResponse,
)


class Ability(StrEnum):
    REACH = "reach"  # a server that answers before anybody has logged in
    POST = "post"
    MARKDOWN = "markdown"
    CARDS = "cards"  # natively; elsewhere a card goes out as markdown
    FILES = "files"
    THREADS = "threads"
    DIRECT = "direct"
    EDIT = "edit"
    DELETE = "delete"
    REACT = "react"
    PIN = "pin"
    EPHEMERAL = "ephemeral"
    TYPING = "typing"
    PRESENCE = "presence"
    LIST_CHANNELS = "list_channels"
    LIST_JOINABLE = "list_joinable"
    FIND_CHANNEL = "find_channel"
    CREATE_CHANNEL = "create_channel"
    UPDATE_CHANNEL = "update_channel"
    ARCHIVE_CHANNEL = "archive_channel"
    RESTORE_CHANNEL = "restore_channel"
    RENAME_CHANNEL = "rename_channel"  # its name, not its title
    CHANNEL_PURPOSE = "channel_purpose"
    CONVERT_CHANNEL = "convert_channel"  # from public to private and back
    JOIN_LEAVE = "join_leave"
    FIND_PERSON = "find_person"
    LIST_PARTICIPANTS = "list_participants"
    ADD_PARTICIPANTS = "add_participants"
    REMOVE_PARTICIPANTS = "remove_participants"
    MODERATORS = "moderators"
    MARK_READ = "mark_read"
    READ_RECEIPTS = "read_receipts"  # the setting can be changed
    HISTORY = "history"
    DOWNLOAD = "download"
    CATCH_UP = "catch_up"  # also what polling uses
    STREAM = "stream"
    WEBHOOK = "webhook"  # the platform may call us
    FIND_SENT = "find_sent"
    CUSTOM_REQUEST = "custom_request"


# The operations that stand behind each ability. Abilities without one say how `post_message`,
# `update_channel` or `add_participants` reads its arguments.
OPERATIONS: dict[Ability, tuple[str, ...]] = {
    Ability.REACH: ("reach",),
    Ability.POST: ("post_message",),
    Ability.EDIT: ("edit_message",),
    Ability.DELETE: ("delete_message",),
    Ability.REACT: ("react", "unreact"),
    Ability.PIN: ("pin_message", "unpin_message", "list_pinned"),
    Ability.TYPING: ("typing",),
    Ability.PRESENCE: ("set_presence",),
    Ability.LIST_CHANNELS: ("list_channels",),
    Ability.LIST_JOINABLE: ("list_joinable_channels",),
    Ability.FIND_CHANNEL: ("find_channel",),
    Ability.CREATE_CHANNEL: ("create_channel", "find_created"),
    Ability.UPDATE_CHANNEL: ("update_channel",),
    Ability.ARCHIVE_CHANNEL: ("archive_channel",),
    Ability.RESTORE_CHANNEL: ("restore_channel",),
    Ability.JOIN_LEAVE: ("join_channel", "leave_channel"),
    Ability.FIND_PERSON: ("find_person",),
    Ability.LIST_PARTICIPANTS: ("list_participants",),
    Ability.ADD_PARTICIPANTS: ("add_participants",),
    Ability.REMOVE_PARTICIPANTS: ("remove_participants",),
    Ability.MARK_READ: ("mark_read",),
    Ability.READ_RECEIPTS: ("set_read_receipts",),
    Ability.HISTORY: ("history",),
    Ability.DOWNLOAD: ("download_file",),
    Ability.CATCH_UP: ("start_cursor", "catch_up"),
    Ability.STREAM: ("open_stream", "decode"),
    Ability.WEBHOOK: ("parse_webhook", "answer_webhook"),
    Ability.FIND_SENT: ("find_sent",),
    Ability.CUSTOM_REQUEST: ("custom_request",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret or account name that an operator enters for a bot."""

    name: str
    label: str
    secret: bool = True
    required: bool = True
    help: str = ""
    # How an operator comes by it, step by step, in the words that the platform's own pages have.
    guide: tuple[str, ...] = ()
    usual: bool = True  # False: one of the other ways, shown to those who look for them


OptionType = Literal["text", "url", "integer", "number", "boolean", "choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting of a space, of a bot, or of both; a bot's value then wins over its space's."""

    name: str
    label: str
    type: OptionType = "text"
    default: Any = ""  # of the Python type that `type` stands for
    unit: str = ""
    help: str = ""
    on: tuple[Literal["space", "bot"], ...] = ("space",)
    choices: tuple[str, ...] = ()
    # What few look for: options of one group are folded away in forms, under its name.
    group: str = ""
    minimum: float | None = None
    maximum: float | None = None
    secret: bool = False  # the audit log tells only that it was changed

    def clean(self, value: Any) -> Any:
        """The value in its Python type. Raises `Misconfigured` for anything of another type."""
        match self.type:
            case "boolean":
                valid = isinstance(value, bool)
            case "integer":
                valid = isinstance(value, int) and not isinstance(value, bool)
            case "number":
                valid = isinstance(value, int | float) and not isinstance(value, bool)
            case "choice":
                valid = value in self.choices
            case "url":
                valid = isinstance(value, str) and (
                    not value or value.startswith(("http://", "https://"))
                )
            case _:
                valid = isinstance(value, str)
        if not valid:
            wanted = f"one of {', '.join(self.choices)}" if self.choices else f"a {self.type}"
            raise Misconfigured(f"{self.name} must be {wanted}.", option=self.name)
        if self.minimum is not None and value < self.minimum:
            raise Misconfigured(f"{self.name} must be at least {self.minimum}.", option=self.name)
        if self.maximum is not None and value > self.maximum:
            raise Misconfigured(f"{self.name} must be at most {self.maximum}.", option=self.name)
        return value


# Understood for every platform by the parts that send and receive.
COMMON_OPTIONS: tuple[Option, ...] = (
    Option(
        name="event_handling",
        label="Events are handled",
        type="choice",
        default="in_order",
        choices=("in_order", "concurrently"),
        on=("space", "bot"),
        help="In order: one after another within a channel. Concurrently: none waits for another.",
    ),
    Option(
        name="command_prefix",
        label="Commands begin with",
        default="!",
        on=("space", "bot"),
        help="Who mentions the bot, or writes to it directly, needs no such beginning.",
    ),
    Option(
        name="messages_per_second",
        label="Messages per second",
        type="number",
        default=0,
        unit="1/s",
        minimum=0,
        maximum=1000,
        on=("space", "bot"),
        help="The most one bot may send. 0 means no limit of our own.",
    ),
    Option(
        name="poll_seconds",
        label="Poll every",
        type="number",
        default=5,
        unit="s",
        minimum=1,
        maximum=86400,
        on=("space", "bot"),
        help="How often a bot with receive mode poll asks for news.",
    ),
    Option(
        name="reconnect_first_seconds",
        label="First reconnect delay",
        type="number",
        default=1,
        unit="s",
        minimum=0.1,
        maximum=3600,
        help="Doubled after every failure, with full jitter.",
    ),
    Option(
        name="reconnect_longest_seconds",
        label="Longest reconnect delay",
        type="number",
        default=60,
        unit="s",
        minimum=1,
        maximum=86400,
        help="The delay does not grow beyond this.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one message may hold. 0 means no limit. `text_unit` says what `text` counts."""

    text: int = 0
    text_unit: Literal["characters", "bytes"] = "characters"
    files: int = 0
    file_bytes: int = 0
    people_per_request: int = 0


class Memory:
    """What a platform wants to keep for a bot between its objects, such as a login's session.

    This one forgets with its object; botadmin hands in one that is stored, encrypted, and shared
    by all processes.
    """

    def __init__(self) -> None:
        self._value = ""

    def read(self) -> str:
        return self._value

    def write(self, value: str) -> None:
        self._value = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All a platform is told about the bot it serves. `repr` shows no secret."""

    space: str  # slug
    url: str
    bot: str  # slug
    options: Mapping[str, Any]  # defaults, then the space's, then the bot's
    credentials: Mapping[str, str] = field(repr=False)
    read_receipts: bool = True
    memory: Memory = field(default_factory=Memory, repr=False)


class Stream(Protocol):
    """An open connection that one reader thread multiplexes with many others.

    `fileno` becomes readable when there may be something; `receive` never blocks and returns
    whole frames, and raises `Unavailable` once the other side is gone. `beat` asks the other side
    to prove that it lives and never blocks either; whatever arrives counts as proof.
    """

    heartbeat_seconds: float

    def fileno(self) -> int: ...
    def receive(self) -> list[bytes]: ...
    def beat(self) -> None: ...
    def close(self) -> None: ...


class Platform:
    """Base of all platforms. A subclass fills in the class variables and what it can do."""

    name: ClassVar[str]  # lower case, stable: it is stored with every space
    label: ClassVar[str]
    abilities: ClassVar[frozenset[Ability]]
    credentials: ClassVar[tuple[Credential, ...]] = ()
    options: ClassVar[tuple[Option, ...]] = ()
    # A platform whose servers differ sets its own on the object, once it is connected.
    limits: Limits = Limits()
    needs_url: ClassVar[bool] = True
    # False: a credential is all there is. Nobody is asked who it lets in, so other credentials make
    # no other account, and a test proves nothing.
    has_accounts: ClassVar[bool] = True
    # What an account must have there before a bot can use it; shown while somebody adds one.
    guide: ClassVar[tuple[str, ...]] = ()
    # What a bot needs there, in the platform's own words as `Identity.permissions` has them, for
    # each of the permissions that it is given here; those that are not named need nothing special.
    permission_words: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # How long one operation can take before its timeouts end it; the lease on the lane is made
    # to outlive it. See `seconds_for`.
    longest_call_seconds: float = 60.0
    # After this time nothing comes of a request any more that was `StillRunning` when asked about.
    longest_running_seconds: float = 300.0

    def __init__(self, account: Account):
        self.account = account

    def seconds_for(self, operation: str, *args: Any) -> float:
        """How long this call can take; more than `longest_call_seconds` where, say, a message
        carries files."""
        return self.longest_call_seconds

    # Identity -----------------------------------------------------------------------------------

    def connect(self) -> Identity:
        """Log in if there is a login, and say who the bot is. Every platform has this.

        Raises `CredentialsRefused`, `Misconfigured`, `Unavailable`.
        """
        raise NotImplementedError

    def reach(self) -> Finding:
        """What answers at the space's URL, asked without credentials. Raises `Unavailable` when
        nobody does, `Misconfigured` when it is something else."""
        raise unsupported(Ability.REACH, self)

    def rehearsal(self) -> AbstractContextManager[None]:
        """Inside the block, logging in and checking leave nothing behind but, say, a session. Only
        a platform where the first login makes the account has to do something about it."""
        return nullcontext()

    @classmethod
    def spent(cls, memories: Iterable[str]) -> str:
        """What holds of these memories for whoever logs in next, with whatever credentials: no
        session, but a code that serves one login only and was used."""
        return ""

    def check(self, identity: Identity) -> list[Finding]:
        """What an operator should know beyond the identity: missing permissions and the like."""
        return []

    def close(self) -> None:
        """Let go of sockets and sessions. May be called twice."""

    # Messages -----------------------------------------------------------------------------------

    def post_message(self, message: Outgoing) -> Sent:
        """Post; the text is already within `limits`. `key` makes a repeat harmless where it can."""
        raise unsupported(Ability.POST, self)

    def edit_message(self, channel_id: str, message_id: str, text: str) -> None:
        raise unsupported(Ability.EDIT, self)

    def delete_message(self, channel_id: str, message_id: str) -> None:
        raise unsupported(Ability.DELETE, self)

    def react(self, channel_id: str, message_id: str, name: str) -> None:
        """Add a reaction; adding it twice is no error. `name` has no colons."""
        raise unsupported(Ability.REACT, self)

    def unreact(self, channel_id: str, message_id: str, name: str) -> None:
        raise unsupported(Ability.REACT, self)

    def pin_message(self, channel_id: str, message_id: str) -> None:
        """Pinning what is pinned is no error, nor is unpinning what is not."""
        raise unsupported(Ability.PIN, self)

    def unpin_message(self, channel_id: str, message_id: str) -> None:
        raise unsupported(Ability.PIN, self)

    def list_pinned(self, channel_id: str) -> Iterator[Incoming]:
        """The pinned messages, newest first, as `message.posted` values."""
        raise unsupported(Ability.PIN, self)

    def typing(self, channel_id: str) -> None:
        raise unsupported(Ability.TYPING, self)

    def set_presence(self, presence: Presence, text: str = "") -> None:
        raise unsupported(Ability.PRESENCE, self)

    def find_sent(self, message: Outgoing) -> Sent | None:
        """Did this go out? `None` is a promise that it did not and will not by itself."""
        raise unsupported(Ability.FIND_SENT, self)

    # Channels -----------------------------------------------------------------------------------

    def list_channels(self) -> Iterator[ChannelInfo]:
        """The channels the bot is in, direct ones included, archived ones left out."""
        raise unsupported(Ability.LIST_CHANNELS, self)

    def list_joinable_channels(self) -> Iterator[ChannelInfo]:
        """The channels the bot is not in and may join by itself. There may be many: whoever needs
        only some stops reading."""
        raise unsupported(Ability.LIST_JOINABLE, self)

    def find_channel(
        self, *, id: str = "", name: str = "", person: PersonRef | None = None
    ) -> ChannelInfo:
        """One channel by id, by name or title, or the direct one with a person.

        Raises `NotFound`, also for a channel that the bot may not see.
        """
        raise unsupported(Ability.FIND_CHANNEL, self)

    def create_channel(self, new: NewChannel) -> tuple[ChannelInfo, list[PersonOutcome]]:
        raise unsupported(Ability.CREATE_CHANNEL, self)

    def find_created(self, new: NewChannel) -> ChannelInfo | None:
        """Was this channel created? As `find_sent`."""
        raise unsupported(Ability.CREATE_CHANNEL, self)

    def update_channel(self, channel_id: str, change: ChannelChange) -> ChannelInfo:
        raise unsupported(Ability.UPDATE_CHANNEL, self)

    def archive_channel(self, channel_id: str) -> None:
        raise unsupported(Ability.ARCHIVE_CHANNEL, self)

    def restore_channel(self, channel_id: str) -> ChannelInfo:
        """Bring an archived channel back; one that is not archived is no error."""
        raise unsupported(Ability.RESTORE_CHANNEL, self)

    def join_channel(self, channel_id: str) -> ChannelInfo:
        raise unsupported(Ability.JOIN_LEAVE, self)

    def leave_channel(self, channel_id: str) -> None:
        raise unsupported(Ability.JOIN_LEAVE, self)

    # People -------------------------------------------------------------------------------------

    def find_person(self, ref: PersonRef) -> PersonInfo:
        """Raises `NotFound`."""
        raise unsupported(Ability.FIND_PERSON, self)

    def list_participants(self, channel_id: str) -> Iterator[ParticipantInfo]:
        raise unsupported(Ability.LIST_PARTICIPANTS, self)

    def add_participants(
        self, channel_id: str, people: Sequence[PersonRef], *, moderator: bool = False
    ) -> list[PersonOutcome]:
        """An outcome for each, in order; one bad person stops nobody. A member already is ok.

        Raises only what concerns the request as a whole, such as `NotFound` for the channel.
        """
        raise unsupported(Ability.ADD_PARTICIPANTS, self)

    def remove_participants(
        self, channel_id: str, people: Sequence[PersonRef]
    ) -> list[PersonOutcome]:
        """As `add_participants`; somebody who is not a member is ok."""
        raise unsupported(Ability.REMOVE_PARTICIPANTS, self)

    # Receipts -----------------------------------------------------------------------------------

    def mark_read(self, channel_id: str, message_id: str) -> None:
        """Send the read receipt up to this message."""
        raise unsupported(Ability.MARK_READ, self)

    def set_read_receipts(self, enabled: bool) -> None:
        """Change the remote setting. Raises `Rejected` with code `read_receipts_locked` when an
        administrator of the platform forbids switching them off."""
        raise unsupported(Ability.READ_RECEIPTS, self)

    # Receiving ----------------------------------------------------------------------------------

    def start_cursor(self) -> Cursor:
        """Where a bot that never received begins: now."""
        raise unsupported(Ability.CATCH_UP, self)

    def catch_up(self, cursor: Cursor) -> Iterator[Batch]:
        """Everything after `cursor`, ending where now is. At least one batch.

        Oldest first within a channel. What was told shortly before `cursor` may be told again,
        under the same id. What the platform cannot give back is an `Incoming` of kind `gap` in its
        place. Channels that the bot was taken out of are told by events, or by `Batch.channels`.
        """
        raise unsupported(Ability.CATCH_UP, self)

    def open_stream(self, cursor: Cursor) -> Stream:
        """Connect; events from now on arrive. The caller then catches up from `cursor` to close
        the hole between the two, so a stream need not replay anything."""
        raise unsupported(Ability.STREAM, self)

    def decode(self, frame: bytes) -> list[Incoming]:
        """Asks nobody. Unknown kinds of frame give an empty list; a frame that is no frame of this
        platform raises `ValueError`; one that says the session is over, `Unavailable`: whoever
        connects anew finds out whether the credentials still count."""
        raise unsupported(Ability.STREAM, self)

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        """Called on an object that is not connected, and asks nobody.

        Raises `Forbidden` for a request that proves not to be the platform's, `Rejected` for one
        that is no webhook at all.
        """
        raise unsupported(Ability.WEBHOOK, self)

    def answer_webhook(self, request: WebhookRequest, answer: Answer | None) -> WebhookResponse:
        """What to answer a webhook with, once all it told is stored."""
        raise unsupported(Ability.WEBHOOK, self)

    def history(
        self,
        channel_id: str,
        *,
        quantity: int | None = None,
        stop_id: str = "",
        up_to: datetime | None = None,
        with_attachment: bool = False,
    ) -> Iterator[Incoming]:
        """Messages of a channel, newest first, as `message.posted` values.

        Ends after `quantity` of them, before the message `stop_id`, or at the first one sent
        before `up_to`, whichever comes first. `with_attachment` passes over messages without
        files; those do not count.
        """
        raise unsupported(Ability.HISTORY, self)

    def download_file(self, file_id: str) -> BinaryIO:
        """The bytes of a file of an incoming message, to be closed by the caller."""
        raise unsupported(Ability.DOWNLOAD, self)

    # Whatever else there is -----------------------------------------------------------------------

    def custom_request(self, request: CustomRequest) -> CustomResponse:
        """Ask the platform in its own words. A refusal is a response like any other.

        Raises `Rejected` for a path outside of the platform's API, `OutcomeUnknown` when a request
        that may change something was not answered, and as all others `Unavailable`,
        `CredentialsRefused`, `RateLimited`.
        """
        raise unsupported(Ability.CUSTOM_REQUEST, self)


def unsupported(ability: Ability, platform: Platform) -> Unsupported:
    return Unsupported(f"{platform.label} does not support {ability.value.replace('_', ' ')}.")


def declared_options(platform: type[Platform], on: Literal["space", "bot"]) -> dict[str, Option]:
    return {o.name: o for o in (*COMMON_OPTIONS, *platform.options) if on in o.on}


def clean_options(
    platform: type[Platform],
    on: Literal["space", "bot"],
    values: Mapping[str, Any],
    *,
    stored: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """The values in their types. Raises `Misconfigured` for an unknown name or a wrong value.

    What is `stored` may stay as it is: it was declared once.
    """
    declared = declared_options(platform, on)
    kept = {
        name: stored[name] for name in values if name in stored and stored[name] == values[name]
    }
    for name in values:
        if name not in declared and name not in kept:
            known = ", ".join(sorted(declared))
            raise Misconfigured(f"{name} is not an option here; known: {known}.", option=name)
    return {
        name: kept[name] if name in kept else declared[name].clean(value)
        for name, value in values.items()
    }


def effective_options(
    platform: type[Platform], space: Mapping[str, Any], bot: Mapping[str, Any]
) -> dict[str, Any]:
    """Defaults, overlaid by the space's values, overlaid by the bot's."""
    defaults = {o.name: o.default for o in (*COMMON_OPTIONS, *platform.options)}
    return {**defaults, **space, **bot}


def mismatches(platform: type[Platform]) -> list[str]:
    """Where a class declares an ability without its operations, or the other way round."""
    found = []
    for ability, operations in OPERATIONS.items():
        for operation in operations:
            overridden = getattr(platform, operation) is not getattr(Platform, operation)
            if overridden != (ability in platform.abilities):
                verb = "does not declare" if overridden else "declares"
                found.append(f"{platform.name} {verb} {ability}: {operation}")
    return found
