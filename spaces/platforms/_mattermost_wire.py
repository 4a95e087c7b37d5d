"""Mattermost's words and ours: what its objects and websocket events say, as values. All pure.

Ids of what is told: the same thing has one id whether the websocket, a listing or a webhook brings
it, wherever the server gives both something in common. So joins and leaves are taken from the posts
that Mattermost writes about them, which a listing has, and not from the websocket's own events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
LATEST = 253_370_764_800_000  # ms; later than the year 9998 means nothing, and years end at 9999
KEY_PROP = "botadmin_key"  # where a post of ours carries its key; the server keeps unknown props
EPHEMERAL = "system_ephemeral"
WEBHOOK = "webhook:"  # before the id of its maker; no id of the server has a colon

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
    """Administrators may give posts any time at all."""
    return datetime.fromtimestamp(min(max(0, int(milliseconds or 0)), LATEST) / 1000, UTC)


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
            own=post["user_id"] == own_id,
            raw=post,
        )
    return Incoming(
        kind=Kind.MESSAGE_POSTED,
        id=f"post:{post['id']}",
        occurred_at=moment(post["create_at"]),
        channel_id=post["channel_id"],
        own=post["user_id"] == own_id,
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
        own=post["user_id"] == own_id,
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
        with_thread=not post.get("root_id"),
        raw=post,
    )


def is_system(post: Fields) -> bool:
    return str(post.get("type") or "").startswith("system_")


def author_of(post: Fields, known: PersonInfo | None = None) -> PersonInfo:
    """Who wrote it. A webhook writes under the id of whoever made it, and so does whoever knows its
    URL: it is a bot with an id of its own, and that person neither wrote this nor is a bot."""
    props = post.get("props") or {}
    if _is_true(props.get("from_webhook")):
        return PersonInfo(id=f"{WEBHOOK}{post['user_id']}", is_bot=True)
    info = known or PersonInfo(id=post["user_id"])
    return replace(info, is_bot=True) if _is_true(props.get("from_bot")) else info


def _is_true(prop: Any) -> bool:
    """The server writes words; programs that post may write anything."""
    return str(prop).lower() == "true"


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
            # An administrator who removes somebody from a team is not named: the post is theirs.
            if not word or not props.get(f"{word}UserId"):
                id, username = post["user_id"], props.get("username")
            else:
                id, username = props[f"{word}UserId"], props.get(f"{word}Username")
            return kind, (PersonInfo(id=id, username=username or ""),)
    return None


# Channels -----------------------------------------------------------------------------------------


def channel_created(told: Fields, own_id: str) -> Incoming:
    created = _of_channel(Kind.CHANNEL_CREATED, f"created:{told['id']}", told["create_at"], told)
    return replace(created, own=told.get("creator_id") == own_id)


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
