"""Rooms of the local platform: who sees, joins and moderates them, and what changes in them.

The rules stand in the docstring of `local.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from django.db.models import Exists, OuterRef, Q

from spaces.models.local import LocalAccount, LocalMember, LocalRoom
from spaces.platforms import _local_accounts as accounts
from spaces.platforms import _local_wire as wire
from spaces.platforms._local_log import Write
from spaces.platforms.errors import Forbidden, NotFound, Rejected
from spaces.platforms.messages import (
    ChannelChange,
    ChannelInfo,
    ChannelKind,
    Kind,
    NewChannel,
    PersonInfo,
    PersonOutcome,
    PersonRef,
    Role,
)

LONGEST_TITLE = 200  # characters
LONGEST_TOPIC = 1_000

# Rooms of these kinds may become one another.
CONVERTIBLE = frozenset({ChannelKind.PUBLIC, ChannelKind.PRIVATE})


def visible(me: LocalAccount) -> Q:
    mine = LocalMember.objects.filter(account=me, left_seq=None, room=OuterRef("pk"))
    return Q(kind=ChannelKind.PUBLIC) | Q(Exists(mine))


def find(me: LocalAccount, channel_id: str) -> LocalRoom:
    rooms = LocalRoom.objects.filter(
        visible(me), space_id=me.clock_id, pk=accounts.row_id(channel_id)
    )
    if room := rooms.first():
        return room
    raise NotFound(f"There is no channel {channel_id}.")


def find_open(me: LocalAccount, channel_id: str) -> LocalRoom:
    room = find(me, channel_id)
    refuse_archived(room)
    return room


def membership(me: LocalAccount, channel_id: str) -> LocalMember:
    members = LocalMember.objects.filter(
        room=accounts.row_id(channel_id), account=me, left_seq=None
    )
    for member in members.select_related("room"):  # at most one; first() would sort them
        return member
    room = find(me, channel_id)
    raise Forbidden(f"{me.username} is not a member of the channel {room}.")


def moderates(member: LocalMember) -> bool:
    if member.role == Role.MODERATOR:
        return True
    return not member.room.members.filter(left_seq=None, role=Role.MODERATOR).exists()


def refuse_others(member: LocalMember) -> None:
    if not moderates(member):
        raise Forbidden("Only moderators of this channel may do that.")


def refuse_archived(room: LocalRoom) -> None:
    if room.archived_at:
        raise Rejected("This channel is archived.", code="channel_archived")


def refuse_direct(room: LocalRoom) -> None:
    if room.kind == ChannelKind.DIRECT:
        raise Rejected("A direct channel stays as it is.", code="channel_is_direct")


def only_one(people: Sequence[PersonRef]) -> PersonRef:
    if len(people) != 1:
        raise Rejected("A direct channel is with one person.", code="one_person_needed")
    return people[0]


def pair_key(me: LocalAccount, other: LocalAccount) -> str:
    return "{}:{}".format(*sorted((me.pk, other.pk)))


def direct(write: Write, other: LocalAccount) -> LocalRoom:
    """The one direct room of the two, made when they first need it."""
    me = write.me
    if other.pk == me.pk:
        raise Rejected("Nobody talks to themselves here.", code="person_is_self")
    key = pair_key(me, other)
    if room := LocalRoom.objects.filter(pair_key=key).first():
        return room
    room = LocalRoom.objects.create(
        space_id=me.clock_id,
        kind=ChannelKind.DIRECT,
        creator=me,
        pair_key=key,
        created_at=write.at,
    )
    pair = [accounts.info(me), accounts.info(other)]
    seq = write.emit(Kind.CHANNEL_CREATED, room, channel=wire.channel_json(info(room), pair))
    store_members(write, room, [me, other], Role.MEMBER, seq)
    return room


def created(me: LocalAccount, new: NewChannel) -> LocalRoom | None:
    """The room this request has made before."""
    if new.kind is ChannelKind.DIRECT:
        other = accounts.find_all(me, [only_one(new.people)])[0]
        return LocalRoom.objects.filter(pair_key=pair_key(me, other)).first() if other else None
    return LocalRoom.objects.filter(creator=me, key=new.key).first() if new.key else None


def create(write: Write, new: NewChannel) -> LocalRoom:
    space_id = write.me.clock_id
    if new.kind is not ChannelKind.GROUP and not (new.name or new.title):
        raise Rejected("A channel needs a name or a title.", code="title_missing")
    refuse_taken(space_id, new.name)
    room = LocalRoom.objects.create(
        space_id=space_id,
        kind=new.kind,
        name=new.name,
        title=new.title,
        topic=new.topic,
        purpose=new.purpose,
        creator=write.me,
        key=new.key,
        created_at=write.at,
    )
    seq = write.emit(Kind.CHANNEL_CREATED, room, channel=wire.channel_json(info(room)))
    role = Role.MEMBER if new.kind is ChannelKind.GROUP else Role.MODERATOR
    store_members(write, room, [write.me], role, seq)
    return room


def check_texts(wanted: NewChannel | ChannelChange) -> None:
    """Raises `Rejected` for what is too long or no text."""
    accounts.checked(wanted.name or "", accounts.LONGEST_NAME, "name")
    accounts.checked(wanted.title or "", LONGEST_TITLE, "title")
    accounts.checked(wanted.topic or "", LONGEST_TOPIC, "topic")
    accounts.checked(wanted.purpose or "", LONGEST_TOPIC, "purpose")


def refuse_taken(space_id: int, name: str) -> None:
    live = LocalRoom.objects.filter(space_id=space_id, archived_at=None)
    if name and live.filter(name=name).exists():
        raise Rejected(f"There is a channel {name!r} already.", code="name_taken")


def change(write: Write, room: LocalRoom, wanted: ChannelChange) -> None:
    given = {name: value for name, value in asdict(wanted).items() if value is not None}
    changes = {name: value for name, value in given.items() if getattr(room, name) != value}
    if not changes:
        return
    if "kind" in changes and not {ChannelKind(room.kind), changes["kind"]} <= CONVERTIBLE:
        raise Rejected(
            "Public channels become private ones, private ones public, and no others.",
            code="kind_stays",
        )
    refuse_taken(room.space_id, changes.get("name", ""))
    for name, value in changes.items():
        setattr(room, name, value)
    if not (room.name or room.title or room.kind == ChannelKind.GROUP):
        raise Rejected("A channel needs a name or a title.", code="title_missing")
    room.save(update_fields=list(changes))
    write.emit(Kind.CHANNEL_CHANGED, room, channel=wire.channel_json(info(room)))


def archive(write: Write, room: LocalRoom) -> None:
    room.archived_at = write.at
    room.save(update_fields=["archived_at"])
    write.emit(Kind.CHANNEL_DELETED, room, channel=wire.channel_json(info(room)))


def restore(write: Write, room: LocalRoom) -> None:
    """Its name may have been given away meanwhile."""
    refuse_taken(room.space_id, room.name)
    room.archived_at = None
    room.save(update_fields=["archived_at"])
    write.emit(Kind.CHANNEL_CHANGED, room, channel=wire.channel_json(info(room)))


def add_people(
    write: Write, room: LocalRoom, refs: Sequence[PersonRef], role: Role
) -> list[PersonOutcome]:
    found = accounts.find_all(write.me, refs)
    add(write, room, [account for account in found if account], role)
    return outcomes(refs, found)


def add(write: Write, room: LocalRoom, newcomers: Iterable[LocalAccount], role: Role) -> None:
    """Let in who is not in; make moderators of members that are to be moderators."""
    wanted = {account.pk: account for account in newcomers}
    inside = list(room.members.filter(left_seq=None, account__in=wanted))
    new = [wanted[pk] for pk in wanted.keys() - {member.account_id for member in inside}]
    new.sort(key=lambda account: account.pk)
    channel = wire.channel_json(info(room))
    if new:
        people = [asdict(accounts.info(account)) for account in new]
        seq = write.emit(Kind.PARTICIPANT_JOINED, room, people=people, channel=channel)
        store_members(write, room, new, role, seq)
    promoted = [m.pk for m in inside if role is Role.MODERATOR and m.role != role]
    if promoted:
        LocalMember.objects.filter(pk__in=promoted).update(role=role)
        write.emit(Kind.CHANNEL_CHANGED, room, channel=channel)


def store_members(
    write: Write, room: LocalRoom, newcomers: Iterable[LocalAccount], role: Role, seq: int
) -> None:
    LocalMember.objects.bulk_create(
        LocalMember(room=room, account=account, role=role, joined_at=write.at, joined_seq=seq)
        for account in newcomers
    )


def remove(write: Write, room: LocalRoom, members: Sequence[LocalMember]) -> None:
    if not members:
        return
    leaving = LocalAccount.objects.filter(pk__in=[member.account_id for member in members])
    people = [asdict(accounts.info(account)) for account in leaving.order_by("pk")]
    seq = write.emit(Kind.PARTICIPANT_LEFT, room, people=people)
    LocalMember.objects.filter(pk__in=[member.pk for member in members]).update(left_seq=seq)


def outcomes(
    refs: Sequence[PersonRef], found: Sequence[LocalAccount | None]
) -> list[PersonOutcome]:
    return [
        PersonOutcome(asked=str(ref), person=accounts.info(account))
        if account
        else PersonOutcome(
            asked=str(ref), code=NotFound.code, detail=f"There is nobody called {ref}."
        )
        for ref, account in zip(refs, found, strict=True)
    ]


def info(room: LocalRoom, peer: PersonInfo | None = None) -> ChannelInfo:
    return ChannelInfo(
        id=str(room.pk),
        kind=ChannelKind(room.kind),
        name=room.name,
        title=room.title,
        topic=room.topic,
        purpose=room.purpose,
        archived=room.archived_at is not None,
        peer=peer,
    )


def infos(rooms: Iterable[LocalRoom], me: LocalAccount) -> list[ChannelInfo]:
    """With the other person of direct ones: at most one query more, however many rooms."""
    rooms = list(rooms)
    direct = [room.pk for room in rooms if room.kind == ChannelKind.DIRECT]
    peers: dict[int, PersonInfo] = {}
    if direct:
        others = LocalMember.objects.filter(room__in=direct).exclude(account=me)
        peers = {m.room_id: accounts.info(m.account) for m in others.select_related("account")}
    return [info(room, peers.get(room.pk)) for room in rooms]
