"""Answers whose reads keep to one time together.

A socket's timeout is meant for each of its reads, and starts anew with every byte that arrives: a
server that drips would hold us for ever.
"""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any


class Incoming(io.RawIOBase):
    """What a socket receives. All reads together may wait as long as the socket's timeout says."""

    def __init__(self, connected: socket.socket):
        self._socket = connected
        self._file = connected.makefile("rb", buffering=0)
        self.seconds_left = connected.gettimeout() or 0.0
        self.ends = float("inf")  # time.monotonic() after which nothing is read, whoever waited
        self.is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        started = time.monotonic()
        if self.seconds_left <= 0 or started >= self.ends:
            raise TimeoutError("timed out")
        self._socket.settimeout(self.seconds_left)
        try:
            count = self._file.readinto(buffer)
        finally:
            self.seconds_left -= time.monotonic() - started
        self.is_at_end = count == 0
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class TimedAnswer(HTTPResponse):
    """The `response_class` of a connection. The socket's timeout, when the answer is asked for, is
    for all of it."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self._incoming = Incoming(sock)
        self.fp = io.BufferedReader(self._incoming)

    def hurry(self, seconds: float) -> None:
        """Wait for what is missing for no longer than this."""
        self._incoming.seconds_left = min(self._incoming.seconds_left, seconds)

    def begin(self) -> None:
        # While the head is read nobody waits for us: one that never ends, and comes so fast that we
        # never wait for it, keeps to the same time.
        self._incoming.ends = time.monotonic() + self._incoming.seconds_left
        super().begin()
        self._incoming.ends = float("inf")
        # The library takes a head that is cut for one that is short, and its body for empty.
        if self._incoming.is_at_end:
            raise IncompleteRead(b"")
        # The library knows of none but 100, and would read the answer itself as the next one's.
        if self.status < 200:
            raise HTTPException("an answer before the answer")
        # urllib3 refuses this too, but leaves the connection open.
        lengths = ",".join(self.headers.get_all("Content-Length", ())).split(",")
        if len({each.strip() for each in lengths}) > 1:
            raise HTTPException("two lengths")
