"""HTTP servers that are quicker than their clients, each in a process of its own.

They look for the end of a request and give an answer made beforehand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import cast

LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)


class Client(asyncio.Protocol):
    """One connection. Nobody pipelines: what is in the buffer is a part of one request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < int(length[1] if length else 0):
            return
        self._received = b""
        self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        """Write an answer to this request, now or later."""
        raise NotImplementedError

    def write(self, answer: bytes) -> None:
        self._transport.write(answer)


def response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


@contextmanager
def running(client: type[Client]) -> Iterator[str]:
    """The server in a process of its own; yields its URL."""
    processes = get_context("spawn")
    control, server_control = processes.Pipe()
    process = processes.Process(target=_run, args=(server_control, client), daemon=True)
    process.start()
    server_control.close()
    yield f"http://127.0.0.1:{control.recv()}"
    control.close()
    process.join(10)


def _run(control: Connection, client: type[Client]) -> None:
    asyncio.run(_serve(control, client))


async def _serve(control: Connection, client: type[Client]) -> None:
    server = await asyncio.get_running_loop().create_server(client, "127.0.0.1", 0, backlog=1024)
    control.send(server.sockets[0].getsockname()[1])
    with suppress(EOFError):  # whoever started us has ended
        await asyncio.to_thread(control.recv)
