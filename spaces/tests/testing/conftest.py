"""A server with a team, Alice, Bob and Charlie, and a bot, for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from spaces.testing.mattermost import SimulatedMattermost
from spaces.tests.testing.mattermost_client import Rest, Socket


@pytest.fixture
def server() -> Iterator[SimulatedMattermost]:
    with SimulatedMattermost() as server:
        server.make.admin()
        for name in ("alice", "bob", "charlie"):
            server.make.user(name)
        server.make.bot("helper-bot")
        server.make.team("acme", "alice", "bob", "helper-bot")
        yield server


@pytest.fixture
def rest(server: SimulatedMattermost) -> Callable[[str], Rest]:
    """REST as somebody, "" for nobody."""
    return lambda name: Rest(server, server.make.token(name) if name else "")


@pytest.fixture
def connect(server: SimulatedMattermost) -> Iterator[Callable[..., Socket]]:
    """A websocket as somebody; all are closed in the end."""
    opened: list[Socket] = []

    def connect(name: str = "", query: str = "", *, token: str = "", **more: Any) -> Socket:
        token = token or (server.make.token(name) if name else "")
        opened.append(Socket(server, token, query, **more))
        return opened[-1]

    yield connect
    for socket in opened:
        socket.close()
