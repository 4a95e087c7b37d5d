"""Mattermost's websocket: resumed where it ended, its sequence checked, its silence questioned.

The server numbers the events of a connection from 0 (`hello`). Whoever comes back with the
connection's id and the next number gets what it missed, without another `hello`, as long as the
server remembers; else a `hello` with a new id begins anew. A number left out is a loss, and ends
the stream, so that the next one is caught up with. A revoked session leaves the socket open and
mute: only an action of ours, the application's own `ping`, is then refused.
"""

from __future__ import annotations

import json
import re
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from spaces.platforms.errors import Misconfigured, Stale, Unavailable
from spaces.platforms.messages import Cursor
from spaces.platforms.websocket import WebSocketStream

NO_HELLO = "no_hello"  # the server neither greets nor resumes
HELLO_SECONDS = 6.0  # the server drops who does not authenticate after 5
SILENT_PINGS = 2  # that many heartbeats without an answer to our ping are one too many

# Go writes the number last; the short look saves parsing every frame twice.
_SEQ_AT_END = re.compile(rb'"seq":\s*(\d+)\s*\}\s*$')
_TAIL = 40  # bytes


class SequenceGap(Unavailable):
    """Events were left out."""

    code = "sequence_gap"
    next_step = "Nothing to do: it connects anew and fetches what was left out."


class MattermostStream:
    """A `Stream` that is authenticated and numbered. `expected` is the number that comes next.

    `resume` is the connection's id and the next number that its last holder waited for. Raises
    `Unavailable` when the server says nothing: it does so when it does not know who we are, or
    cannot make sense of what is to be resumed.
    """

    def __init__(
        self,
        open_socket: Callable[[dict[str, str]], WebSocketStream],
        *,
        resume: tuple[str, int] | None,
        ping_seconds: float,
        heartbeat_seconds: float,
    ):
        query: dict[str, str] = {}
        self.connection_id, self.expected = resume or ("", 0)
        if resume and self.expected > 0:  # 0 with an id would restart the numbering silently
            query = {"connection_id": self.connection_id, "sequence_number": str(self.expected)}
        self.resumed = bool(query)
        self.heartbeat_seconds = min(ping_seconds, heartbeat_seconds)
        self._heartbeat_seconds = heartbeat_seconds
        self._asked: dict[int, float] = {}  # unanswered pings: number → time.monotonic()
        self._asked_at = 0.0  # time.monotonic()
        self._number = 0  # of our last action
        self._last = 0  # of the last event, to know it again
        self._early: list[bytes] = []  # frames that came before anybody read
        self._end: Unavailable | None = None
        self._socket = open_socket(query)
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[bytes]:
        if self._end:
            raise self._end
        frames, self._early = self._early, []
        frames += self._take()
        if self._end and not frames:
            raise self._end
        return frames

    def beat(self) -> None:
        """Ask the websocket, and, at its own pace, the application behind it."""
        now = time.monotonic()
        if self._asked and now - min(self._asked.values()) > SILENT_PINGS * self._heartbeat_seconds:
            raise Stale("The server holds the websocket open and answers nothing.")
        if now - self._asked_at >= 0.9 * self._heartbeat_seconds:
            self._ask()
        else:
            self._socket.beat()

    def close(self) -> None:
        self._end = self._end or Unavailable("The websocket was closed.")
        self._early = []
        self._socket.close()

    # Opening --------------------------------------------------------------------------------------

    def _greet(self) -> None:
        """Wait until the server shows that it knows us: by a `hello`, or, where it resumes, by the
        next event or the answer to a ping."""
        self._ask()
        deadline = time.monotonic() + HELLO_SECONDS
        while not self._early and not (self.resumed and not self._asked):
            left = deadline - time.monotonic()
            if left <= 0 or not self._is_readable_within(left):
                raise Unavailable("The server says nothing on the websocket.", code=NO_HELLO)
            self._early += self._take()
            if self._end:
                raise Unavailable(self._end.detail, code=NO_HELLO) from self._end
        # Its answer wakes the reader, which else would not know that frames wait here.
        self._ask()

    def _is_readable_within(self, seconds: float) -> bool:
        # Not `select.select`: it knows no descriptor above 1,023, and there are two for each bot.
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def _ask(self) -> None:
        self._number += 1
        self._asked_at = self._asked[self._number] = time.monotonic()
        self._socket.send(json.dumps({"seq": self._number, "action": "ping"}))

    # Frames ---------------------------------------------------------------------------------------

    def _take(self) -> list[bytes]:
        """The frames that are news, in order. What ends the stream is kept until they are read."""
        taken: list[bytes] = []
        try:
            for frame in self._socket.receive():
                if self._is_news(frame):
                    taken.append(frame)
        except SequenceGap as gap:
            self._end = gap
            with suppress(Unavailable):
                self._ask()  # whose answer makes the reader come back for the end
        except Unavailable as end:
            self._end = end
        return taken

    def _is_news(self, frame: bytes) -> bool:
        found = _SEQ_AT_END.search(frame, max(0, len(frame) - _TAIL))
        if found and found[1] != b"0":
            seq = int(found[1])
        else:
            told = _parsed(frame)
            if "seq_reply" in told:
                self._asked.pop(told["seq_reply"], None)
                return told.get("status") != "OK"  # a refusal is for `decode` to judge
            if told.get("event") == "hello":
                self._begin(told)
                return True
            if not isinstance(told.get("seq"), int):
                return True  # no event of the server's making: `decode` says what is wrong
            seq = told["seq"]
        if seq == self.expected - 1 and hash(frame) == self._last:
            return False  # told again
        if seq < self.expected:
            # Its `hello` got lost: by the old numbering all that follows would seem told.
            raise SequenceGap(f"The numbering began anew: event {seq} came after {self.expected}.")
        if seq > self.expected:
            raise SequenceGap(f"Event {self.expected} did not come, {seq} did.")
        self.expected += 1
        self._last = hash(frame)
        return True

    def _begin(self, hello: dict[str, Any]) -> None:
        """A new numbering: what was to be resumed is lost, and is caught up with."""
        self.connection_id = str((hello.get("data") or {}).get("connection_id") or "")
        self.expected = int(hello.get("seq", 0)) + 1
        self.resumed = False


def _parsed(frame: bytes) -> dict[str, Any]:
    try:
        told = json.loads(frame)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


# Settings and positions --------------------------------------------------------------------------


def websocket_url(base: str) -> str:
    parts = urlsplit(base)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, f"{parts.path}/websocket", "", ""))


def websocket_arguments(text: str) -> dict[str, Any]:
    """Raises `Misconfigured` for anything but the three things that can be given."""
    try:
        told = json.loads(text or "{}")
    except ValueError:
        told = None
    if not isinstance(told, dict) or not all(map(_is_argument, told, told.values())):
        raise Misconfigured(
            "The extra websocket arguments are not as they should be.",
            option="websocket_arguments",
            next_step='Write JSON like {"headers": {"X-Forwarded-For": "10.0.0.1"}}.',
        )
    return told


def _is_argument(name: str, value: Any) -> bool:
    if name in ("headers", "query"):
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return (
        name == "subprotocols"
        and isinstance(value, list)
        and all(isinstance(one, str) for one in value)
    )


def resume_of(cursor: Cursor) -> tuple[str, int] | None:
    match cursor.get("resume"):
        case [str(connection_id), int(number)] if connection_id and number > 0:
            return connection_id, number
    return None
