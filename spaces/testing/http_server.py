"""An HTTP server on the loopback for tests, that misbehaves on command.

A test lines up acts with `server.will(...)`; each request plays the next one, and when there are
none left it is answered with an empty JSON object. What was asked is in `server.requests`. Asked to
CONNECT it is a proxy, and one for plain HTTP anyway: it answers for any host.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import parse_headers
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import urlsplit

TIMEOUT = 10.0  # seconds until either side of a test gives up waiting
DRIP_SECONDS = 0.005
BLOCK = 16 * 1024  # bytes
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing throws away what is unsent, and says so


@dataclass
class Request:
    """What a client sent. `connection` counts the server's connections from 1."""

    connection: int
    method: str
    target: str
    headers: Message = field(repr=False)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """One request on one connection, as an act gets it: nothing of it has been read yet."""

    def __init__(self, server: HttpServer, number: int, connection: socket.socket, file: BinaryIO):
        self.server = server
        self.socket = connection
        self._number = number
        self._file = file
        self.request: Request | None = None
        self.is_over = False  # the connection, and not only this exchange

    def read_head(self) -> Request:
        method, target, _ = self._file.readline().decode("latin-1").split()
        self.request = Request(self._number, method, target, parse_headers(self._file))
        self.server.requests.append(self.request)
        return self.request

    def read(self) -> Request:
        request = self.read_head()
        if request.headers["Transfer-Encoding"] == "chunked":
            while size := int(self._file.readline(), 16):
                request.body += self._file.read(size)
                self._file.readline()
            self._file.readline()
        else:
            request.body = self._file.read(int(request.headers["Content-Length"] or 0))
        return request

    def read_some(self, size: int) -> bytes:
        return self._file.read(size)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait_for_end(self) -> None:
        """Until the client closes, or the server ends with its test."""
        self.is_over = True
        with suppress(OSError):
            while self.socket.recv(BLOCK):
                pass

    def close(self) -> None:
        self.is_over = True

    def reset(self) -> None:
        self.is_over = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


Act = Callable[[Exchange], None]


class HttpServer:
    """A context manager. With `tls` it speaks nothing else."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self._tls = tls
        self._acts: deque[Act] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._closed = 0
        self._is_shut = False
        self.requests: list[Request] = []
        self.stopping = threading.Event()

    def __enter__(self) -> HttpServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        with self._changed:
            self._is_shut = True
            for connection in self._open:
                _shut_down(connection)
        _shut_down(self._listener)
        for thread in self._threads:
            thread.join(TIMEOUT)
        self._listener.close()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def will(self, *acts: Act) -> None:
        self._acts.extend(acts)

    def wait_for_closed(self, count: int) -> None:
        """Until so many connections have ended, on this side at least."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed >= count, TIMEOUT):
                raise TimeoutError(f"only {self._closed} connections have ended")

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, name="http-server")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # shut down
            number += 1
            self._start(self._serve, number, connection)

    def _serve(self, number: int, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT)
        if self._tls:
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        with self._changed:
            self._open.add(connection)
            if self._is_shut:
                _shut_down(connection)
        try:
            with connection, suppress(OSError):  # the client left, or the test is over
                if self._shakes_hands(connection):
                    self._play(number, connection)
        finally:
            with self._changed:
                self._open.remove(connection)
                self._closed += 1
                self._changed.notify_all()

    def _shakes_hands(self, connection: socket.socket) -> bool:
        if not isinstance(connection, ssl.SSLSocket):
            return True
        try:
            connection.do_handshake()
        except ssl.SSLError:
            # Closing with something unread would be a reset, which can overtake the reason.
            _shut_down(connection, socket.SHUT_WR)
            while connection.recv(BLOCK):
                pass
            return False
        return True

    def _play(self, number: int, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            while file.peek(1):
                exchange = Exchange(self, number, connection, file)
                act = self._acts.popleft() if self._acts else answer()
                act(exchange)
                if exchange.is_over:
                    return


def _shut_down(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):
        connection.shutdown(how)


# Acts ---------------------------------------------------------------------------------------------


def answer(body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> Act:
    """An answer as it should be; a body that is no bytes goes out as JSON."""
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    lines = {"Content-Length": str(len(content)), **(headers or {})}
    return sending(head(status, lines) + content)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode("latin-1")


def sending(data: bytes) -> Act:
    """These bytes, be they an answer or not."""

    def act(exchange: Exchange) -> None:
        exchange.read()
        exchange.send(data)

    return act


def then_close(before: Act) -> Act:
    """End the connection after that, without having announced it."""

    def act(exchange: Exchange) -> None:
        before(exchange)
        exchange.close()

    return act


def dripping(start: bytes, drop: bytes = b" ") -> Act:
    """`start` and then drops, for ever."""

    def act(exchange: Exchange) -> None:
        exchange.read()
        exchange.send(start)
        while not exchange.server.stopping.wait(DRIP_SECONDS):
            exchange.send(drop)

    return act


def flooding(with_what: bytes) -> Act:
    """The same again and again, as fast as it is read, for ever."""

    def act(exchange: Exchange) -> None:
        exchange.read()
        while not exchange.server.stopping.is_set():
            exchange.send(with_what * 1000)

    return act


def silent(exchange: Exchange) -> None:
    """Read the request and leave it at that."""
    exchange.read()
    exchange.wait_for_end()


def deaf(exchange: Exchange) -> None:
    """Read nothing and stay."""
    exchange.server.stopping.wait(TIMEOUT)
    exchange.close()


def reads_slowly(exchange: Exchange) -> None:
    """Never stop reading the request, and never hurry."""
    exchange.read_head()
    while not exchange.server.stopping.wait(DRIP_SECONDS):
        if not exchange.read_some(BLOCK):
            return exchange.close()
    return exchange.close()


def reset_after_reading(exchange: Exchange) -> None:
    exchange.read()
    exchange.reset()


def reset_before_reading(exchange: Exchange) -> None:
    exchange.reset()


def tunnel(exchange: Exchange) -> None:
    """What a proxy does when asked to CONNECT."""
    target = urlsplit(f"//{exchange.read().target}")
    with (
        socket.create_connection((target.hostname, target.port), TIMEOUT) as other,
        selectors.DefaultSelector() as selector,
    ):
        exchange.send(head(200, {}))
        selector.register(exchange.socket, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, exchange.socket)
        while not exchange.is_over:
            for key, _ in selector.select(TIMEOUT):
                data = key.fileobj.recv(BLOCK)
                key.data.sendall(data)
                exchange.is_over = exchange.is_over or not data
