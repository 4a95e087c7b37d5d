"""How events of the local platform look on the wire and in the log, and how to read them.

An event is the same JSON for everybody who is told; a frame wraps it with the id of the account
it is for, from which reading derives `own` and the other person of a direct channel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
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
)

PONG = b'{"pong":true}'
KINDS = frozenset(kind.value for kind in Kind)


def frame(account_id: int, event: bytes) -> bytes:
    """`event` is encoded once by the caller, however many accounts it goes to."""
    return b'{"me":"%d","event":%s}' % (account_id, event)


def moving_nothing(frame: bytes) -> bytes:
    """The same, told out of its turn: reading does not go on after it."""
    return b'{"moves_nothing":true,%s' % frame[1:]


def place(frame: bytes) -> tuple[str, int] | None:
    """The room and the number of the event in a frame, if there is one."""
    event = json.loads(frame).get("event")
    return (event["room"], event["seq"]) if event else None


def decode(data: bytes) -> list[Incoming]:
    """As `Platform.decode`."""
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("a frame of the local platform is a JSON object")
    event = content.get("event")
    if not isinstance(event, dict) or event.get("kind") not in KINDS:
        return []
    try:
        told = incoming(event, me=content["me"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"a frame with a broken event: {error!r}") from error
    return [replace(told, cursor={}) if "moves_nothing" in content else told]


def incoming(event: dict[str, Any], *, me: str) -> Incoming:
    """The event as the account `me` is told of it."""
    actor = PersonInfo(**event["actor"])
    channel = event.get("channel")
    return Incoming(
        kind=Kind(event["kind"]),
        id=str(event["seq"]),
        occurred_at=datetime.fromisoformat(event["at"]),
        channel_id=event["room"],
        channel=channel_info(channel, me=me) if channel else None,
        person=actor,
        own=actor.id == me,
        message_id=event.get("message", ""),
        text=event.get("text", ""),
        card=card_info(event.get("card")),
        files=tuple(FileInfo(**file) for file in event.get("files", ())),
        thread=event.get("thread", ""),
        reaction=event.get("reaction", ""),
        people=tuple(PersonInfo(**person) for person in event.get("people", ())),
        presence=Presence(event["presence"]) if "presence" in event else None,
        raw=event,
        cursor={"seq": event["seq"]},
    )


def channel_json(channel: ChannelInfo, pair: Iterable[PersonInfo] = ()) -> dict[str, Any]:
    """`pair` holds both people of a direct channel: each is told of the other."""
    return {
        "id": channel.id,
        "kind": channel.kind.value,
        "name": channel.name,
        "title": channel.title,
        "topic": channel.topic,
        "purpose": channel.purpose,
        "archived": channel.archived,
        "pair": [asdict(person) for person in pair],
    }


def channel_info(channel: dict[str, Any], *, me: str) -> ChannelInfo:
    others = [PersonInfo(**person) for person in channel["pair"] if person["id"] != me]
    return ChannelInfo(
        id=channel["id"],
        kind=ChannelKind(channel["kind"]),
        name=channel["name"],
        title=channel["title"],
        topic=channel["topic"],
        purpose=channel.get("purpose", ""),  # events of older versions have none
        archived=channel["archived"],
        peer=others[0] if others else None,
    )


def card_json(card: Card | None) -> dict[str, Any] | None:
    return asdict(card) if card else None


def card_info(card: dict[str, Any] | None) -> Card | None:
    if not card:
        return None
    return Card(**{**card, "fields": tuple((name, value) for name, value in card["fields"])})
