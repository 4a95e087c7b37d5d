"""Sockets for `outbound`: connected to addresses that the guard has seen, and kept for a while."""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from typing import cast

from urllib3.util.wait import wait_for_read

from bots.guard import Address, Place, Target
from spaces.platforms.timed import TimedAnswer

CONNECT_SECONDS = 10.0  # for all addresses of a host together
BLOCK = 16 * 1024  # bytes sent at once: a TLS record
IDLE_SECONDS = 30.0  # servers close idle connections after a minute; a call must not race that
MOST_IDLE = 256  # connections


class Deadline:
    """So many seconds from now, for all that is done meanwhile."""

    def __init__(self, seconds: float):
        self._began = time.monotonic()
        self.seconds = seconds

    @property
    def seconds_gone(self) -> float:
        return time.monotonic() - self._began

    def seconds_left(self) -> float:
        """More than none. Raises `TimeoutError` when all are gone."""
        left = self.seconds - self.seconds_gone
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class Connection(HTTPConnection):
    """A socket that the guard has seen; it never opens another."""

    auto_open = 0
    response_class = TimedAnswer

    def __init__(self, target: Target, connected: socket.socket):
        super().__init__(target.host, target.port)
        self.default_port = 443 if target.scheme == "https" else 80  # that no Host header names
        self.sock: socket.socket = connected
        self._deadline = Deadline(0)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> TimedAnswer:
        """The answer, its body not read yet."""
        self._deadline = deadline
        with suppress(ConnectionError):  # servers may answer what they do not read to its end
            self.request(method, path, body, headers)
        self.sock.settimeout(deadline.seconds_left())
        return cast(TimedAnswer, self.getresponse())

    def send(self, data: bytes) -> None:  # type: ignore[override]  # nothing else is sent here
        # Bit by bit: over TLS, a timeout is for each record.
        with memoryview(data) as view:
            for start in range(0, len(view), BLOCK):
                self.sock.settimeout(self._deadline.seconds_left())
                self.sock.sendall(view[start : start + BLOCK])


class Idle:
    """Connections that wait for the next call to the same place: some, and for some time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_place: defaultdict[Place, list[Connection]] = defaultdict(list)
        # The one that waits longest is the first here, and the first of its place.
        self._since: OrderedDict[Connection, tuple[Place, float]] = OrderedDict()

    def take(self, place: Place) -> Connection | None:
        """One on which nothing has happened, least of all its end."""
        while True:
            with self._lock:
                self._drop_old()
                if not (waiting := self._by_place.get(place)):
                    return None
                connection = waiting[-1]
                self._forget(connection)
            if not wait_for_read(connection.sock, timeout=0):
                return connection
            connection.close()

    def keep(self, place: Place, connection: Connection) -> None:
        with self._lock:
            self._by_place[place].append(connection)
            self._since[connection] = (place, time.monotonic())
            self._drop_old()

    def clear(self) -> None:
        with self._lock:
            for connection in list(self._since):
                self._forget(connection)
                connection.close()

    def _drop_old(self) -> None:
        latest = time.monotonic() - IDLE_SECONDS
        while self._since:
            connection, (_, since) = next(iter(self._since.items()))
            if since > latest and len(self._since) <= MOST_IDLE:
                return
            self._forget(connection)
            connection.close()

    def _forget(self, connection: Connection) -> None:
        place, _ = self._since.pop(connection)
        self._by_place[place].remove(connection)
        if not self._by_place[place]:
            del self._by_place[place]


def connected(addresses: Sequence[Address], port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address that takes one; each may take its share of the time."""
    patience = Deadline(min(CONNECT_SECONDS, deadline.seconds_left()))
    failure = OSError("no address")
    for tried, address in enumerate(addresses):
        seconds = patience.seconds_left() / (len(addresses) - tried)
        try:
            return _connected_to(address, port, seconds)
        except OSError as error:
            failure = error
    raise failure


def _connected_to(address: Address, port: int, seconds: float) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect((str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection
