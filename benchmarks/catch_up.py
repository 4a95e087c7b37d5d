"""Catching up after an outage: a hundred channels with a hundred missed posts each.

From the moment the bot's opening begins until all is stored and it is live, as the events of its
connection tell. The yardstick reads the same pages with a bare session of `requests`, and does
nothing with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import requests

from benchmarks import simulated
from benchmarks.entering import enter
from benchmarks.figures import Figure, side_by_side
from bots import lifecycle
from bots.connections.supervisor import Supervisor
from bots.models import Bot, Connection, Event, Receive, State
from spaces.platforms.messages import Kind

CHANNELS = 100
POSTS_EACH = 100
POSTS = CHANNELS * POSTS_EACH + 1  # the one at the end of the outage
TEXT = "The quick brown fox jumps over the lazy dog. " * 4
RUNS = 5
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 300.0


def main() -> list[Figure]:
    with simulated.running() as server:
        (token,) = server.do(simulated.enrol, 1)
        server.do(simulated.make_channels, CHANNELS)
        (bot,) = enter("bench", server.url, [token], receive=Receive.WEBSOCKET)
        supervisor = Supervisor(limit=1)
        supervisor.start()
        _start(bot)
        missed_since: list[int] = []

        def read_bare() -> float:
            """Also prepares what is then caught up with."""
            _stop(bot)
            missed_since.append(server.do(simulated.post, POSTS_EACH, TEXT))
            return _seconds_to_read(server.url, token, missed_since[-1])

        def catch_up() -> float:
            before = _posts_of_others(bot)
            seconds = _start(bot)
            if (told := _posts_of_others(bot) - before) != POSTS:
                raise RuntimeError(f"of {POSTS} posts {told} were told")
            return seconds

        seconds = side_by_side(catch_up, read_bare, runs=RUNS)
        supervisor.stop()
    return [
        Figure(
            what=f"catching up with {POSTS_EACH} posts in each of {CHANNELS} channels",
            unit="s",
            aim="a ratio of 2.0 or less",
            yardstick="bare reads of the same pages",
            **seconds,
        )
    ]


def _start(bot: Bot) -> float:
    """Seconds from the beginning of the opening until it was live."""
    newest = Event.objects.order_by("pk").values_list("pk", flat=True).last() or 0
    changes = Event.objects.filter(bot=bot, kind=Kind.CONNECTION_CHANGED, pk__gt=newest)
    lifecycle.start(bot)
    _wait_until(lambda: changes.filter(data__state=State.LIVE).exists())
    at = dict(changes.order_by("-pk").values_list("data__state", "occurred_at"))
    return (at[State.LIVE] - at[State.STARTING]).total_seconds()


def _stop(bot: Bot) -> None:
    lifecycle.stop(bot)
    stopped = Connection.objects.filter(bot=bot, state=State.OFF, holder="")
    _wait_until(stopped.exists)


def _posts_of_others(bot: Bot) -> int:
    return Event.objects.filter(bot=bot, kind=Kind.MESSAGE_POSTED, catch_up=True).count()


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the bot does not get there")
        time.sleep(LOOK_SECONDS)


def _seconds_to_read(url: str, token: str, since: int) -> float:
    api = f"{url}/api/v4"
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        started, read = time.perf_counter(), 0
        for channel in session.get(f"{api}/users/me/channels", timeout=30).json():
            query = {"since": str(since), "skipFetchThreads": "true"}
            page = f"{api}/channels/{channel['id']}/posts"
            read += len(session.get(page, params=query, timeout=30).json()["order"])
        seconds = time.perf_counter() - started
    if read != POSTS:
        raise RuntimeError(f"of {POSTS} posts {read} were read")
    return seconds
