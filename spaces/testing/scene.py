"""What the stories of `conformance` are told with: the scene, and ways to act and to listen."""

from __future__ import annotations

import io
import select
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest

from spaces.platforms.contract import Platform, Stream
from spaces.platforms.messages import (
    Batch,
    ChannelChange,
    ChannelInfo,
    ChannelKind,
    Cursor,
    CustomRequest,
    File,
    Incoming,
    Kind,
    NewChannel,
    Outgoing,
    PersonInfo,
    PersonRef,
    Presence,
    Sent,
    WebhookRequest,
)

PATIENCE_SECONDS = 10  # a stream that brings nothing for so long brings nothing at all

# Arguments that only have to reach the operation: it must refuse before it looks at them.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "post_message": (Outgoing(key="k", channel="1", text="hello"),),
    "edit_message": ("1", "1", "hello"),
    "delete_message": ("1", "1"),
    "react": ("1", "1", "wave"),
    "unreact": ("1", "1", "wave"),
    "pin_message": ("1", "1"),
    "unpin_message": ("1", "1"),
    "list_pinned": ("1",),
    "typing": ("1",),
    "set_presence": (Presence.AWAY,),
    "create_channel": (NewChannel(key="k", kind=ChannelKind.PUBLIC, name="n"),),
    "find_created": (NewChannel(key="k", kind=ChannelKind.PUBLIC, name="n"),),
    "update_channel": ("1", ChannelChange(title="t")),
    "archive_channel": ("1",),
    "restore_channel": ("1",),
    "join_channel": ("1",),
    "leave_channel": ("1",),
    "find_person": (PersonRef(username="n"),),
    "list_participants": ("1",),
    "add_participants": ("1", ()),
    "remove_participants": ("1", ()),
    "mark_read": ("1", "1"),
    "set_read_receipts": (True,),
    "catch_up": ({},),
    "open_stream": ({},),
    "decode": (b"{}",),
    "history": ("1",),
    "download_file": ("1",),
    "find_sent": (Outgoing(key="k", channel="1", text="hello"),),
    "parse_webhook": (WebhookRequest(method="POST", headers={}),),
    "answer_webhook": (WebhookRequest(method="POST", headers={}), None),
    "custom_request": (CustomRequest(method="GET", path="/me"),),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Two accounts in one channel, and somebody of the same space who is not in it.

    `nothing_sent` is a context manager that fails when something reaches the server inside it.
    `drops_repeats` says that the server knows our keys and posts a repeated message once, the
    `tells_` fields what its streams tell `other`: who is there, what somebody read, and what the
    bot showed to `other` alone. `logs_reactions` says that catching up tells of reactions that came
    and went meanwhile. `known_path` answers a GET in the platform's own words.
    """

    bot: Platform
    other: Platform
    channel: str  # id
    stranger: PersonRef
    nothing_sent: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    drops_repeats: bool = False
    tells_presence: bool = True
    tells_reads: bool = True
    tells_ephemeral: bool = True
    logs_reactions: bool = True
    known_path: str = "/me"


def new_key() -> str:
    return uuid.uuid4().hex


def new_name(about: str) -> str:
    """For a channel: the stories may meet a server that was told them before."""
    return f"{about}-{new_key()[:8]}"


def make_channel(scene: Scene, kind: ChannelKind, **changes: Any) -> ChannelInfo:
    new = NewChannel(key=new_key(), kind=kind, name=new_name("room"), title="A room", **changes)
    return scene.bot.create_channel(new)[0]


def text_for(scene: Scene, text: str) -> Outgoing:
    return Outgoing(key=new_key(), channel=scene.channel, text=text)


def text_to(friend: PersonInfo, text: str) -> Outgoing:
    return Outgoing(key=new_key(), person=PersonRef(id=friend.id), text=text)


def file(content: bytes, name: str = "notes.bin") -> File:
    return File(
        name=name,
        content_type="application/octet-stream",
        size=len(content),
        open=lambda: io.BytesIO(content),
    )


def post_numbers(scene: Scene, quantity: int) -> list[Sent]:
    return [scene.other.post_message(text_for(scene, str(number))) for number in range(quantity)]


def texts(told: Iterator[Incoming]) -> list[str]:
    return [incoming.text for incoming in told]


def participants(scene: Scene) -> set[str]:
    return {member.person.id for member in scene.bot.list_participants(scene.channel)}


def caught_up(platform: Platform, cursor: Cursor) -> list[Incoming]:
    return by_people(platform.catch_up(cursor))


def by_people(batches: Iterable[Batch]) -> list[Incoming]:
    """What they hold, without what a platform writes about it by itself."""
    return [i for batch in batches for i in batch.incoming if not i.system]


def of_kind(kind: Kind, told: list[Incoming]) -> list[Incoming]:
    return [i for i in told if i.kind is kind and not i.system]


def reactions_told(
    scene: Scene, message_id: str, work: Callable[[], None]
) -> list[tuple[Kind, str]]:
    """What `other` is told of reactions to a message while `work` ends with taking one back: by
    catching up, or live where that does not tell; what comes twice in a row counts once."""
    if scene.logs_reactions:
        cursor = scene.other.start_cursor()
        work()
        told = caught_up(scene.other, cursor)
        return [(i.kind, i.reaction) for i in told if i.message_id == message_id]
    stream = scene.other.open_stream({})
    try:
        work()
        told = read_until(scene.other, stream, lambda i: i.kind is Kind.REACTION_REMOVED)
    finally:
        stream.close()
    live = [(i.kind, i.reaction) for i in told if i.reaction and i.message_id == message_id]
    return [change for change, _ in groupby(live)]


@contextmanager
def listening(platform: Platform) -> Iterator[Callable[[Kind], Incoming]]:
    """Inside, wait for the next event of a kind on the platform's stream."""
    stream = platform.open_stream({})
    try:
        yield lambda kind: read_until(platform, stream, lambda i: i.kind is kind)[-1]
    finally:
        stream.close()


def read_until(
    platform: Platform, stream: Stream, wanted: Callable[[Incoming], bool]
) -> list[Incoming]:
    """What the stream brings, up to the first that is wanted."""
    told: list[Incoming] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for frame in wait_for_frames(stream):
            for incoming in platform.decode(frame):
                told.append(incoming)
                if wanted(incoming):
                    return told
    pytest.fail(f"the stream brought only {[(i.kind, i.text) for i in told]}")


def wait_for_frames(stream: Stream) -> list[bytes]:
    """Asleep until the stream's file number wakes us, as the reader thread is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (patience := deadline - time.monotonic()) > 0:
        if select.select([stream], [], [], patience)[0] and (frames := stream.receive()):
            return frames
    pytest.fail("the stream brought nothing")
