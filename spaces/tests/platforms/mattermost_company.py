"""A small company on a simulated Mattermost, for the stories about the adapter.

Alice runs the bot, Bob watches, Charlie is in the team and in no channel of the bot's.
"""

from __future__ import annotations

import io
import select
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from spaces.platforms.contract import Account, Memory, Stream, effective_options
from spaces.platforms.errors import OutcomeUnknown, Unavailable
from spaces.platforms.mattermost import Mattermost
from spaces.platforms.messages import Batch, CustomRequest, File, Incoming, Kind, Outgoing, Sent
from spaces.testing.mattermost import SimulatedMattermost
from spaces.testing.mattermost.state import Channel, Post, Session

PATIENCE_SECONDS = 60.0
BOT = "helper-bot"
EVERYBODY = ("alice", "bob", "charlie", BOT)


class Company:
    """`bot()` makes platform objects, which `close` closes; `server` is the simulated server."""

    def __init__(self, server: SimulatedMattermost):
        self.server = server
        self.make = server.make
        self.controls = server.controls
        for name in ("alice", "bob", "charlie"):
            server.make.user(name)
        self.bot_user, self.token = server.make.bot(BOT)
        self.team = server.make.team("acme", *EVERYBODY)
        self.lounge = server.make.channel("acme", "lounge", "alice", "bob", BOT)
        self._made: list[Mattermost] = []

    def close(self) -> None:
        for platform in self._made:
            platform.close()

    # Platform objects

    def bot(
        self,
        credentials: dict[str, str] | None = None,
        *,
        memory: Memory | None = None,
        url: str = "",
        **options: Any,
    ) -> Mattermost:
        """Not connected yet; as the bot itself unless credentials are given."""
        platform = Mattermost(
            Account(
                space="chat",
                url=url or self.server.url,
                bot=BOT,
                options=effective_options(Mattermost, options, {}),
                credentials={"token": self.token} if credentials is None else credentials,
                memory=memory or Memory(),
            )
        )
        self._made.append(platform)
        return platform

    def connected(self, credentials: dict[str, str] | None = None, **options: Any) -> Mattermost:
        platform = self.bot(credentials, **options)
        platform.connect()
        return platform

    def admin_bot(self, **options: Any) -> Mattermost:
        """The bot, as a system administrator."""
        self.bot_user.roles = "system_admin system_user"
        return self.connected(**options)

    def person(self, name: str, **options: Any) -> Mattermost:
        return self.connected({"token": self.make.token(name)}, **options)

    def ask(self, name: str, method: str, path: str, body: Any = None) -> Any:
        """What somebody does by the server's own API, which must work."""
        request = CustomRequest(method=method, path=path, body=body)
        response = self.person(name).custom_request(request)
        assert response.status < 300, response.body
        return response.body

    # What is on the server

    def posts(self, channel: Channel | None = None) -> list[Post]:
        """Those people see in a channel, the lounge by default, oldest first."""
        stored = self.server.world.posts_of.get((channel or self.lounge).id, [])
        return [p for p in stored if not p.delete_at and not p.type.startswith("system_")]

    def texts(self, channel: Channel | None = None) -> list[str]:
        return [post.message for post in self.posts(channel)]

    def sessions(self, name: str) -> list[Session]:
        user = self.user(name)
        return [one for one in self.server.world.sessions.values() if one.user_id == user.id]

    def user(self, name: str) -> Any:
        return self.server.world.user_named(name)

    def members(self, channel: Channel) -> set[str]:
        world = self.server.world
        return {world.users[id].username for id in world.members[channel.id]}

    def write(self, name: str, channel: Channel, text: str, **more: Any) -> Post:
        """A post in a millisecond of its own: the order of those in one is anybody's guess."""
        self.controls.advance(0.002)
        return self.make.post(name, channel, text, **more)

    def many_posts(self, quantity: int, channel: Channel | None = None) -> list[Post]:
        """Alice writes "0", "1", …"""
        there = channel or self.lounge
        return [self.write("alice", there, str(number)) for number in range(quantity)]


