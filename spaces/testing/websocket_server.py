"""Websocket servers on the loopback for tests: a real one, and one that sends any bytes.

A test opens a client at `server.url("/some/path")` and gets the server's end of that connection
with `server.peer("/some/path")`. All calls block and belong to the test's thread; the server runs
its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from queue import Queue
from types import TracebackType
from typing import Any, TypeVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.utils import accept_key

TIMEOUT = 10.0  # seconds until a test gives up waiting
T = TypeVar("T")


class Peer:
    """The server's end of one connection. `received` holds what the client sent."""

    def __init__(
        self, connection: ServerConnection, run: Callable[[Coroutine[Any, Any, Any]], Any]
    ):
        self._connection = connection
        self._run = run
        self.headers = connection.request.headers if connection.request else Headers()
        self.received: Queue[str | bytes] = Queue()

    def send(self, message: str | bytes | Iterable[str] | Iterable[bytes]) -> None:
        """One message; an iterable is sent as that many fragments of one."""
        self._run(self._connection.send(message))

    def send_many(self, messages: Iterable[str | bytes]) -> None:
        async def send_all() -> None:
            for message in messages:
                await self._connection.send(message)

        self._run(send_all())

    def ping(self) -> None:
        """Returns when the client has answered."""

        async def ping() -> None:
            await (await self._connection.ping())

        self._run(ping())

    def ping_until_closed(self) -> None:
        """Go on pinging without waiting for answers, as long as the client is there."""

        async def flood() -> None:
            with suppress(ConnectionClosed):
                while True:
                    await self._connection.ping()

        self._run(flood())

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._run(self._connection.close(code, reason))

    def drop(self) -> None:
        """Break the connection without a word."""
        self._on_loop(self._connection.transport.abort)

    def go_deaf(self) -> None:
        """Stay connected and neither read nor answer."""
        self._on_loop(self._connection.transport.pause_reading)

    def is_closed(self) -> bool:
        return self._connection.state is State.CLOSED

    def _on_loop(self, call: Callable[[], object]) -> None:
        async def calling() -> None:
            call()

        self._run(calling())


class WebSocketServer:
    """A context manager; `refusals` maps paths to the status and headers that turn them away."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="websocket-server")
        self._peers: dict[str, Peer] = {}
        self._changed = threading.Condition()
        self.refusals: dict[str, tuple[HTTPStatus, dict[str, str]]] = {}

    def __enter__(self) -> WebSocketServer:
        self._thread.start()
        self._server = self._run(self._serve())
        self.port: int = next(iter(self._server.sockets)).getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()

    def url(self, path: str = "/") -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}{path}"

    def peer(self, path: str = "/") -> Peer:
        """The connection to this path, as soon as there is one: a path is for one connection."""
        with self._changed:
            if not self._changed.wait_for(lambda: path in self._peers, TIMEOUT):
                raise TimeoutError(f"nobody connected to {path}")
            return self._peers[path]

    async def _serve(self) -> Any:
        return await serve(
            self._take,
            "127.0.0.1",
            0,
            ssl=self._tls,
            process_request=self._refuse,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            max_size=None,
        )

    async def _shut(self) -> None:
        for peer in self._peers.values():
            peer._connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        peer = Peer(connection, self._run)
        with self._changed:
            self._peers[connection.request.path] = peer
            self._changed.notify_all()
        with suppress(ConnectionClosed):
            async for message in connection:
                peer.received.put(message)

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path not in self.refusals:
            return None
        status, headers = self.refusals[request.path]
        return Response(status, status.phrase, Headers({**headers, "Content-Length": "2"}), b"no")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT)


class RawPeer:
    """The server's end of a connection that has done the handshake and may now send any bytes."""

    def __init__(self, connection: socket.socket):
        self.socket = connection

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Exactly this many bytes, or fewer when the client closes before."""
        data = b""
        while len(data) < size and (more := self.socket.recv(size - len(data))):
            data += more
        return data


class RawServer:
    """A listener that shakes hands with one client at a time."""

    def __init__(self, listener: socket.socket):
        self._listener = listener
        self.url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"

    @contextmanager
    def serving(self, open_client: Callable[[str], T]) -> Iterator[tuple[T, RawPeer]]:
        """A client opened by `open_client(url)`, and its peer."""
        accepted: Queue[socket.socket] = Queue()
        thread = threading.Thread(target=lambda: accepted.put(self._shake_hands()))
        thread.start()
        client = open_client(self.url)
        thread.join(TIMEOUT)
        with accepted.get(timeout=TIMEOUT) as connection:
            yield client, RawPeer(connection)

    def _shake_hands(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(TIMEOUT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        lines = (line.partition(": ") for line in request.decode().split("\r\n"))
        key = next(value for name, _, value in lines if name == "Sec-WebSocket-Key")
        connection.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()
        )
        return connection


@contextmanager
def raw_server() -> Iterator[RawServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        yield RawServer(listener)
