"""As much of Mattermost's REST API as a sending bot needs, by a server quicker than its clients.

The simulated server of the tests does what the real one does, and is slower than what is measured
with it. This one looks for the end of a request and gives an answer made beforehand: there is one
user, who may post anywhere. Below `/after-20-ms` an answer to a post comes after 20 milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, cast

ME = {"id": "b" * 26, "username": "bot", "roles": "system_user", "is_bot": True}
ANSWERS: dict[bytes, Any] = {
    b"/users/me": ME,
    b"/config/client?format=old": {"MaxPostSize": "16383", "MaxFileSize": "104857600"},
    b"/users/me/teams/members": [],
    b"/roles/names": [],
}
PATH = re.compile(rb"\w+ (?:/after-(\d+)-ms)?/api/v4(\S+)")
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
CHANNEL = re.compile(rb'"channel_id": *"(\w{26})"')
NOW_MS = 1_700_000_000_000
# What the real server answers to a post, with all that our adapter does not look at.
POST = json.dumps(
    {
        "id": "%026d",
        "create_at": NOW_MS,
        "update_at": NOW_MS,
        "edit_at": 0,
        "delete_at": 0,
        "is_pinned": False,
        "user_id": ME["id"],
        "channel_id": "%s",
        "root_id": "",
        "original_id": "",
        "message": "The quick brown fox jumps over the lazy dog.",
        "type": "",
        "props": {"from_bot": "true"},
        "hashtags": "",
        "file_ids": [],
        "pending_post_id": "",
        "remote_id": "",
        "reply_count": 0,
        "last_reply_at": 0,
        "participants": None,
        "metadata": {},
    }
).encode()


def channel_id(number: int) -> str:
    """Any text of this form is a channel here."""
    return f"{number:026d}"


@contextmanager
def running() -> Iterator[str]:
    """The server in a process of its own; yields its URL."""
    processes = get_context("spawn")
    control, server_control = processes.Pipe()
    process = processes.Process(target=_run, args=(server_control,), daemon=True)
    process.start()
    server_control.close()
    yield f"http://127.0.0.1:{control.recv()}"
    control.close()
    process.join(10)


def _run(control: Connection) -> None:
    asyncio.run(_serve(control))


async def _serve(control: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(_Client, "127.0.0.1", 0, backlog=1024)
    control.send(server.sockets[0].getsockname()[1])
    with suppress(EOFError):  # whoever started us has ended
        await asyncio.to_thread(control.recv)


class _Client(asyncio.Protocol):
    """One connection. Nobody pipelines: what is in the buffer is a part of one request."""

    numbers = count()

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
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        asked = PATH.match(head)
        delay_ms, path = asked.groups() if asked else (None, b"")
        channel = CHANNEL.search(body)
        if path == b"/posts" and channel:
            answer = _response(b"201 Created", POST % (next(self.numbers), channel[1]))
        elif path in ANSWERS:
            answer = _response(b"200 OK", json.dumps(ANSWERS[path]).encode())
        else:
            answer = _response(b"404 Not Found", b"{}")
        if delay_ms and path == b"/posts":
            asyncio.get_running_loop().call_later(int(delay_ms) / 1000, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        self._transport.write(answer)


def _response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )
