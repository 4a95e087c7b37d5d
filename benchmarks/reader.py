"""How much an idle websocket costs, and how many frames one reader thread reads and decodes.

    python -m benchmarks.reader [connections] [frames]

A server in a process of its own sends `frames` messages of 1.3 kB, spread evenly over all
connections. Prints JSON. The server shares the machine, so frames per second are also given per
second of the reader thread's own processor time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve

from bots.connections.reader import Reader, Reading
from spaces.platforms.messages import Incoming, Kind
from spaces.platforms.websocket import WebSocketStream

FRAME_BYTES = 1_300
PATIENCE_SECONDS = 300.0
DATA = {"id": "x" * 26, "channel": "town", "text": ""}
EVENT = {"event": "posted", "seq": 1, "data": DATA}
DATA["text"] = "y" * (FRAME_BYTES - len(json.dumps(EVENT)))
NOW = datetime.now(UTC)


def decode(frame: bytes) -> list[Incoming]:
    """About what a real platform does: JSON to one value."""
    event = json.loads(frame)
    data = event["data"]
    return [
        Incoming(
            kind=Kind.MESSAGE_POSTED,
            id=data["id"],
            occurred_at=NOW,
            channel_id=data["channel"],
            text=data["text"],
            raw=event,
        )
    ]


class Tally:
    """Counts what is handed over; `done` is set at the expected number, or when one ended."""

    def __init__(self, expected: int):
        self.expected = expected
        self.count = 0
        self.failure: Exception | None = None
        self.done = threading.Event()

    def on_incoming(self, incoming: list[Incoming]) -> None:
        self.count += len(incoming)
        if self.count >= self.expected:
            self.done.set()

    def on_end(self, reason: Exception) -> None:
        self.failure = reason
        self.done.set()


async def serve_frames(control: Connection, frames_each: int) -> None:
    """Announce the port, hold every connection, and send to all of them on a word."""
    message = json.dumps(EVENT)
    everybody: list[ServerConnection] = []

    async def hold(connection: ServerConnection) -> None:
        everybody.append(connection)
        await connection.wait_closed()

    async def send(connection: ServerConnection) -> None:
        for _ in range(frames_each):
            await connection.send(message)

    async with serve(hold, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        control.send(next(iter(server.sockets)).getsockname()[1])
        await asyncio.to_thread(control.recv)
        await asyncio.gather(*(send(connection) for connection in everybody))
        with suppress(EOFError):
            await asyncio.to_thread(control.recv)


def run_server(control: Connection, frames_each: int) -> None:
    asyncio.run(serve_frames(control, frames_each))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(connections: int, frames: int) -> dict[str, float]:
    frames_each = frames // connections
    processes = get_context("spawn")
    control, server_control = processes.Pipe()
    server = processes.Process(target=run_server, args=(server_control, frames_each), daemon=True)
    server.start()
    server_control.close()
    url = f"ws://127.0.0.1:{control.recv()}/"
    tally = Tally(frames_each * connections)
    reader = Reader()
    reader.start()

    def add(key: int) -> None:
        stream = WebSocketStream(url)
        reader.add(
            Reading(
                key=key,
                stream=stream,
                decode=decode,
                on_incoming=tally.on_incoming,
                on_end=tally.on_end,
            )
        )

    add(0)  # what the first one loads is no cost of the others
    gc.collect()
    before = resident_bytes()
    for key in range(1, connections):
        add(key)
    gc.collect()
    idle = resident_bytes() - before

    thread = next(thread for thread in threading.enumerate() if thread.name == "reader")
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    cpu, started = time.clock_gettime(clock), time.perf_counter()
    control.send("go")
    if not tally.done.wait(PATIENCE_SECONDS) or tally.failure:
        sys.exit(f"{tally.count} of {tally.expected} frames arrived: {tally.failure}")
    seconds, cpu = time.perf_counter() - started, time.clock_gettime(clock) - cpu
    reader.stop(10)
    control.close()
    server.join(10)
    return {
        "connections": connections,
        "kb_per_idle_connection": round(idle / 1_000 / (connections - 1), 1),
        "frames": tally.count,
        "frames_per_second": round(tally.count / seconds),
        "frames_per_reader_cpu_second": round(tally.count / cpu),
    }


def main() -> None:
    connections = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    frames = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(measure(connections, frames), indent=2))


if __name__ == "__main__":
    main()
