"""What five thousand idle websockets cost the process that holds them: memory, and its processor.

A server in a process of its own answers pings and says nothing else. Memory is that of the process
as the kernel counts it, group by group; each group stays open, so that in the end all are held.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import re
import resource
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import websocket

from benchmarks.figures import RUNS, Figure, side_by_side
from bots.connections.reader import Reader, Reading
from spaces.platforms.websocket import WebSocketStream
from spaces.testing.certificates import self_signed_contexts

GROUP = 850  # websockets opened in a run
HELD = GROUP * (RUNS + 1)
BARE = 100  # of the library's own, opened in a run
HEARTBEAT_SECONDS = 30.0
WATCHED_SECONDS = 10.0
PINGS = 10_000
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
KEY = re.compile(rb"Sec-WebSocket-Key: *(\S+)", re.IGNORECASE)
PING_BYTES = 6  # of a ping without a payload: two, and the mask
PONG = b"\x8a\x00"
_keys = count()


def main() -> list[Figure]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        with _server("") as port:
            figures += _measure(f"ws://127.0.0.1:{port}/", None, "5.0")
        with _server(folder) as port:
            tls = ssl.create_default_context(cafile=str(Path(folder, "certificate.pem")))
            figures += _measure(f"wss://127.0.0.1:{port}/", tls, "30")
    return figures


def _measure(url: str, tls: ssl.SSLContext | None, most_kb: str) -> list[Figure]:
    reader = Reader()
    reader.start()
    bare: list[websocket.WebSocket] = []

    def held() -> float:
        return _kilobytes_each(lambda: _hold(reader, url, tls), GROUP)

    def of_the_library() -> float:
        options = {"context": tls} if tls else {}
        open_one = websocket.create_connection
        return _kilobytes_each(lambda: bare.append(open_one(url, sslopt=options)), BARE)

    kind = "websockets with TLS" if tls else "websockets"
    memory = Figure(
        what=f"memory of each of {HELD} idle {kind} in the reader",
        unit="kB",
        aim=f"{most_kb} or less",
        yardstick="one of websocket-client that nobody reads",
        **side_by_side(held, of_the_library),
    )
    for one in bare:
        one.shutdown()
    processor = Figure(
        what=f"processor of a process that holds {HELD} idle {kind}, pinged every"
        f" {HEARTBEAT_SECONDS:.0f} s",
        unit="% of a core",
        aim="5.0 or less",
        yardstick="as many pings and answers through a bare socket",
        **side_by_side(_percent_of_core, _percent_of_bare_pings),
    )
    if len(reader) != HELD:
        raise RuntimeError(f"of {HELD} websockets {len(reader)} are left")
    reader.stop(60)
    return [memory, processor]


def _hold(reader: Reader, url: str, tls: ssl.SSLContext | None) -> None:
    reader.add(
        Reading(
            key=next(_keys),
            stream=WebSocketStream(url, heartbeat_seconds=HEARTBEAT_SECONDS, tls=tls),
            decode=lambda frame: [],
            on_incoming=lambda incoming: None,
            on_end=lambda error: None,
        )
    )


def _kilobytes_each(open_one: Callable[[], object], number: int) -> float:
    before = _resident_bytes()
    for _ in range(number):
        open_one()
    return (_resident_bytes() - before) / number / 1_000


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _percent_of_core() -> float:
    before = time.process_time()
    time.sleep(WATCHED_SECONDS)
    return (time.process_time() - before) / WATCHED_SECONDS * 100


def _percent_of_bare_pings() -> float:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = time.process_time()
        for _ in range(PINGS):
            ours.send(bytes(PING_BYTES))
            theirs.recv(PING_BYTES)
        each = (time.process_time() - before) / PINGS
    return each * HELD / HEARTBEAT_SECONDS * 100


# The server ---------------------------------------------------------------------------------------


@contextmanager
def _server(folder: str) -> Iterator[int]:
    """In a process of its own; with a `folder` it speaks TLS and leaves its certificate there."""
    processes = get_context("spawn")
    control, server_control = processes.Pipe()
    process = processes.Process(target=_run, args=(server_control, folder), daemon=True)
    process.start()
    server_control.close()
    yield control.recv()
    control.close()
    process.join(10)


def _run(control: Connection, folder: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(control, self_signed_contexts(Path(folder))[0] if folder else None))


async def _serve(control: Connection, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Client, "127.0.0.1", 0, backlog=1024, ssl=tls)
    control.send(server.sockets[0].getsockname()[1])
    with suppress(EOFError):  # whoever started us has ended
        await asyncio.to_thread(control.recv)


class _Client(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_open:
            self._shake_hands()
        else:
            pings, rest = divmod(len(self._received), PING_BYTES)
            self._received = self._received[len(self._received) - rest :]
            self._transport.write(PONG * pings)

    def _shake_hands(self) -> None:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        asked = KEY.search(head)
        if not end or asked is None:
            return
        self._received, self._is_open = rest, True
        accept = base64.b64encode(hashlib.sha1(asked[1] + MAGIC).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
