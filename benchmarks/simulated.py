"""A simulated Mattermost in a process of its own, so that its work is not taken for ours.

Its process imports this module and knows no Django. The functions at the end run over there:
`server.do(post, …)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from spaces.testing.mattermost import SimulatedMattermost

T = TypeVar("T")
TEAM = "acme"
OUTAGE_SECONDS = 300.0
SETTINGS = {"TeamSettings": {"MaxUsersPerTeam": 10_000, "MaxChannelsPerTeam": 10_000}}


class Remote:
    def __init__(self, control: Connection):
        self._control = control
        self.url: str = control.recv()

    def do(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` returns, called over there with the server and these arguments."""
        self._control.send((work, arguments))
        result: T = self._control.recv()
        return result


@contextmanager
def running() -> Iterator[Remote]:
    processes = get_context("spawn")
    control, server_control = processes.Pipe()
    process = processes.Process(target=_run, args=(server_control,), daemon=True)
    process.start()
    server_control.close()
    yield Remote(control)
    control.close()
    process.join(10)


def _run(control: Connection) -> None:
    with SimulatedMattermost(settings=SETTINGS) as server, suppress(EOFError):
        control.send(server.url)
        while True:
            work, arguments = control.recv()
            control.send(work(server, *arguments))


# Over there ---------------------------------------------------------------------------------------


def enrol(server: SimulatedMattermost, number: int) -> list[str]:
    """Make a team with a person and so many bots, who hear nothing of it; returns their tokens."""
    server.make.user("alice")
    server.make.team(TEAM, "alice")
    tokens = [server.make.bot(f"bot-{n}")[1] for n in range(number)]
    for n in range(number):
        server.make.join_team(TEAM, f"bot-{n}")
    return tokens


def make_channels(server: SimulatedMattermost, number: int) -> None:
    """Of the person and the first bot."""
    for n in range(number):
        server.make.channel(TEAM, f"channel-{n}", "alice", "bot-0")


def post(server: SimulatedMattermost, number: int, text: str) -> int:
    """In the middle of some minutes, let the person write so often in each of these channels, and
    once more at the end, lest the next catching up begins in the middle; and the server forget
    whatever it would resume. Returns a moment before that, in its milliseconds."""
    server.controls.advance(OUTAGE_SECONDS)
    began: int = server.simulation.now() - 1
    server.controls.forget_connections()
    named = [one for one in server.world.channels.values() if one.name.startswith("channel-")]
    for channel in named:
        for n in range(number):
            server.make.post("alice", channel, f"{n} {text}")
    server.controls.advance(OUTAGE_SECONDS)
    server.make.post("alice", named[0], text)
    return began


def forget_traffic(server: SimulatedMattermost) -> None:
    server.simulation.traffic.forget()


def most_at_once(server: SimulatedMattermost) -> int:
    return server.simulation.traffic.most_at_once()
