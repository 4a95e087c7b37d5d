"""A simulated server that runs: in a thread of its own, on a port of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

from aiohttp import web

from .controls import Controls
from .making import Maker
from .server import Door
from .settings import Settings
from .simulation import Simulation

WAIT_SECONDS = 30.0  # for a call into the loop's thread
KEEP_ALIVE_SECONDS = 60.0


class OnLoop:
    """Calls the methods of another object on the loop's thread and waits for what they return."""

    def __init__(self, target: object, loop: asyncio.AbstractEventLoop):
        self._target = target
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return run_on(self._loop, method, *args, **kwargs)

        return call


def run_on(
    loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    async def calling() -> Any:
        result = call(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return asyncio.run_coroutine_threadsafe(calling(), loop).result(WAIT_SECONDS)


class SimulatedMattermost:
    """`with SimulatedMattermost() as server:` — port 0 lets the kernel choose.

    `server.make` makes users, bots, teams, channels and posts; `server.controls` makes trouble;
    `server.world` is what is stored, for reading.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, settings: Settings | None = None):
        self.host = host
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="simulated-mattermost", daemon=True
        )
        self.simulation = Simulation(self._loop, settings or {})
        self.world = self.simulation.world
        controls = Controls(self.simulation, self._listen, self._shut)
        self._door = Door(self.simulation, controls)
        self._listening: asyncio.Server | None = None
        self._opening = asyncio.Lock()
        self.make = cast(Maker, OnLoop(Maker(self.simulation), self._loop))
        # Controls; some of its methods wait on the loop, none does for who calls them here.
        self.controls: Any = OnLoop(controls, self._loop)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> SimulatedMattermost:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._thread.start()
        try:
            run_on(self._loop, self._open)
        except OSError:
            self._end_loop()
            raise

    def stop(self) -> None:
        run_on(self._loop, self._close)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)
        self._loop.close()

    async def _open(self) -> None:
        self._runner = web.ServerRunner(
            web.Server(self._door.take, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS),
            shutdown_timeout=0.1,
        )
        await self._runner.setup()
        try:
            await self._listen()
        except OSError:
            await self._runner.cleanup()
            raise
        service = self.simulation.settings["ServiceSettings"]
        service["SiteURL"] = service["SiteURL"] or self.url
        self.simulation.hub.start()

    async def _listen(self) -> None:
        async with self._opening:
            if self._listening is None:
                assert self._runner.server is not None
                self._listening = await self._loop.create_server(
                    self._runner.server, self.host, self.port, reuse_address=True
                )
                self.port = self._listening.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        """Accept nobody any more, and break what is open."""
        async with self._opening:
            if self._listening is not None:
                for listening in self._listening.sockets:
                    self._loop.remove_reader(listening.fileno())
                # Who was accepted a moment ago becomes known now, and is broken like the others:
                # asyncio forgets those whose listener is closed before.
                await asyncio.sleep(0)
                self._listening.close()
                self._listening = None
        await asyncio.sleep(0)
        server = self._runner.server
        assert server is not None
        for connection in list(server.connections):
            transport = connection.transport
            if transport and transport not in self._door.controlling:
                transport.abort()

    async def _close(self) -> None:
        self.simulation.faults.clear()
        self.simulation.hub.drop_everything()
        self.simulation.clock.stop()
        await self.simulation.stop_background()
        await self._shut()
        await self._runner.cleanup()
        await self.simulation.outgoing.close()
