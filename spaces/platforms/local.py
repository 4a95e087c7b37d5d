"""The built-in platform: rooms, people and messages in our own database.

It makes botadmin useful on the first day, and is the platform that tests trust. Every write locks
the clock of its space first (see `spaces.models.local.LocalClock`), so the writes of a space happen
one after another, and tell of themselves in an event log that catching up and streams read. The
parts are in `_local_accounts`, `_local_rooms`, `_local_messages`, `_local_requests`, `_local_log`,
`_local_hub` and `_local_wire`; `_local_faults` has the trouble that bots may be given on purpose.

Who may do what:

- Everybody in the space sees public rooms, may join them and add others to them. Other rooms
  exist only for their members, who may add others. Direct rooms keep their two people.
- Members write, react, pin, and read the history. Authors change their messages; they and
  moderators delete them. What a member shows to one other alone is seen by who listens then: it is
  in no history, and catching up does not tell of it.
- Whoever creates a public or private room moderates it. Moderators change, archive and restore
  it, remove others and appoint moderators; in a room that has none, any member does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import partial, wraps
from io import BytesIO
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet

from spaces.models.local import (
    LocalAccount,
    LocalFile,
    LocalMember,
    LocalMessage,
    LocalReaction,
    LocalRoom,
)
from spaces.platforms import _local_accounts as accounts
from spaces.platforms import _local_faults as faults
from spaces.platforms import _local_log as log
from spaces.platforms import _local_messages as messages
from spaces.platforms import _local_requests as requests
from spaces.platforms import _local_rooms as rooms
from spaces.platforms import _local_wire as wire
from spaces.platforms import trace
from spaces.platforms._local_hub import hub
from spaces.platforms.contract import (
    Ability,
    Account,
    Credential,
    Limits,
    Option,
    Platform,
    Stream,
    effective_options,
)
from spaces.platforms.errors import CredentialsRefused, Forbidden, NotFound, PlatformError, Rejected
from spaces.platforms.messages import (
    Batch,
    ChannelChange,
    ChannelInfo,
    ChannelKind,
    Cursor,
    CustomRequest,
    CustomResponse,
    Finding,
    Identity,
    Incoming,
    Kind,
    NewChannel,
    Outgoing,
    ParticipantInfo,
    PersonInfo,
    PersonOutcome,
    PersonRef,
    Presence,
    Role,
    Sent,
)
from spaces.platforms.registry import register

LONGEST_PRESENCE = 200  # characters

P = ParamSpec("P")
R = TypeVar("R")
Loc = TypeVar("Loc", bound="Local")


def operation(call: Callable[Concatenate[Loc, P], R]) -> Callable[Concatenate[Loc, P], R]:
    """Note what was asked and what came of it, and put the database's failures in our words."""

    @wraps(call)
    def run(self: Loc, *args: P.args, **kwargs: P.kwargs) -> R:
        trace.record(request={"operation": call.__name__, **_plain({"args": args, **kwargs})})
        try:
            with log.database_errors():
                result = self._faults.call(call.__name__, partial(call, self, *args, **kwargs))
        except PlatformError as error:
            trace.record(response={"error": error.code, "detail": error.detail})
            raise
        trace.record(response={"result": _plain(result)})
        return result

    return run


