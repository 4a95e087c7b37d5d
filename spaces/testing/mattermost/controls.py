"""What a test or an operator can do to the simulated server, from Python and over HTTP.

Every public method of `Controls` is also `POST /_control/<name>` with its arguments as JSON, and
`GET /_control/` lists them all. No login is needed. Where a method takes them, `method`, `path`
(a prefix), and `user` (a username) choose the requests it applies to; `times` says how many.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from . import people, sessions
from .faults import Fault, FrameFault, Kind, Place
from .settings import merged
from .simulation import Simulation
from .state import User

CONTROL_PATH = "/_control"
SETTLE_SECONDS = 0.25  # real time for clients to answer a ping while the clock is moved


class Controls:
    def __init__(
        self,
        simulation: Simulation,
        listen: Callable[[], Awaitable[None]],
        shut: Callable[[], Awaitable[None]],
    ):
        self._simulation = simulation
        self._listen = listen
        self._shut = shut

    # Websockets

    def drop_sockets(self, user: str = "") -> int:
        """Break the websockets of everyone, or of one user, without a close frame."""
        sockets = self._simulation.hub.sockets_of(self._id(user))
        for socket in sockets:
            socket.drop()
        return len(sockets)

    def silence_sockets(self, user: str = "") -> int:
        """Leave them open, send nothing more and ignore what comes: a cable that was pulled."""
        sockets = self._simulation.hub.sockets_of(self._id(user))
        for socket in sockets:
            socket.go_silent()
        return len(sockets)

    def connected(self, user: str = "") -> int:
        """How many authenticated websockets are open, of everyone or of one user."""
        sockets = self._simulation.hub.sockets_of(self._id(user))
        return sum(one.connection is not None for one in sockets)

    def forget_connections(self, user: str = "") -> None:
        """Throw away what inactive connections could be resumed with."""
        self._simulation.hub.forget_inactive(self._id(user))

    def duplicate_frames(self, times: int = 1, user: str = "") -> None:
        """Send each of the next events twice."""
        self._frames("duplicate", times, user)

    def reorder_frames(self, times: int = 1, user: str = "") -> None:
        """Hold each of the next events back until the one after it was sent."""
        self._frames("reorder", times, user)

    def omit_frames(self, times: int = 1, user: str = "") -> None:
        """Count the next events as sent and do not send them."""
        self._frames("omit", times, user)

    def _frames(self, kind: str, times: int, user: str) -> None:
        fault = FrameFault(kind=kind, left=times, user_id=self._id(user))
        self._simulation.frames.add(fault)

    # Requests

    def stall(
        self,
        seconds: float | None = None,
        place: str = "before",
        times: int | None = None,
        method: str = "",
        path: str = "",
        user: str = "",
    ) -> None:
        """Let requests hang, for some seconds or until `release`.

        `place` is "before" anything is done, "during" (a post is in progress and not stored) or
        "after" everything is done.
        """
        self._add(Kind.STALL, Place(place), times, method, path, user, seconds=seconds)

    def release(self) -> None:
        """Let every hanging request go on, and stall no more."""
        self._simulation.faults.release()

    def swallow_answers(
        self, times: int | None = 1, method: str = "", path: str = "", user: str = ""
    ) -> None:
        """Do what is asked, then break the connection without an answer."""
        self._add(Kind.CUT, Place.AFTER, times, method, path, user)

    def reset_connections(
        self, times: int | None = 1, method: str = "", path: str = "", user: str = ""
    ) -> None:
        """Break the connection before anything is done."""
        self._add(Kind.CUT, Place.BEFORE, times, method, path, user)

    def fail(
        self,
        status: int = 503,
        place: str = "before",
        times: int | None = 1,
        seconds: float | None = None,
        method: str = "",
        path: str = "",
        user: str = "",
        by: str = "server",
    ) -> None:
        """Answer with an error, "before" anything is done or "after" everything is; `by` the
        "server", or in HTML by a "proxy" in front of it."""
        self._add(
            Kind.ERROR,
            Place(place),
            times,
            method,
            path,
            user,
            status=status,
            lasting=seconds,
            by=by,
        )

    def break_off(self, times: int | None = 1, path: str = "", user: str = "") -> None:
        """Write half of the rows of a list, and then an error in place of the next, with 200."""
        self._add(Kind.BREAK_OFF, Place.AFTER, times, "GET", path, user)

    def limit_rate(
        self,
        times: int | None = None,
        seconds: float | None = None,
        retry_after: int = 1,
        method: str = "",
        path: str = "",
        user: str = "",
    ) -> None:
        """Refuse with 429, the next requests or for some seconds; nothing is done."""
        if times is None and seconds is None:
            times = 1
        self._add(
            Kind.TOO_MANY,
            Place.BEFORE,
            times,
            method,
            path,
            user,
            retry_after=retry_after,
            lasting=seconds,
        )

    def heal(self) -> None:
        """Forget all faults and let hanging requests go on."""
        self._simulation.faults.clear()
        self._simulation.frames.clear()

    def _add(
        self,
        kind: Kind,
        place: Place,
        times: int | None,
        method: str,
        path: str,
        user: str,
        *,
        lasting: float | None = None,
        **more: Any,
    ) -> None:
        self._simulation.faults.add(
            Fault(
                kind=kind,
                place=place,
                left=times,
                method=method,
                path=path,
                user_id=self._id(user),
                until=None if lasting is None else self._simulation.clock.seconds() + lasting,
                **more,
            )
        )

    # Accounts

    def revoke_sessions(self, user: str = "", token: str = "") -> int:
        """End all sessions of a user, or the one of a token. Access tokens stay valid."""
        world = self._simulation.world
        ended = [
            one
            for one in world.sessions.values()
            if one.token == token or (user and one.user_id == self._id(user))
        ]
        for session in ended:
            sessions.revoke(self._simulation, session)
        return len(ended)

    def revoke_token(self, token: str) -> None:
        """Take an access token away for good."""
        people.delete_token(self._simulation, self._simulation.world.tokens[token])

    def disable(self, user: str) -> None:
        """Switch an account or a bot off; its sessions end."""
        people.set_active(self._simulation, self._user(user), active=False)

    def enable(self, user: str) -> None:
        people.set_active(self._simulation, self._user(user), active=True)

    def change_settings(self, settings: dict[str, dict[str, Any]]) -> None:
        """Change keys of the configuration, by section."""
        self._simulation.settings = merged(self._simulation.settings, settings)

    # What is told

    def tell_no_channels_with(self, status: int) -> None:
        """The status with which somebody in no channel gets the list of them: 200, because it is
        written from its bracket on, or the error's 404 where a compressor holds that back."""
        self._simulation.no_channels_status = status

    def hide_posts_before(self, at: int) -> None:
        """Show no posts written before a time in milliseconds, as some licences demand."""
        self._simulation.hidden_until = at

    def leave_out_posts(self, ids: list[str]) -> None:
        """Count these posts as rows of lists, and do not show them, as a plugin may demand."""
        self._simulation.left_out = frozenset(ids)

    # The whole server

    async def restart(self, down_seconds: float = 0) -> None:
        """Lose everything that lives in memory, after being away for a while.

        Websockets and what they could resume, the duplicate cache, rate buckets and statuses go;
        users, posts, files, sessions and tokens stay.
        """
        await self._shut()
        self._simulation.lose_memory()
        if down_seconds:
            self._simulation.clock.call_later(down_seconds, self._come_back)
        else:
            await self._listen()

    async def go_down(self, seconds: float | None = None) -> None:
        """Refuse connections, for some seconds or until `come_up`; nothing is forgotten."""
        await self._shut()
        for socket in list(self._simulation.hub.sockets):
            socket.drop()
        if seconds is not None:
            self._simulation.clock.call_later(seconds, self._come_back)

    async def come_up(self) -> None:
        """Accept connections again. Only Python can ask for it: over HTTP nobody listens."""
        await self._listen()

    def _come_back(self) -> None:
        self._simulation.in_background(self._come_up())

    async def _come_up(self) -> None:
        await self._listen()

    async def advance(self, seconds: float) -> float:
        """Move the clock: sessions, caches, pings and deadlines follow. The new time in seconds.

        Clients that are alive get the chance to answer the pings on the way.
        """
        await self._simulation.clock.advance(seconds, self._settle)
        return self._simulation.clock.seconds()

    async def _settle(self) -> None:
        """Wait until the pings that were sent are answered, or for as long as is decent."""
        until = self._simulation.loop.time() + SETTLE_SECONDS
        while any(one.awaits_pong for one in self._simulation.hub.sockets):
            if self._simulation.loop.time() > until:
                return
            await asyncio.sleep(0.002)
        await asyncio.sleep(0)

    # Finding and telling

    def _id(self, username: str) -> str:
        return self._user(username).id if username else ""

    def _user(self, username: str) -> User:
        user = self._simulation.world.user_named(username)
        if user is None:
            raise ValueError(f"there is no user {username!r}")
        return user

    def _names(self) -> dict[str, Callable[..., Any]]:
        return {
            name: method
            for name, method in inspect.getmembers(self, inspect.ismethod)
            if not name.startswith("_") and name != "answer"
        }

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """`/_control/` over HTTP: POST does it, GET tells what there is."""
        name = request.path.removeprefix(CONTROL_PATH).strip("/")
        told = {
            name: {"arguments": str(inspect.signature(one)), "effect": inspect.getdoc(one)}
            for name, one in self._names().items()
        }
        if not name:
            return web.json_response(told)
        if name not in told:
            return web.json_response({"error": f"there is no control {name!r}"}, status=404)
        if request.method != "POST":
            return web.json_response(told[name])
        try:
            arguments = json.loads(await request.read() or b"{}")
            inspect.signature(self._names()[name]).bind(**arguments)
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error), **told[name]}, status=400)
        try:
            result = self._names()[name](**arguments)
        except (ValueError, TypeError, KeyError) as error:
            text = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            return web.json_response({"error": text}, status=400)
        if inspect.isawaitable(result):
            result = await result
        return web.json_response({"result": result})
