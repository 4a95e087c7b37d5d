"""Clients that take nothing any more, while their connection stays open.

A web server hands a stream to the system until the buffers are full, then its thread waits; with a
client that keeps its window shut, for ever. No web server offers a limit, but Linux does (tcp(7),
TCP_USER_TIMEOUT; also against a window that stays shut): it ends such a connection, the server
notices, and the thread is free again. Elsewhere nothing is done.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

SECONDS = 30.0
OPEN_FILES = Path("/proc/self/fd")


def limit() -> None:
    """Put a limit to every TCP connection of this process that has none, and to those that come
    through the same doors later."""
    if not OPEN_FILES.exists():
        return
    for name in os.listdir(OPEN_FILES):
        # It may be no TCP socket, or closed by now, which the system says.
        with suppress(OSError):
            _limit(socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=int(name)))


def _limit(one: socket.socket) -> None:
    try:
        if not one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT):
            milliseconds = int(SECONDS * 1000)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    finally:
        # It is not ours to close, nor would be a copy of its number: if that meant a file by now,
        # this process would lose all its locks on it.
        one.detach()
