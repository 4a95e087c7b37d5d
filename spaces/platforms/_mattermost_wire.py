"""Mattermost's words and ours: what its objects and websocket events say, as values. All pure.

Ids of what is told: the same thing has one id whether the websocket, a listing or a webhook brings
it, wherever the server gives both something in common. So joins and leaves are taken from the posts
that Mattermost writes about them, which a listing has, and not from the websocket's own events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from spaces.platforms.messages import (
    Card,
    ChannelInfo,
    ChannelKind,
    FileInfo,
    Incoming,
    Kind,
    PersonInfo,
    Presence,
    Reaction,
)

Fields = dict[str, Any]  # a JSON object as the server sent it

KINDS = {
    "O": ChannelKind.PUBLIC,
    "P": ChannelKind.PRIVATE,
    "G": ChannelKind.GROUP,
    "D": ChannelKind.DIRECT,
}
LETTERS = {kind: letter for letter, kind in KINDS.items()}
PRESENCES = {
    "online": Presence.ONLINE,
    "away": Presence.AWAY,
    "dnd": Presence.DND,
    "offline": Presence.OFFLINE,
    "ooo": Presence.AWAY,  # out of office
}
COLORS = {  # the server knows three names and #rrggbb
    "red": "#d24b4e",
    "orange": "#e07315",
    "yellow": "#ffbc1f",
    "green": "#3db887",
    "blue": "#1c58d9",
    "purple": "#7a5af5",
    "gray": "#8d93a5",
    "grey": "#8d93a5",
    "black": "#1b1d22",
    "white": "#ffffff",
}
NAMED_COLORS = ("good", "warning", "danger")
KEY_PROP = "botadmin_key"  # where a post of ours carries its key; the server keeps unknown props
EPHEMERAL = "system_ephemeral"

# Posts that Mattermost writes about people; where the post says who it was about.
JOINED = {
    "system_join_channel": "",
    "system_guest_join_channel": "",
    "system_join_team": "",
    "system_add_to_channel": "added",
    "system_add_guest_to_chan": "added",
    "system_add_to_team": "added",
}
LEFT = {
    "system_leave_channel": "",
    "system_leave_team": "",
    "system_remove_from_channel": "removed",
    "system_remove_from_team": "removed",
}


# Values -------------------------------------------------------------------------------------------


def moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds or 0) / 1000, UTC)


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def person(user: Fields) -> PersonInfo:
    name = " ".join(filter(None, [user.get("first_name"), user.get("last_name")]))
    return PersonInfo(
        id=user["id"],
        username=user.get("username") or "",
        name=name or user.get("nickname") or "",
        email=user.get("email") or "",
        is_bot=bool(user.get("is_bot")),
    )


def channel(told: Fields, *, peer: PersonInfo | None = None) -> ChannelInfo:
    """A direct channel's own name is made of two ids: its title is the other person instead."""
    kind = KINDS.get(told.get("type", ""), ChannelKind.PRIVATE)
    named = kind in (ChannelKind.PUBLIC, ChannelKind.PRIVATE)
    title = told.get("display_name") or ""
    if kind is ChannelKind.DIRECT:
        title = f"@{peer.username}" if peer and peer.username else ""
    return ChannelInfo(
        id=told["id"],
        kind=kind,
        name=told.get("name") or "" if named else "",
        title=title,
        topic=told.get("header") or "",
        purpose=told.get("purpose") or "",
        archived=bool(told.get("delete_at")),
        peer=peer,
    )


def peer_id(told: Fields, own_id: str) -> str:
    """The other person of a direct channel, from its name; ourselves when we talk to ourselves."""
    one, _, other = (told.get("name") or "").partition("__")
    return other if one == own_id else one


def card_out(card: Card) -> Fields:
    """A card as a message attachment."""
    attachment = {
        "fallback": card.summary or card.title or card.body[:200],
        "color": _color(card.color),
        "pretext": card.summary,
        "title": card.title or (card.link if card.link else ""),
        "title_link": card.link,
        "text": card.body,
        "image_url": card.image,
        "thumb_url": card.thumbnail,
        "fields": [{"title": k, "value": v, "short": len(v) <= 40} for k, v in card.fields],
    }
    return {name: value for name, value in attachment.items() if value}


def card_in(props: Mapping[str, Any]) -> Card | None:
    """The first attachment of a post as a card; others are in the raw post."""
    attachments = props.get("attachments")
    if not isinstance(attachments, list) or not attachments:
        return None
    first = attachments[0]
    if not isinstance(first, dict):
        return None
    pairs = first.get("fields") or ()
    return Card(
        title=_text(first, "title"),
        body=_text(first, "text"),
        summary=_text(first, "pretext"),
        link=_text(first, "title_link"),
        image=_text(first, "image_url"),
        thumbnail=_text(first, "thumb_url"),
        color=_text(first, "color"),
        fields=tuple(
            (_text(pair, "title"), _text(pair, "value")) for pair in pairs if isinstance(pair, dict)
        ),
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return "" if value is None else str(value)


def _color(color: str) -> str:
    named = color.strip().lower()
    if named in NAMED_COLORS or named.startswith("#"):
        return named
    return COLORS.get(named, "")


def files(post: Fields) -> tuple[FileInfo, ...]:
    told = (post.get("metadata") or {}).get("files") or []
    infos = {
        info["id"]: FileInfo(
            id=info["id"],
            name=info.get("name") or "",
            content_type=info.get("mime_type") or "application/octet-stream",
            size=int(info.get("size") or 0),
        )
        for info in told
    }
    return tuple(infos.get(id) or FileInfo(id=id, name="") for id in post.get("file_ids") or ())


def reactions(post: Fields, people: Mapping[str, PersonInfo]) -> tuple[Reaction, ...]:
    told = (post.get("metadata") or {}).get("reactions") or []
    return tuple(
        Reaction(
            person=people.get(one["user_id"]) or PersonInfo(id=one["user_id"]),
            name=one["emoji_name"],
            added_at=moment(one.get("create_at")),
        )
        for one in told
        if not one.get("delete_at")
    )


# Posts --------------------------------------------------------------------------------------------


def posted(post: Fields, author: PersonInfo, own_id: str) -> Incoming:
    """What a post tells: a message, or who came and went."""
    if (about := _about_people(post)) is not None:
        kind, people = about
        return Incoming(
            kind=kind,
            id=f"post:{post['id']}",
            occurred_at=moment(post["create_at"]),
            channel_id=post["channel_id"],
            person=author,
            people=people,
            own=author.id == own_id,
            raw=post,
        )
    return Incoming(
        kind=Kind.MESSAGE_POSTED,
        id=f"post:{post['id']}",
        occurred_at=moment(post["create_at"]),
        channel_id=post["channel_id"],
        own=author.id == own_id,
        system=is_system(post),
        raw=post,
        **_content(post, author),
    )


def edited(post: Fields, author: PersonInfo, own_id: str) -> Incoming:
    return Incoming(
        kind=Kind.MESSAGE_EDITED,
        id=f"edit:{post['id']}:{post['edit_at']}",
        occurred_at=moment(post["edit_at"]),
        channel_id=post["channel_id"],
        own=author.id == own_id,
        system=is_system(post),
        raw=post,
        **_content(post, author),
    )


def deleted(post: Fields, at: datetime) -> Incoming:
    return Incoming(
        kind=Kind.MESSAGE_DELETED,
        id=f"deleted:{post['id']}",
        occurred_at=at,
        channel_id=post["channel_id"],
        message_id=post["id"],
        raw=post,
    )


def is_system(post: Fields) -> bool:
    return str(post.get("type") or "").startswith("system_")


def author_of(post: Fields, known: PersonInfo | None = None) -> PersonInfo:
    """Who wrote it. A webhook writes in the name of whoever made it; the raw post says so."""
    info = known or PersonInfo(id=post["user_id"])
    from_bot = (post.get("props") or {}).get("from_bot") == "true"
    return replace(info, is_bot=True) if from_bot else info


def _content(post: Fields, author: PersonInfo) -> Fields:
    return {
        "person": author,
        "message_id": post["id"],
        "text": post.get("message") or "",
        "card": card_in(post.get("props") or {}),
        "files": files(post),
        "thread": post.get("root_id") or "",
    }


def _about_people(post: Fields) -> tuple[Kind, tuple[PersonInfo, ...]] | None:
    """Who came or went, for a post that says so.

    Not confirmed by a running server: the names of these props. Whoever is not named there is
    taken to be the post's own user, as it is where people come and go by themselves.
    """
    post_type, props = post.get("type") or "", post.get("props") or {}
    for kind, types in ((Kind.PARTICIPANT_JOINED, JOINED), (Kind.PARTICIPANT_LEFT, LEFT)):
        if post_type in types:
            word = types[post_type]
            id = props.get(f"{word}UserId") or post["user_id"]
            username = props.get(f"{word}Username" if word else "username") or ""
            return kind, (PersonInfo(id=id, username=username),)
    return None


# Websocket frames ---------------------------------------------------------------------------------


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
        value = json.loads(value) if isinstance(value, str) else value
        if not isinstance(value, dict):
            raise ValueError(f"{self.event} without {name}")
        return value


def frame(told: Fields, *, connection_id: str, own_id: str) -> Frame:
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
        received_at=datetime.now(UTC),
    )


def events(frame: Frame) -> list[Incoming]:
    """What an event tells; nothing for those that are no news for a bot.

    Raises `ValueError` or `KeyError` for one that is not as the server makes it.
    """
    decode = _EVENTS.get(frame.event)
    return decode(frame) if decode else []


