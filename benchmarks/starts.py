"""A thousand bots of one server from stopped to live, and how many were opening at once.

A supervisor as every process has one that holds connections, against a simulated server in a
process of its own; that server counts. The yardstick opens the same with bare platform objects,
as many at once: it logs in, lists channels, opens the websocket, and stores nothing.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import simulated
from benchmarks.entering import enter
from benchmarks.figures import Figure
from bots import clients, lifecycle
from bots.connections.supervisor import OPENING_PER_HOST, Supervisor
from bots.models import Bot, Connection, Receive, State
from spaces.platforms.contract import Platform, Stream

BOTS = 1_000
BARE = 100  # of them are opened for the yardstick
RUNS = 3  # each takes long
WATCHED_SECONDS = 10.0
LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 600.0


def main() -> list[Figure]:
    with simulated.running() as server:
        tokens = server.do(simulated.enrol, BOTS)
        bots = enter("bench", server.url, tokens, receive=Receive.WEBSOCKET)
        supervisor = Supervisor(limit=BOTS)
        supervisor.start()
        seconds, at_once, memory, processor = [], [], [], []
        bare_seconds, bare_memory, idle = [], [], []
        for _ in range(RUNS):
            time_taken, size = _open_bare(bots)
            bare_seconds.append(time_taken)
            bare_memory.append(size)
            idle.append(_percent_of_core())
            server.do(simulated.forget_traffic)
            before = _resident_bytes()
            seconds.append(_seconds_until_live(bots))
            memory.append((_resident_bytes() - before) / BOTS / 1_000)
            at_once.append(float(server.do(simulated.most_at_once)))
            processor.append(_percent_of_core())
            _stop(bots)
        supervisor.stop()
    return [
        Figure(
            what=f"{BOTS:,} bots of one server from stopped to live",
            unit="s",
            aim="60 or less",
            values=seconds,
            yardstick=f"bare openings, {OPENING_PER_HOST} at once",
            yardstick_values=bare_seconds,
        ),
        Figure(
            what="of them opening at once, as their server saw it",
            unit="bots",
            aim="the budget or less",
            values=at_once,
            yardstick="the connection budget of a host",
            yardstick_values=[float(OPENING_PER_HOST)] * RUNS,
        ),
        Figure(
            what=f"memory of each of {BOTS:,} live bots, with all that belongs to one",
            unit="kB",
            values=memory[:1],  # later ones use again what earlier ones left
            yardstick="a bare platform object with its websocket",
            yardstick_values=bare_memory[:1],
        ),
        Figure(
            what=f"processor of a process that holds {BOTS:,} live bots that hear nothing",
            unit="% of a core",
            values=processor,
            yardstick="the same process while it holds none",
            yardstick_values=idle,
        ),
    ]


def _seconds_until_live(bots: Sequence[Bot]) -> float:
    started = time.perf_counter()
    for bot in bots:
        lifecycle.start(bot)
    live = Connection.objects.filter(bot__in=[bot.pk for bot in bots], state=State.LIVE)
    _wait_until(lambda: live.count() == BOTS)
    return time.perf_counter() - started


def _stop(bots: Sequence[Bot]) -> None:
    for bot in bots:
        lifecycle.stop(bot)
    _wait_until(lambda: not Connection.objects.exclude(holder="").exists())


def _open_bare(bots: Sequence[Bot]) -> tuple[float, float]:
    """Seconds for all, extrapolated from some, and kilobytes for each."""
    before = _resident_bytes()
    platforms = [clients.build(bot) for bot in bots[:BARE]]
    started = time.perf_counter()
    with ThreadPoolExecutor(OPENING_PER_HOST) as pool:
        streams = list(pool.map(_open, platforms))
    seconds = time.perf_counter() - started
    size = (_resident_bytes() - before) / BARE / 1_000
    for opened in (*streams, *platforms):
        opened.close()
    return seconds * BOTS / BARE, size


def _open(platform: Platform) -> Stream:
    platform.connect()
    list(platform.list_channels())
    return platform.open_stream(platform.start_cursor())


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the bots do not get there")
        time.sleep(LOOK_SECONDS)


def _percent_of_core() -> float:
    before = time.process_time()
    time.sleep(WATCHED_SECONDS)
    return (time.process_time() - before) / WATCHED_SECONDS * 100


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