def message(channel: Channel | None = None, text: str = "hello", **more: Any) -> Outgoing:
    """To a channel, or to whom `more` says; first tried now."""
    return Outgoing(
        key=uuid.uuid4().hex,
        channel=channel.id if channel else "",
        text=text,
        not_before=datetime.now(UTC),
        **more,
    )


def file(content: bytes, name: str = "notes.txt") -> File:
    return File(
        name=name,
        content_type="text/plain",
        size=len(content),
        open=lambda: io.BytesIO(content),
    )


def deliver(
    platform: Mattermost, outgoing: Outgoing, *, between: Callable[[], object] = lambda: None
) -> Sent:
    """As the sending part does it: ask what became of a post before it goes out again. `between`
    happens after each failure."""
    for _ in range(5):
        try:
            return platform.post_message(outgoing)
        except OutcomeUnknown:
            between()
            if found := platform.find_sent(outgoing):
                return found
        except Unavailable:
            between()
    raise AssertionError("it never went out")


# Receiving


def caught_up(platform: Mattermost, cursor: Any) -> list[Incoming]:
    return told_by(platform.catch_up(cursor))


def told_by(batches: Iterable[Batch]) -> list[Incoming]:
    """What they tell, without what the server wrote by itself."""
    return [one for batch in batches for one in batch.incoming if not one.system]


def texts_of(told: Iterable[Incoming], kind: Kind = Kind.MESSAGE_POSTED) -> list[str]:
    return [one.text for one in told if one.kind is kind]


def end_of(cursor: Any, batches: Iterable[Batch]) -> dict[str, Any]:
    """Where reading goes on after these."""
    after = dict(cursor)
    for batch in batches:
        after.update(batch.cursor)
    return after


class Ear:
    """Listens on a stream; `told` is all that it brought so far."""

    def __init__(self, platform: Mattermost, stream: Stream):
        self.platform = platform
        self.stream = stream
        self.told: list[Incoming] = []
        self.cursor: dict[str, Any] = {}

    def hear(self, wanted: Callable[[Incoming], bool]) -> Incoming:
        """The next one that is wanted, asleep until the stream's file number wakes us."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = None
            for one in self.take(deadline - time.monotonic()):
                found = found or (one if wanted(one) else None)
            if found:
                return found
        raise AssertionError(f"heard only {[(one.kind, one.text) for one in self.told]}")

    def hear_kind(self, kind: Kind) -> Incoming:
        return self.hear(lambda one: one.kind is kind)

    def hear_text(self, text: str) -> Incoming:
        return self.hear(lambda one: one.text == text)

    def take(self, seconds: float) -> list[Incoming]:
        """What arrives next; raises as the stream does."""
        waiting = select.poll()
        waiting.register(self.stream, select.POLLIN)
        if not waiting.poll(max(0.0, seconds) * 1000):
            return []
        new = [one for frame in self.stream.receive() for one in self.platform.decode(frame)]
        for one in new:
            self.cursor.update(one.cursor)
        self.told += new
        return new

    def hear_the_end(self) -> None:
        """Listen until the stream or its decoding raises."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self.take(deadline - time.monotonic())
        raise AssertionError("the stream did not end")


@contextmanager
def listening(platform: Mattermost, cursor: Any = None) -> Iterator[Ear]:
    stream = platform.open_stream(cursor or {})
    try:
        yield Ear(platform, stream)
    finally:
        stream.close()


@contextmanager
def being_read(ear: Ear) -> Iterator[None]:
    """Somebody else reads the stream meanwhile."""
    end = threading.Event()

    def read() -> None:
        while not end.is_set():
            ear.take(0.01)

    reading = threading.Thread(target=read)
    reading.start()
    yield
    end.set()
    reading.join()


def wait_until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError("it never came about")
        time.sleep(0.01)