def _posted(frame: Frame) -> list[Incoming]:
    post = frame.object("post")
    told = posted(post, _sender(frame, post), frame.own_id)
    kind = KINDS.get(frame.data.get("channel_type", ""))
    peer = _peer(frame, told.person) if kind is ChannelKind.DIRECT else None
    return [replace(told, channel_kind=kind, peer=peer)]


def _peer(frame: Frame, author: PersonInfo | None) -> PersonInfo | None:
    """The other person of a direct channel, also when the bot or a webhook wrote there."""
    id = peer_id({"name": frame.data.get("channel_name")}, frame.own_id)
    return author if author and author.id == id else PersonInfo(id=id) if id else None


def _sender(frame: Frame, post: Fields) -> PersonInfo:
    props = post.get("props") or {}
    username = str(frame.data.get("sender_name") or "").removeprefix("@")
    # A webhook may write under any name, and the server's own posts are all from "System".
    if is_system(post) or props.get("from_webhook") == "true":
        username = ""
    return author_of(post, PersonInfo(id=post["user_id"], username=username))


def _post_edited(frame: Frame) -> list[Incoming]:
    post = frame.object("post")
    # Pinning and acknowledging come as edits, too; only a change of content moves `edit_at`.
    return [edited(post, author_of(post), frame.own_id)] if post.get("edit_at") else []


def _post_deleted(frame: Frame) -> list[Incoming]:
    post = frame.object("post")  # as it was before, so it does not say when
    return [deleted(post, moment(post["delete_at"]) if post["delete_at"] else frame.received_at)]


def _ephemeral(frame: Frame) -> list[Incoming]:
    post = frame.object("post")
    return [posted(post, author_of(post), frame.own_id)]


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
                raw=frame.data,
            )
        ]

    return decode


def _typing(frame: Frame) -> list[Incoming]:
    return [_happened(frame, Kind.TYPING, person=PersonInfo(id=frame.data["user_id"]))]


def _user_removed(frame: Frame) -> list[Incoming]:
    if frame.user_id != frame.own_id or "channel_id" not in frame.data:
        return []  # the channel's members are told by a post
    return [
        _happened(
            frame,
            Kind.PARTICIPANT_LEFT,
            channel_id=frame.data["channel_id"],
            person=PersonInfo(id=frame.data.get("remover_id") or frame.own_id),
            people=(PersonInfo(id=frame.own_id),),
        )
    ]


def _leave_team(frame: Frame) -> list[Incoming]:
    gone = PersonInfo(id=frame.data["user_id"])
    return [_happened(frame, Kind.PARTICIPANT_LEFT, channel_id="", person=gone, people=(gone,))]


def _channel_created(frame: Frame) -> list[Incoming]:
    id = frame.data["channel_id"]
    return [replace(_happened(frame, Kind.CHANNEL_CREATED, channel_id=id), id=f"created:{id}")]


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
    return [channel_changed(frame.object("channel"))]


def channel_created(told: Fields) -> Incoming:
    return _of_channel(Kind.CHANNEL_CREATED, f"created:{told['id']}", told["create_at"], told)


def channel_changed(told: Fields) -> Incoming:
    id = f"channel:{told['id']}:{told['update_at']}"
    return _of_channel(Kind.CHANNEL_CHANGED, id, told["update_at"], told)


def _of_channel(kind: Kind, id: str, at: int, told: Fields) -> Incoming:
    # A direct channel's title is its other person, who is not named here.
    direct = KINDS.get(told.get("type", "")) is ChannelKind.DIRECT
    return Incoming(
        kind=kind,
        id=id,
        occurred_at=moment(at),
        channel_id=told["id"],
        channel=None if direct else channel(told),
        channel_kind=ChannelKind.DIRECT if direct else None,
        raw=told,
    )


def channel_archived(told: Fields) -> Incoming:
    return Incoming(
        kind=Kind.CHANNEL_DELETED,
        id=f"archived:{told['id']}:{told['delete_at']}",
        occurred_at=moment(told["delete_at"]),
        channel_id=told["id"],
        raw=told,
    )


def _channel_deleted(frame: Frame) -> list[Incoming]:
    return [channel_archived({"id": frame.data["channel_id"], **frame.data})]


def _channel_changed(frame: Frame) -> list[Incoming]:
    """Converted or restored; the event does not say into what."""
    return [_happened(frame, Kind.CHANNEL_CHANGED, channel_id=frame.data["channel_id"])]


def _status_change(frame: Frame) -> list[Incoming]:
    presence = PRESENCES.get(frame.data.get("status", ""))
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
            occurred_at=moment(at),
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
    "user_removed": _user_removed,
    "leave_team": _leave_team,
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
