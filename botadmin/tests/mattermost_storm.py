"""Trouble for a company on a simulated Mattermost, and a witness of whether the screen tells the
truth about it."""

from __future__ import annotations

import ctypes
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botadmin.tests.mattermost_company import BOTS, HEARTBEAT_SECONDS, LOGIN_BOT, Company
from spaces.testing.mattermost import SimulatedMattermost
from spaces.testing.mattermost.running import run_on

POSTS = "/api/v4/posts"
# A bot that hears nothing may be called live for two heartbeats.
LIVE_AT_MOST_SECONDS = 2 * HEARTBEAT_SECONDS
SLACK_SECONDS = 6.0  # for a busy machine
# In a storm that leaves credentials and settings alone.
MAY_BE_SHOWN = frozenset(["starting", "catching_up", "live", "reconnecting", "stale"])


class Storm:
    """Random faults, a few at a time. `counts` says how many of each kind there were, `diary`
    which they were and when."""

    def __init__(self, company: Company, chance: random.Random, *, down_seconds: float) -> None:
        self.counts: Counter[str] = Counter()
        self.diary: list[str] = []
        self._chance = chance
        self._down_seconds = down_seconds
        self._do = _Told(company.server.controls, self.diary)
        self._kinds: dict[str, Callable[[], object]] = {
            "drop sockets": lambda: self._do.drop_sockets(user=self._some()),
            "silence sockets": lambda: self._do.silence_sockets(user=self._some()),
            "duplicate frames": lambda: self._do.duplicate_frames(self._few(), self._some()),
            "reorder frames": lambda: self._do.reorder_frames(self._few(), self._some()),
            "omit frames": lambda: self._do.omit_frames(self._few(), self._some()),
            "stall before": lambda: self._stall("before"),
            "stall in between": lambda: self._stall("during"),
            "stall after": lambda: self._stall("after"),
            "stall any request": lambda: self._do.stall(3, times=self._few(), user=self._some()),
            "swallow answers": lambda: self._do.swallow_answers(self._few(), path=self._path()),
            "reset connections": lambda: self._do.reset_connections(self._few(), path=self._path()),
            "429": lambda: self._do.limit_rate(seconds=1, user=self._some(), path=self._path()),
            "5xx before": lambda: self._fail("before"),
            "5xx after": lambda: self._fail("after"),
            "revoke sessions": lambda: self._do.revoke_sessions(user=self._some() or LOGIN_BOT),
            "restart": lambda: self._do.restart(self._chance.random() * self._down_seconds),
            "go down": lambda: self._do.go_down(self._chance.random() * self._down_seconds),
        }

    def rage(self, seconds: float, *, pause_seconds: float) -> None:
        until = time.monotonic() + seconds
        kinds: list[str] = []
        while time.monotonic() < until:
            # Each kind before any a second time: a short run has them all.
            kinds = kinds or self._chance.sample(sorted(self._kinds), len(self._kinds))
            kind = kinds.pop()
            self._kinds[kind]()
            self.counts[kind] += 1
            time.sleep(2 * pause_seconds * self._chance.random())  # weather, not synchronisation

    def end(self) -> None:
        """All is well again."""
        self._do.heal()
        self._do.come_up()

    def _some(self) -> str:
        """A bot, or everybody."""
        return self._chance.choice(("", *BOTS))

    def _few(self) -> int:
        return self._chance.randint(1, 3)

    def _path(self) -> str:
        return self._chance.choice(("", POSTS))

    def _fail(self, place: str) -> None:
        status = self._chance.choice((500, 502, 503))
        self._do.fail(status, place, self._few(), path=self._path())

    def _stall(self, place: str) -> None:
        self._do.stall(3, place=place, times=self._few(), method="POST", path=POSTS)


class _Told:
    """The controls, with a diary of what was asked of them."""

    def __init__(self, controls: Any, diary: list[str]) -> None:
        self._controls = controls
        self._diary = diary

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            self._diary.append(f"{datetime.now(UTC):%H:%M:%S.%f} {name} {args} {kwargs}")
            return getattr(self._controls, name)(*args, **kwargs)

        return call


# Truth ----------------------------------------------------------------------------------------


@dataclass
class Watched:
    """What was seen of one bot. Times are `time.monotonic()` seconds."""

    live_at: float  # when it was last shown to be live
    deaf_since: float | None = None  # when it was first seen to be unable to hear
    longest_away: float = 0.0  # seconds between two moments of being shown live
    shown: set[str] = field(default_factory=set)


