"""Mattermost's websocket events in our words.

Most of what happens is told by posts; the events that tell the same in another way are left to
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from spaces.platforms import _mattermost_wire as wire
from spaces.platforms import nested
from spaces.platforms._mattermost_wire import Fields
from spaces.platforms.messages import ChannelKind, Incoming, Kind, PersonInfo

# Of these a bot must not miss a single one; all others are news of lesser weight.
VITAL = frozenset({"posted", "post_edited", "post_deleted", "reaction_added", "reaction_removed"})
EDIT_TAKES = 60_000  # ms, at most, from the time an edit is given until it is stored


@dataclass(frozen=True, slots=True)
class Frame:
    """An event of the websocket. `connection_id` and `seq` together are unique."""

    event: str
    data: Fields
    channel_id: str
    team_id: str
    user_id: str
    seq: int
    connection_id: str
    own_id: str
    received_at: datetime

    @property
    def once(self) -> str:
        """Part of an id, for events without anything of their own to tell them apart by."""
        return f"{self.connection_id}:{self.seq}"

    def object(self, name: str) -> Fields:
        """A value of `data` that is an object, or JSON in a string. Raises `ValueError`."""
        value = self.data[name]
        value = nested.loads(value) if isinstance(value, str) else value
        if not isinstance(value, dict):
            raise ValueError(f"{self.event} without {name}")
        return value


def frame(told: Fields, *, connection_id: str, own_id: str, now: datetime) -> Frame:
    """`now` by the server's clock, like all else that it tells."""
    broadcast = told.get("broadcast") or {}
    return Frame(
        event=told["event"],
        data=told.get("data") or {},
        channel_id=broadcast.get("channel_id") or "",
        team_id=broadcast.get("team_id") or "",
        user_id=broadcast.get("user_id") or "",
        seq=int(told.get("seq", 0)),
        connection_id=connection_id,
        own_id=own_id,
        received_at=now,
    )


def told_by(frame: Frame) -> list[Incoming]:
    """What an event tells; nothing for those that are no news for a bot.

    Raises `ValueError` or `KeyError` for one that is not as the server makes it.
    """
    decode = _EVENTS.get(frame.event)
    return decode(frame) if decode else []


def _posted(frame: Frame) -> list[Incoming]:
    post = frame.object("post")
    told = wire.posted(post, _sender(frame, post), frame.own_id)
    kind = wire.KINDS.get(frame.data.get("channel_type", ""))
    peer = _peer(frame, told.person) if kind is ChannelKind.DIRECT else None
    return [replace(told, channel_kind=kind, peer=peer)]


def _peer(frame: Frame, author: PersonInfo | None) -> PersonInfo | None:
    """The other person of a direct channel, also when the bot or a webhook wrote there."""
    id = wire.peer_id({"name": frame.data.get("channel_name")}, frame.own_id)
    return author if author and author.id == id else PersonInfo(id=id) if id else None


def _sender(frame: Frame, post: Fields) -> PersonInfo:
    props = post.get("props") or {}
    username = str(frame.data.get("sender_name") or "").removeprefix("@")
    # A post may name itself as it likes, and the server's own posts are all from "System".
    if wire.is_system(post) or props.get("from_webhook") == "true" or "override_username" in props:
        username = ""
    return wire.author_of(post, PersonInfo(id=post["user_id"], username=username))


def _post_edited(frame: Frame) -> list[Incoming]:
    """Pinning and acknowledging come as edits, too. Only a change of content moves `edit_at`, and
    every change `update_at`."""
    post = frame.object("post")
    edit_at = post.get("edit_at") or 0
    is_edit = post["update_at"] - edit_at < EDIT_TAKES
    return [wire.edited(post, wire.author_of(post), frame.own_id)] if edit_at and is_edit else []


def _post_deleted(frame: Frame) -> list[Incoming]:
    post = frame.object("post")  # as it was before, so it does not say when
    return [
        wire.deleted(
            post, wire.moment(post["delete_at"]) if post["delete_at"] else frame.received_at
        )
    ]


def _ephemeral(frame: Frame) -> list[Incoming]:
    post = frame.object("post")
    return [wire.posted(post, wire.author_of(post), frame.own_id)]


def _reaction(kind: Kind) -> Callable[[Frame], list[Incoming]]:
    def decode(frame: Frame) -> list[Incoming]:
        told = frame.object("reaction")
        return [
            Incoming(
                kind=kind,
                id=f"{kind}:{told['post_id']}:{told['user_id']}:{told['emoji_name']}:{frame.once}",
                occurred_at=frame.received_at,
                channel_id=told.get("channel_id") or frame.channel_id,
                person=PersonInfo(id=told["user_id"]),
                own=told["user_id"] == frame.own_id,
                message_id=told["post_id"],
                reaction=told["emoji_name"],
                raw=told,
            )
        ]

    return decode


def _typing(frame: Frame) -> list[Incoming]:
    return [_happened(frame, Kind.TYPING, person=PersonInfo(id=frame.data["user_id"]))]


def _user_added(frame: Frame) -> list[Incoming]:
    """A post tells it as well, with who did it; but not on every server."""
    return _own_part(frame, Kind.PARTICIPANT_JOINED, of=frame.data["user_id"])


