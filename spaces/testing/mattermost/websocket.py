"""Who is connected, which events they get, and what is kept for them while they are away."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import presence
from .settings import BUILD
from .state import new_id

if TYPE_CHECKING:
    from .simulation import Simulation
    from .sockets import Socket

QUEUE = 256  # events waiting for one connection
SLOW_FROM = 128  # from here on the unimportant ones are dropped
HISTORY = 128  # sent events kept for a resume
REAP_EVERY_SECONDS = 300
REAP_AFTER_MS = 300_000
OFFLINE_AFTER_SECONDS = 0.5

UNIMPORTANT = frozenset(["typing", "status_change", "multiple_channels_viewed"])
ONLY_IN_VIEWED_CHANNEL = frozenset(["typing", "reaction_added", "reaction_removed"])


@dataclass(frozen=True, kw_only=True)
class Event:
    name: str
    data: dict[str, Any]
    channel_id: str = ""
    user_id: str = ""
    team_id: str = ""
    omit_users: frozenset[str] = frozenset()
    connection_id: str = ""
    sanitized: bool = False  # for everyone but system admins
    sensitive: bool = False  # for system admins alone
    # Data that differs from reader to reader, added for the user named.
    personal: Callable[[str], dict[str, Any]] | None = None

    def frame(self, seq: int, reader_id: str) -> str:
        broadcast: dict[str, Any] = {
            "omit_users": dict.fromkeys(sorted(self.omit_users), True) or None,
            "user_id": self.user_id,
            "channel_id": self.channel_id,
            "team_id": self.team_id,
            "connection_id": self.connection_id,
            "omit_connection_id": "",
        }
        if self.sanitized:
            broadcast["contains_sanitized_data"] = True
        if self.sensitive:
            broadcast["contains_sensitive_data"] = True
        data = self.data | (self.personal(reader_id) if self.personal else {})
        event = {"event": self.name, "data": data, "broadcast": broadcast, "seq": seq}
        return json.dumps(event, ensure_ascii=False)


@dataclass(eq=False)
class Connection:
    """What the server keeps of one connection, over several sockets if it is resumed."""

    user_id: str
    token: str
    last_activity: int  # ms
    id: str = field(default_factory=new_id)
    next_seq: int = 0
    queue: deque[Event] = field(default_factory=deque)
    history: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    socket: Socket | None = None  # None while it is inactive
    viewed_channel_id: str = ""

    def take(self) -> tuple[int, str]:
        """The next event as it goes out: numbered, and remembered for a resume."""
        event = self.queue.popleft()
        sent = (self.next_seq, event.frame(self.next_seq, self.user_id))
        self.history.append(sent)
        self.next_seq += 1
        return sent

    def missed_since(self, seq: int) -> list[tuple[int, str]] | None:
        """What was sent from this number on; None when it is not known any more."""
        if not self.history or self.history[-1][0] == seq - 1:
            return []
        if any(number == seq for number, _ in self.history):
            return [sent for sent in self.history if sent[0] >= seq]
        return None

    def start_over(self) -> None:
        """A new identity after a gap; what is queued stays queued."""
        self.id = new_id()
        self.next_seq = 0
        self.history.clear()


class Hub:
    def __init__(self, simulation: Simulation):
        self._simulation = simulation
        self.connections: list[Connection] = []
        self.sockets: set[Socket] = set()  # all that are open, known to the hub or not

    def start(self) -> None:
        self._simulation.clock.call_later(REAP_EVERY_SECONDS, self._reap)

    # Coming and going

    def register(self, connection: Connection) -> None:
        """A new connection; its first event is `hello`."""
        if connection not in self.connections:
            self.connections.append(connection)
        self.say_hello(connection)
        self._set_online(connection.user_id)

    def say_hello(self, connection: Connection) -> None:
        hello = {
            "server_version": BUILD,
            "connection_id": connection.id,
            "server_hostname": "simulated",
        }
        event = Event(name="hello", data=hello, user_id=connection.user_id)
        connection.queue.appendleft(event)

    def resumable(self, connection_id: str, user_id: str) -> Connection | None:
        for connection in self.connections:
            if connection.id == connection_id and connection.user_id == user_id:
                return connection if connection.socket is None else None
        return None

    def resume(self, connection: Connection, seq: int, token: str) -> list[tuple[int, str]]:
        """Take up an inactive connection; what has to be sent again, by its old numbers."""
        connection.token = token
        connection.last_activity = self._simulation.now()
        self._set_online(connection.user_id)
        if seq == 0:
            connection.next_seq = 0
            return []
        missed = connection.missed_since(seq)
        if missed is None:
            connection.start_over()
            self.say_hello(connection)
            return []
        connection.next_seq = seq + len(missed)
        return missed

    def left(self, connection: Connection) -> None:
        """The socket is gone; the connection waits for a resume."""
        connection.socket = None
        self._simulation.clock.call_later(
            OFFLINE_AFTER_SECONDS, lambda: self._set_offline(connection.user_id)
        )

    def forget(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    def forget_inactive(self, user_id: str) -> None:
        self.connections = [
            one for one in self.connections if one.socket or user_id not in ("", one.user_id)
        ]

    def drop_everything(self) -> None:
        self.connections.clear()
        for socket in list(self.sockets):
            socket.drop()
        self._simulation.statuses.clear()

    def sockets_of(self, user_id: str = "") -> list[Socket]:
        return [one for one in self.sockets if user_id in ("", one.user_id)]

    def note_activity(self, token: str) -> None:
        for connection in self.connections:
            if connection.token == token:
                connection.last_activity = self._simulation.now()

    def _reap(self) -> None:
        """Inactive connections go when their user did nothing for a while before they broke."""
        oldest = self._simulation.now() - REAP_AFTER_MS
        self.connections = [
            one for one in self.connections if one.socket or one.last_activity >= oldest
        ]
        self._simulation.clock.call_later(REAP_EVERY_SECONDS, self._reap)

    # Events

    def publish(self, event: Event) -> None:
        for connection in list(self.connections):
            if self._is_for(event, connection):
                self._enqueue(event, connection)

    def _enqueue(self, event: Event, connection: Connection) -> None:
        if len(connection.queue) >= QUEUE:
            self.forget(connection)
            if connection.socket:
                connection.socket.close_overflown()
            return
        connection.queue.append(event)
        if connection.socket:
            connection.socket.wake()

    def _is_for(self, event: Event, connection: Connection) -> bool:
        world = self._simulation.world
        session = world.sessions.get(connection.token)
        if session is None or session.expires_at <= self._simulation.now():
            connection.token = ""  # also if the token counts again later: it has to log in anew
            return False
        if len(connection.queue) >= SLOW_FROM and event.name in UNIMPORTANT:
            return False
        reader = world.users[connection.user_id]
        if event.sanitized and self._simulation.is_admin(reader):
            return False
        if event.sensitive and not self._simulation.is_admin(reader):
            return False
        if event.connection_id:
            return connection.id == event.connection_id
        if event.user_id:
            return event.user_id == reader.id
        if reader.id in event.omit_users:
            return False
        if event.channel_id:
            if (
                event.name in ONLY_IN_VIEWED_CHANNEL
                and connection.viewed_channel_id
                and connection.viewed_channel_id != event.channel_id
            ):
                return False
            return world.member(event.channel_id, reader.id) is not None
        if event.team_id:
            return world.team_member(event.team_id, reader.id) is not None
        return True

    # Presence

    def _set_online(self, user_id: str) -> None:
        presence.set_automatically(self._simulation, user_id, "online")

    def _set_offline(self, user_id: str) -> None:
        if not any(one.socket and one.user_id == user_id for one in self.connections):
            presence.set_automatically(self._simulation, user_id, "offline")