@register
class Local(Platform):
    name = "local"
    label = "Local"
    needs_url = False
    longest_call_seconds = 20.0  # as long as the database lets a writer wait for its turn
    # It has no server that could call us, or that could fail to answer.
    abilities = frozenset(Ability) - {Ability.WEBHOOK, Ability.REACH}
    credentials = (
        Credential(
            name="secret",
            label="Account password",
            help="The first bot to use a name in a local space sets its password.",
            guide=(
                "Think of one: any text will do. Saving the bot makes its account with it.",
                "If the space has an account of this username already, enter the password that it "
                "was made with.",
            ),
        ),
    )
    options = (
        Option(
            name="username", label="Username", on=("bot",), help="Left empty, it is the bot's slug."
        ),
        Option(
            name="read_receipts_locked",
            label="Read receipts stay on",
            type="boolean",
            default=False,
            help="Refuse bots that want to switch their read receipts off.",
        ),
        *faults.OPTIONS,
    )
    limits = Limits(text=4_000, files=10, file_bytes=10 * 1024 * 1024, people_per_request=100)

    def __init__(self, account: Account):
        super().__init__(account)
        self._faults = faults.of(account)

    def seconds_for(self, operation: str, *args: Any) -> float:
        return super().seconds_for(operation, *args) + self._faults.stall_seconds

    # Identity -----------------------------------------------------------------------------------

    @operation
    def connect(self) -> Identity:
        me = self._me()
        return Identity(
            person=accounts.info(me), read_receipts=me.read_receipts, server="botadmin local"
        )

    @operation
    def check(self, identity: Identity) -> list[Finding]:
        if LocalMember.objects.filter(account=self._me(), left_seq=None).exists():
            return []
        return [
            Finding(
                level="warning",
                code="no_channels",
                text="The bot is not a member of any channel.",
                remedy="Let it join a channel, or add it as a participant.",
            )
        ]

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """The first login makes the account: here it is taken back. No faults, as a stall would
        hold up all who write here."""
        met, self._faults = self._faults, faults.NO_FAULTS
        try:
            with log.database_errors(), transaction.atomic():
                try:
                    yield
                finally:
                    transaction.set_rollback(True)
        finally:
            self._faults = met

    # Messages -----------------------------------------------------------------------------------

    @operation
    def post_message(self, message: Outgoing) -> Sent:
        messages.refuse_unpostable(message, self.limits)
        if message.only_for:
            with self._write() as write:
                room = self._membership_to_use(write.me, message.channel).room
                return messages.whisper(write, room, message, message.only_for)
        # Slow: before the lock.
        contents = [messages.read(file, self.limits) for file in message.files]
        try:
            with self._write() as write:
                if message.person:
                    room = rooms.direct(write, accounts.find(write.me, message.person))
                else:
                    room = self._membership_to_use(write.me, message.channel).room
                return messages.post(write, room, message, contents)
        except (IntegrityError, PlatformError):
            # Perhaps a repetition: its key is taken, or the channel has been closed since. Looking
            # first would cost every message a query.
            if message.key and (sent := messages.sent(self._me(), message.key)):
                return sent
            raise

    @operation
    def find_sent(self, message: Outgoing) -> Sent | None:
        return messages.sent(self._me(), message.key) if message.key else None

    @operation
    def edit_message(self, channel_id: str, message_id: str, text: str) -> None:
        accounts.checked(text, self.limits.text, "text")
        with self._write() as write:
            room = self._membership_to_use(write.me, channel_id).room
            row = messages.find(room, message_id)
            if row.author_id != write.me.pk:
                raise Forbidden("Only its author may edit a message.")
            files = list(row.files.defer("content"))
            if not (text.strip() or row.card or files):
                raise Rejected("A message cannot be empty.", code="message_empty")
            if row.text == text:
                return
            row.text, row.edited_at = text, write.at
            row.save(update_fields=["text", "edited_at"])
            write.emit(Kind.MESSAGE_EDITED, room, **log.message_json(row, files))

    @operation
    def delete_message(self, channel_id: str, message_id: str) -> None:
        with self._write() as write:
            member = self._membership_to_use(write.me, channel_id)
            row = LocalMessage.objects.filter(
                room=member.room, pk=accounts.row_id(message_id)
            ).first()
            if row is None:
                raise NotFound("There is no such message in this channel.")
            if row.author_id != write.me.pk and not rooms.moderates(member):
                raise Forbidden("Only its author or a moderator may delete a message.")
            if row.deleted_at:
                return
            row.text, row.card, row.deleted_at = "", None, write.at
            row.save(update_fields=["text", "card", "deleted_at"])
            row.files.all().delete()
            write.emit(Kind.MESSAGE_DELETED, member.room, message=str(row.pk))

    @operation
    def react(self, channel_id: str, message_id: str, name: str) -> None:
        if not name:
            raise Rejected("A reaction needs a name.", code="reaction_missing")
        accounts.checked(name, accounts.LONGEST_NAME, "reaction")
        with self._write() as write:
            room = self._membership_to_use(write.me, channel_id).room
            row = messages.find(room, message_id)
            _, new = LocalReaction.objects.get_or_create(message=row, account=write.me, name=name)
            if new:
                write.emit(Kind.REACTION_ADDED, room, message=str(row.pk), reaction=name)

    @operation
    def unreact(self, channel_id: str, message_id: str, name: str) -> None:
        accounts.checked(name, accounts.LONGEST_NAME, "reaction")
        with self._write() as write:
            room = self._membership_to_use(write.me, channel_id).room
            row = messages.find(room, message_id)
            if row.reactions.filter(account=write.me, name=name).delete()[0]:
                write.emit(Kind.REACTION_REMOVED, room, message=str(row.pk), reaction=name)

    @operation
    def pin_message(self, channel_id: str, message_id: str) -> None:
        with self._write() as write:
            room = self._membership_to_use(write.me, channel_id).room
            row = messages.find(room, message_id)
            if row.pinned_at is None:
                row.pinned_at = write.at
                row.save(update_fields=["pinned_at"])

    @operation
    def unpin_message(self, channel_id: str, message_id: str) -> None:
        with self._write() as write:
            row = messages.find(self._membership_to_use(write.me, channel_id).room, message_id)
            if row.pinned_at is not None:
                row.pinned_at = None
                row.save(update_fields=["pinned_at"])

    @operation
    def list_pinned(self, channel_id: str) -> Iterator[Incoming]:
        me = self._me()
        room_id = rooms.membership(me, channel_id).room_id
        pinned = LocalMessage.objects.filter(room=room_id, deleted_at=None)
        return log.newest_first(pinned.exclude(pinned_at=None), me, None)

    @operation
    def typing(self, channel_id: str) -> None:
        with self._write() as write:
            write.emit(Kind.TYPING, self._membership_to_use(write.me, channel_id).room)

    @operation
    def set_presence(self, presence: Presence, text: str = "") -> None:
        accounts.checked(text, LONGEST_PRESENCE, "presence_text")
        with self._write() as write:
            me = write.me
            if (me.presence, me.presence_text) == (presence.value, text):
                return
            me.presence, me.presence_text = presence.value, text
            me.save(update_fields=["presence", "presence_text"])
            write.emit(Kind.PRESENCE_CHANGED, None, presence=presence.value, text=text)

    # Channels -----------------------------------------------------------------------------------

    @operation
    def list_channels(self) -> Iterator[ChannelInfo]:
        me = self._me()
        mine = LocalRoom.objects.filter(members__account=me, members__left_seq=None)
        return iter(rooms.infos(mine.filter(archived_at=None).order_by("pk"), me))

    @operation
    def list_joinable_channels(self) -> Iterator[ChannelInfo]:
        me = self._me()
        mine = LocalMember.objects.filter(account=me, left_seq=None, room=OuterRef("pk"))
        public = LocalRoom.objects.filter(
            ~Exists(mine), space_id=me.clock_id, kind=ChannelKind.PUBLIC, archived_at=None
        )
        return iter([rooms.info(room) for room in public.order_by("pk")])

    @operation
    def find_channel(
        self, *, id: str = "", name: str = "", person: PersonRef | None = None
    ) -> ChannelInfo:
        me = self._me()
        if id:
            return rooms.infos([rooms.find(me, id)], me)[0]
        if person:
            pair_key = rooms.pair_key(me, accounts.find(me, person))
            found = list(LocalRoom.objects.filter(pair_key=pair_key))
        elif name and accounts.is_storable(name):
            live = LocalRoom.objects.filter(
                rooms.visible(me), space_id=me.clock_id, archived_at=None
            )
            found = list(live.filter(name=name)) or list(live.filter(title=name)[:2])
        else:
            found = []
        if len(found) > 1:
            raise NotFound(f"Several channels are called {name!r}.", code="ambiguous_channel")
        if not found:
            raise NotFound(f"There is no channel {name or person}.")
        return rooms.infos(found, me)[0]

    @operation
    def create_channel(self, new: NewChannel) -> tuple[ChannelInfo, list[PersonOutcome]]:
        self._refuse_crowd(new.people)
        rooms.check_texts(new)
        with self._write() as write:
            if new.kind is ChannelKind.DIRECT:
                other = accounts.find(write.me, rooms.only_one(new.people))
                room = rooms.direct(write, other)
                outcomes = [PersonOutcome(asked=str(new.people[0]), person=accounts.info(other))]
            else:
                room = rooms.created(write.me, new) or rooms.create(write, new)
                outcomes = rooms.add_people(write, room, new.people, Role.MEMBER)
            return rooms.infos([room], write.me)[0], outcomes

    @operation
    def find_created(self, new: NewChannel) -> ChannelInfo | None:
        me = self._me()
        room = rooms.created(me, new)
        return rooms.infos([room], me)[0] if room else None

    @operation
    def update_channel(self, channel_id: str, change: ChannelChange) -> ChannelInfo:
        rooms.check_texts(change)
        with self._write() as write:
            room = self._room_to_moderate(write.me, channel_id)
            rooms.change(write, room, change)
            return rooms.info(room)

    @operation
    def archive_channel(self, channel_id: str) -> None:
        with self._write() as write:
            if rooms.membership(write.me, channel_id).room.archived_at is None:
                rooms.archive(write, self._room_to_moderate(write.me, channel_id))

    @operation
    def restore_channel(self, channel_id: str) -> ChannelInfo:
        with self._write() as write:
            member = rooms.membership(write.me, channel_id)
            if member.room.archived_at is not None:
                rooms.refuse_others(member)
                rooms.restore(write, member.room)
            return rooms.infos([member.room], write.me)[0]

    @operation
    def join_channel(self, channel_id: str) -> ChannelInfo:
        with self._write() as write:
            room = rooms.find_open(write.me, channel_id)
            rooms.add(write, room, [write.me], Role.MEMBER)
            return rooms.infos([room], write.me)[0]

    @operation
    def leave_channel(self, channel_id: str) -> None:
        with self._write() as write:
            stays = LocalMember.objects.filter(account=write.me, room=accounts.row_id(channel_id))
            if not stays.exists():
                rooms.find(write.me, channel_id)  # never a member: is there such a room at all?
            for member in stays.filter(left_seq=None).select_related("room"):
                rooms.refuse_direct(member.room)
                rooms.remove(write, member.room, [member])

    # People -------------------------------------------------------------------------------------

    @operation
    def find_person(self, ref: PersonRef) -> PersonInfo:
        return accounts.info(accounts.find(self._me(), ref))

    @operation
    def list_participants(self, channel_id: str) -> Iterator[ParticipantInfo]:
        members = rooms.find(self._me(), channel_id).members.filter(left_seq=None)
        return iter(
            [
                ParticipantInfo(
                    person=accounts.info(member.account),
                    role=Role(member.role),
                    joined_at=member.joined_at,
                )
                for member in members.select_related("account").order_by("pk")
            ]
        )

    @operation
    def add_participants(
        self, channel_id: str, people: Sequence[PersonRef], *, moderator: bool = False
    ) -> list[PersonOutcome]:
        self._refuse_crowd(people)
        with self._write() as write:
            if moderator:
                room = self._room_to_moderate(write.me, channel_id)
                return rooms.add_people(write, room, people, Role.MODERATOR)
            room = rooms.find_open(write.me, channel_id)
            rooms.refuse_direct(room)
            return rooms.add_people(write, room, people, Role.MEMBER)

    @operation
    def remove_participants(
        self, channel_id: str, people: Sequence[PersonRef]
    ) -> list[PersonOutcome]:
        self._refuse_crowd(people)
        with self._write() as write:
            member = self._membership_to_use(write.me, channel_id)
            room = member.room
            rooms.refuse_direct(room)
            found = accounts.find_all(write.me, people)
            leaving = {account.pk for account in found if account}
            if leaving - {write.me.pk} and not rooms.moderates(member):
                raise Forbidden("Only moderators of this channel may remove others.")
            members = list(room.members.filter(left_seq=None, account__in=leaving))
            rooms.remove(write, room, members)
            return rooms.outcomes(people, found)

    # Receipts -----------------------------------------------------------------------------------

    @operation
    def mark_read(self, channel_id: str, message_id: str) -> None:
        with self._write() as write:
            member = rooms.membership(write.me, channel_id)
            row = messages.find(member.room, message_id)
            if row.pk <= member.read_message_id:
                return
            member.read_message_id = row.pk
            member.save(update_fields=["read_message_id"])
            if write.me.read_receipts:
                write.emit(Kind.MESSAGE_READ, member.room, message=str(row.pk))

    @operation
    def set_read_receipts(self, enabled: bool) -> None:
        if not enabled and self.account.options.get("read_receipts_locked"):
            raise Rejected(
                "Read receipts cannot be switched off in this space.",
                code="read_receipts_locked",
                next_step="Leave them on, or unlock them in the options of the space.",
            )
        with self._write() as write:
            write.me.read_receipts = enabled
            write.me.save(update_fields=["read_receipts"])

    # Receiving ----------------------------------------------------------------------------------

    @operation
    def start_cursor(self) -> Cursor:
        return {"seq": self._me().clock.seq}

    @operation
    def catch_up(self, cursor: Cursor) -> Iterator[Batch]:
        return self._faults.batches(log.batches(self._me(), int(cursor.get("seq", 0))))

    @operation
    def open_stream(self, cursor: Cursor) -> Stream:
        me = self._me()
        return hub.open(
            space_id=me.clock_id, account_id=me.pk, seq=me.clock.seq, make=self._faults.stream
        )

    def decode(self, frame: bytes) -> list[Incoming]:
        return wire.decode(frame)

    @operation
    def history(
        self,
        channel_id: str,
        *,
        quantity: int | None = None,
        stop_id: str = "",
        up_to: datetime | None = None,
        with_attachment: bool = False,
    ) -> Iterator[Incoming]:
        me = self._me()
        wanted = LocalMessage.objects.filter(
            room=rooms.membership(me, channel_id).room_id,
            pk__gt=accounts.row_id(stop_id),
            deleted_at=None,
        )
        if up_to:
            wanted = wanted.filter(posted_at__gte=up_to)
        if with_attachment:
            wanted = wanted.filter(Exists(LocalFile.objects.filter(message=OuterRef("pk"))))
        return log.newest_first(wanted, me, quantity)

    @operation
    def download_file(self, file_id: str) -> BinaryIO:
        me = self._me()
        mine = LocalMember.objects.filter(account=me, left_seq=None, room=OuterRef("message__room"))
        file = LocalFile.objects.filter(Exists(mine), pk=accounts.row_id(file_id)).first()
        if file is None:
            raise NotFound("There is no such file.")
        return BytesIO(file.content)

    # Whatever else there is -------------------------------------------------------------------

    @operation
    def custom_request(self, request: CustomRequest) -> CustomResponse:
        return requests.answer(self._me(), request)

    # Who acts, and what they may --------------------------------------------------------------

    def _me(self, among: QuerySet[LocalAccount] | None = None) -> LocalAccount:
        """The account with its clock, after a look at the password."""
        among = LocalAccount.objects.all() if among is None else among
        mine = among.select_related("clock").filter(
            clock__space__slug=self.account.space, username=self._username
        )
        me = next(iter(mine), None)
        if me is None:
            self._register()
            me = mine.get()
        if not self._accepts(me):
            raise CredentialsRefused(f"The password of {me.username} is another one.")
        return me

    @contextmanager
    def _write(self) -> Iterator[log.Write]:
        """A transaction that has the space to itself, and stores the events at its end."""
        with transaction.atomic():
            write = log.Write(
                self._me(LocalAccount.objects.select_for_update(of=("clock",))), tell=hub.wake
            )
            yield write
            write.finish()

    @property
    def _username(self) -> str:
        return self.account.options.get("username") or self.account.bot

    def _accepts(self, me: LocalAccount) -> bool:
        return accounts.is_password(self.account.credentials.get("secret", ""), me.password_hash)

    def _register(self) -> None:
        """Take the name; whoever comes first sets its password."""
        secret = self.account.credentials.get("secret")
        if not secret:
            raise CredentialsRefused(f"The account {self._username} needs a password.")
        accounts.create(
            self.account.space,
            self._username,
            name=self._username,
            is_bot=True,
            password_hash=accounts.hashed(secret),
        )

    def _membership_to_use(self, me: LocalAccount, channel_id: str) -> LocalMember:
        member = rooms.membership(me, channel_id)
        rooms.refuse_archived(member.room)
        return member

    def _room_to_moderate(self, me: LocalAccount, channel_id: str) -> LocalRoom:
        member = self._membership_to_use(me, channel_id)
        rooms.refuse_direct(member.room)
        rooms.refuse_others(member)
        return member.room

    def _refuse_crowd(self, people: Sequence[PersonRef]) -> None:
        most = self.limits.people_per_request
        if len(people) > most:
            raise Rejected(f"At most {most} people per request.", code="too_many_people")