class Witness(threading.Thread):
    """Looks several times a second at what the screen says, if it says anything, and at whether it
    can be true.

    A bot can hear while the server has a websocket of its that is open, not silent, and of a
    session that lasts.
    """

    def __init__(
        self,
        company: Company,
        *bots: str,
        live_at_most_seconds: float = LIVE_AT_MOST_SECONDS + SLACK_SECONDS,
    ) -> None:
        super().__init__(daemon=True)
        now = time.monotonic()
        self._most = live_at_most_seconds
        self.untrue: list[str] = []
        self.watched = {bot: Watched(now) for bot in bots}
        self.polled: set[str] = set()  # bots that are live without a websocket
        self.looks = 0
        self._company = company
        self._server = company.server
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.25):
            hearing = self._hearing()
            asked_at = time.monotonic()
            shown = self._company.connections_if_told()
            for bot, watched in self.watched.items():
                if hearing[bot]:
                    watched.deaf_since = None
                elif watched.deaf_since is None:
                    watched.deaf_since = asked_at
                if shown:
                    self._judge(bot, watched, shown[bot]["state"], asked_at)
            self.looks += bool(shown)

    def _judge(self, bot: str, watched: Watched, state: str, asked_at: float) -> None:
        watched.shown.add(state)
        if state != "live":
            return
        now = time.monotonic()
        watched.longest_away = max(watched.longest_away, now - watched.live_at)
        watched.live_at = now
        deaf = 0.0 if watched.deaf_since is None else asked_at - watched.deaf_since
        if deaf > self._most and bot not in self.polled:
            self.untrue.append(f"{bot} is called live and has been deaf for {deaf:.1f} s")

    def _hearing(self) -> dict[str, bool]:
        return {bot: hears(self._server, bot) for bot in self.watched}


def hears(server: SimulatedMattermost, bot: str) -> bool:
    user = server.world.user_named(bot)
    assert user

    def look() -> bool:
        return any(
            not one.is_silent and one.connection and one.connection.token in server.world.sessions
            for one in server.simulation.hub.sockets_of(user.id)
        )

    return bool(run_on(server.simulation.loop, look))


# A network in between ---------------------------------------------------------------------------

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # <asm-generic/socket.h>; Python does not name them
# The shortest filter there is: of every packet nothing is kept, so that none is even acknowledged.
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
DROP_ALL = struct.pack("HP", 1, ctypes.addressof(_DROP))


class Proxy:
    """Passes TCP connections on, until it is told to lose or to hold up every packet, and to say
    nothing: not even that something was received, as the machine of a proxy otherwise would.

    What was open while packets were lost stays lost: something in between has forgotten it. What
    was held up arrives late.
    """

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._losing = threading.Event()
        self._passing = threading.Event()
        self._passing.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def lose_packets(self) -> None:
        self._losing.set()
        _deafen(self._listening, *self._open)

    def hold_packets(self) -> None:
        self._passing.clear()
        _deafen(self._listening, *self._open)

    def pass_packets(self) -> None:
        hearing = [] if self._losing.is_set() else self._open
        for one in (self._listening, *hearing):
            with suppress(OSError):  # it was not deaf, or is closed already
                one.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        self._losing.clear()
        self._passing.set()

    def close(self) -> None:
        self._passing.set()
        for one in (self._listening, *self._open):
            with suppress(OSError):  # it is closed already
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in (self._listening, *self._open):
            one.close()

    def _start(self, work: Callable[..., None], *what: socket.socket) -> None:
        thread = threading.Thread(target=work, args=what, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # the end
            while True:
                client, _ = self._listening.accept()
                self._open.append(client)
                if self._losing.is_set() or not self._passing.is_set():
                    _deafen(client)  # it came at the last moment
                if not self._losing.is_set():
                    self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._to)
        except ConnectionRefusedError:
            self._open.remove(client)
            client.close()
            return
        self._open.append(server)
        self._start(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
        back.start()
        self._pass(client, server)
        back.join()
        for one in (client, server):
            self._open.remove(one)
            one.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        is_lost = False
        with suppress(OSError):
            while data := source.recv(65_536):
                is_lost = is_lost or self._losing.is_set()
                self._passing.wait()
                if not is_lost:
                    target.sendall(data)
        self._passing.wait()
        if is_lost or self._losing.is_set():
            return
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _deafen(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):  # it is closed already
            one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, DROP_ALL)
