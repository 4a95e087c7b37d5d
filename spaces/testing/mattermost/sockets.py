"""One websocket: its handshake, its reading and writing, its deadlines and its end."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from . import actions, presence
from .clock import Timer
from .errors import ApiError
from .state import Session, is_id
from .websocket import Connection

if TYPE_CHECKING:
    from .simulation import Simulation

PING_EVERY_SECONDS = 60
PONG_WITHIN_SECONDS = 100
AUTHENTICATE_WITHIN_SECONDS = 5
WRITE_WITHIN_SECONDS = 30
LARGEST_CLIENT_FRAME = 8192


def origin_is_allowed(simulation: Simulation, request: web.BaseRequest) -> bool:
    origin = request.headers.get("Origin")
    if not origin:
        return True
    site = urlsplit(simulation.setting("ServiceSettings", "SiteURL"))
    came_from = urlsplit(origin)
    allowed = simulation.setting("ServiceSettings", "AllowCorsFrom").split()
    if origin in allowed or "*" in allowed:
        return True
    if not site.netloc:
        return came_from.netloc == request.headers.get("Host")
    return (came_from.scheme, came_from.netloc) == (site.scheme, site.netloc)


async def serve(
    simulation: Simulation, request: web.BaseRequest, session: Session | None
) -> web.WebSocketResponse:
    """From the upgrade to the end of the connection."""
    response = web.WebSocketResponse(
        autoping=False, autoclose=False, max_msg_size=LARGEST_CLIENT_FRAME + 1, compress=False
    )
    try:
        await response.prepare(request)
    except ConnectionError:
        return response  # gone during the handshake
    socket = Socket(simulation, request, response)
    simulation.hub.sockets.add(socket)
    try:
        if socket.open(session, request.query):
            await socket.run()
    finally:
        simulation.hub.sockets.discard(socket)
        socket.end()
    return response


class Socket:
    def __init__(
        self, simulation: Simulation, request: web.BaseRequest, response: web.WebSocketResponse
    ):
        self._simulation = simulation
        self._transport = request.transport
        self._response = response
        self._work = asyncio.Event()
        self._replies: deque[str] = deque()  # frames that are not counted
        self._again: list[tuple[int, str]] = []  # events of before, for a resume
        self._held: str | None = None  # a frame that another one overtakes
        self._timers: dict[str, Timer] = {}
        self._writer: asyncio.Task[None] | None = None
        self._overflown = False
        self._gone = asyncio.Event()
        self.is_silent = False
        self.awaits_pong = False
        self.connection: Connection | None = None

    @property
    def user_id(self) -> str:
        return self.connection.user_id if self.connection else ""

    # Opening

    def open(self, session: Session | None, query: Any) -> bool:
        """Attach to a connection, new or resumed; False when the socket was dropped instead."""
        if session is None:
            self._in(AUTHENTICATE_WITHIN_SECONDS, "authentication", self.drop)
        elif query.get("connection_id"):
            seq = query.get("sequence_number", "")
            if not is_id(query["connection_id"]) or not seq.lstrip("-").isdigit():
                self.drop()
                return False
            self._resume_or_register(session, query["connection_id"], int(seq))
        else:
            self.register(session)
        self._in(PING_EVERY_SECONDS, "ping", self._ping)
        self._expect_pong()
        self._writer = asyncio.ensure_future(self._write())
        return True

    def register(self, session: Session) -> None:
        self._cancel("authentication")
        self._attach(
            Connection(session.user_id, session.token, last_activity=self._simulation.now())
        )
        assert self.connection
        self._simulation.hub.register(self.connection)
        self.wake()

    def register_again(self, session: Session) -> None:
        """A new login on a socket whose session had ended."""
        assert self.connection
        self.connection.token = session.token
        self.connection.user_id = session.user_id
        self._simulation.hub.register(self.connection)
        self.wake()

    def _resume_or_register(self, session: Session, connection_id: str, seq: int) -> None:
        known = self._simulation.hub.resumable(connection_id, session.user_id)
        if known is None:
            self.register(session)
            return
        self._again = self._simulation.hub.resume(known, seq, session.token)
        self._attach(known)
        self.wake()

    def _attach(self, connection: Connection) -> None:
        self.connection = connection
        connection.socket = self

    # Reading

    async def run(self) -> None:
        while True:
            message = await self._response.receive()
            if self.is_silent:
                await self._gone.wait()
                return
            if message.type is WSMsgType.CLOSE:
                await self._response.close(code=message.data or 1000)
                return
            if message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            if message.type is WSMsgType.PING:
                with suppress(ConnectionError):
                    await self._response.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._got_pong()
            elif message.type is WSMsgType.TEXT and not self._act(message.data):
                self.drop()
                return
            elif message.type is WSMsgType.BINARY:
                self.drop()  # MessagePack: no client met so far speaks it
                return

    def _act(self, text: str) -> bool:
        """Answer an action; False for a frame that is none."""
        try:
            frame = json.loads(text)
        except ValueError:
            return False
        if not isinstance(frame, dict):
            return False
        try:
            reply = actions.answer(self._simulation, self, frame)
        except ApiError as refusal:
            reply = {
                "status": "FAIL",
                "seq_reply": frame.get("seq", 0),
                "error": refusal.as_json(),
            }
        if reply is not None:
            self._replies.append(json.dumps(reply))
            self.wake()
        return True

    # Writing

    def wake(self) -> None:
        self._work.set()

    async def _write(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self._work.wait()
                self._work.clear()
                for _, frame in self._again:
                    await self._send(frame)
                self._again = []
                while self._has_more():
                    if self.connection and self.connection.queue:
                        await self._send_event(self.connection)
                    elif self._replies:
                        await self._send(self._replies.popleft())
                if self._overflown:
                    await self._close_without_code()
                    return

    def _has_more(self) -> bool:
        queued = self.connection is not None and bool(self.connection.queue)
        return queued or bool(self._replies)

    async def _send_event(self, connection: Connection) -> None:
        _, frame = connection.take()
        fault = self._simulation.frames.take(connection.user_id)
        if fault == "omit":
            return
        if fault == "reorder" and self._held is None:
            self._held = frame
            return
        await self._send(frame)
        if fault == "duplicate":
            await self._send(frame)
        if self._held is not None:
            held, self._held = self._held, None
            await self._send(held)

    async def _send(self, frame: str) -> None:
        if not self.is_silent:
            await self._response.send_str(frame)

    async def _close_without_code(self) -> None:
        await self._response.send_frame(b"", WSMsgType.CLOSE)
        if self._transport:
            self._transport.close()

    # Life and death

    def _ping(self) -> None:
        self._in(PING_EVERY_SECONDS, "ping", self._ping)
        if self.is_silent:
            return
        self.awaits_pong = True
        self._simulation.in_background(self._send_ping())

    async def _send_ping(self) -> None:
        with suppress(ConnectionError):
            await self._response.ping()

    def _got_pong(self) -> None:
        self.awaits_pong = False
        self._expect_pong()
        if self.connection:
            presence.look_for_idleness(self._simulation, self.connection.user_id)

    def _expect_pong(self) -> None:
        self._in(PONG_WITHIN_SECONDS, "pong", self._give_up)

    def _give_up(self) -> None:
        """No pong came: to the server this connection has ended."""
        if self.is_silent:
            # The client hears nothing of it: the network between the two is gone.
            self._detach()
        else:
            self.drop()

    def go_silent(self) -> None:
        """Keep TCP open, send nothing, ignore what comes: a cable that was pulled."""
        self.is_silent = True
        self.awaits_pong = False

    def close_overflown(self) -> None:
        """Too much waits for a slow reader: what is queued, an empty close frame, no resume."""
        self._overflown = True
        self.wake()
        self._in(WRITE_WITHIN_SECONDS, "overflown", self.drop)

    def drop(self) -> None:
        """End TCP without a close frame."""
        if self._transport:
            self._transport.abort()
        self._gone.set()
        self._detach()

    def end(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        if self._writer:
            self._writer.cancel()
        self._detach()

    def _detach(self) -> None:
        connection, self.connection = self.connection, None
        if connection and connection.socket is self:
            self._simulation.hub.left(connection)

    def _in(self, seconds: float, name: str, callback: Any) -> None:
        self._cancel(name)
        self._timers[name] = self._simulation.clock.call_later(seconds, callback)

    def _cancel(self, name: str) -> None:
        if name in self._timers:
            self._timers[name].cancel()