class LocalPerson(Local):
    """Somebody at a keyboard, doing through the same operations what bots do.

    Not registered: no operator can configure one, and nobody logs in as one. The faults of a space
    are for its bots.
    """

    def __init__(self, account: Account):
        super().__init__(account)
        self._faults = faults.NO_FAULTS

    def _accepts(self, me: LocalAccount) -> bool:
        return not me.is_bot

    def _register(self) -> None:
        raise NotFound(f"There is no person {self._username}.")


def person(space_slug: str, username: str, name: str = "", email: str = "") -> Local:
    """Talk as this person, who comes to the space now unless already there.

    Raises `Misconfigured` when there is no such space, and `CredentialsRefused` with the first
    operation when the name belongs to a bot.
    """
    space = accounts.create(
        space_slug, username, name=name or username, email=email.lower(), is_bot=False
    )
    return LocalPerson(
        Account(
            space=space_slug,
            url="",
            bot=username,
            options=effective_options(Local, space.options, {"username": username}),
            credentials={},
        )
    )


prune_events = log.prune_events  # for whoever cleans up once a day


def _plain(value: Any) -> Any:
    """For the trace: what was given, in words JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        given = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: _plain(v) for name, v in given if v and not callable(v)}
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return "[read later, bit by bit]" if isinstance(value, Iterator) else value