def _added_to_team(frame: Frame) -> list[Incoming]:
    return _own_part(frame, Kind.PARTICIPANT_JOINED, of=frame.data["user_id"], channel_id="")


def _team_deleted(frame: Frame) -> list[Incoming]:
    return _own_part(frame, Kind.PARTICIPANT_LEFT, channel_id="")


def _team_restored(frame: Frame) -> list[Incoming]:
    return _own_part(frame, Kind.PARTICIPANT_JOINED, channel_id="")


def _own_part(frame: Frame, kind: Kind, *, of: str = "", **what: Any) -> list[Incoming]:
    if of not in ("", frame.own_id):
        return []  # the channel's members are told by a post
    own = (PersonInfo(id=frame.own_id),)
    return [_happened(frame, kind, people=own, hint=True, **what)]


def _user_removed(frame: Frame) -> list[Incoming]:
    if frame.user_id != frame.own_id or "channel_id" not in frame.data:
        return []  # the channel's members are told by a post
    remover_id = frame.data.get("remover_id") or frame.own_id
    return [
        _happened(
            frame,
            Kind.PARTICIPANT_LEFT,
            channel_id=frame.data["channel_id"],
            person=PersonInfo(id=remover_id),
            people=(PersonInfo(id=frame.own_id),),
            own=remover_id == frame.own_id,
        )
    ]


def _leave_team(frame: Frame) -> list[Incoming]:
    gone = PersonInfo(id=frame.data["user_id"])
    return [_happened(frame, Kind.PARTICIPANT_LEFT, channel_id="", person=gone, people=(gone,))]


def _channel_created(frame: Frame) -> list[Incoming]:
    """The server tells only who created it."""
    id = frame.data["channel_id"]
    told = _happened(frame, Kind.CHANNEL_CREATED, channel_id=id, own=True)
    return [replace(told, id=f"created:{id}")]


def _direct_added(frame: Frame) -> list[Incoming]:
    creator, mate = frame.data.get("creator_id", ""), frame.data.get("teammate_id", "")
    other = mate if creator == frame.own_id else creator
    told = _happened(
        frame,
        Kind.CHANNEL_CREATED,
        channel_kind=ChannelKind.DIRECT,
        peer=PersonInfo(id=other) if other else None,
        person=PersonInfo(id=creator) if creator else None,
        own=creator == frame.own_id,
    )
    return [replace(told, id=f"created:{frame.channel_id}")] if frame.channel_id else []


def _group_added(frame: Frame) -> list[Incoming]:
    told = _happened(frame, Kind.CHANNEL_CREATED, channel_kind=ChannelKind.GROUP)
    return [replace(told, id=f"created:{frame.channel_id}")] if frame.channel_id else []


def _channel_updated(frame: Frame) -> list[Incoming]:
    return [wire.channel_changed(frame.object("channel"))]


def _channel_deleted(frame: Frame) -> list[Incoming]:
    return [wire.channel_archived({"id": frame.data["channel_id"], **frame.data})]


def _channel_changed(frame: Frame) -> list[Incoming]:
    """Converted or restored; the event does not say into what."""
    return [_happened(frame, Kind.CHANNEL_CHANGED, channel_id=frame.data["channel_id"])]


def _status_change(frame: Frame) -> list[Incoming]:
    presence = wire.PRESENCES.get(frame.data.get("status", ""))
    if presence is None:
        return []
    who = PersonInfo(id=frame.data["user_id"])
    own = who.id == frame.own_id
    return [_happened(frame, Kind.PRESENCE_CHANGED, person=who, presence=presence, own=own)]


def _viewed(frame: Frame) -> list[Incoming]:
    """The server tells only whose account it is: another session of the bot's, or we ourselves."""
    return [
        Incoming(
            kind=Kind.MESSAGE_READ,
            id=f"read:{channel_id}:{at}",
            occurred_at=wire.moment(at),
            channel_id=channel_id,
            person=PersonInfo(id=frame.own_id),
            own=True,
            raw=frame.data,
        )
        for channel_id, at in frame.object("channel_times").items()
    ]


def _happened(frame: Frame, kind: Kind, **what: Any) -> Incoming:
    """What has no id or time of its own."""
    return Incoming(
        kind=kind,
        id=f"{frame.event}:{frame.once}",
        occurred_at=frame.received_at,
        raw=frame.data,
        **{"channel_id": frame.channel_id, **what},
    )


_EVENTS: dict[str, Callable[[Frame], list[Incoming]]] = {
    "posted": _posted,
    "post_edited": _post_edited,
    "post_deleted": _post_deleted,
    "ephemeral_message": _ephemeral,
    "reaction_added": _reaction(Kind.REACTION_ADDED),
    "reaction_removed": _reaction(Kind.REACTION_REMOVED),
    "typing": _typing,
    "user_added": _user_added,
    "user_removed": _user_removed,
    "added_to_team": _added_to_team,
    "leave_team": _leave_team,
    "delete_team": _team_deleted,
    "restore_team": _team_restored,
    "channel_created": _channel_created,
    "direct_added": _direct_added,
    "group_added": _group_added,
    "channel_updated": _channel_updated,
    "channel_deleted": _channel_deleted,
    "channel_converted": _channel_changed,
    "channel_restored": _channel_changed,
    "status_change": _status_change,
    "multiple_channels_viewed": _viewed,
}
