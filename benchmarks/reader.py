"""How many frames one reader thread reads and decodes, and what an idle websocket costs.

A server in a process of its own sends messages of 1.3 kB, spread evenly over all connections. The
server shares the machine, so the yardstick, decoding the same frames in a loop, has it easier.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection

import websocket
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.figures import RUNS, Figure, side_by_side
from bots.connections.reader import Reader, Reading
from spaces.platforms.messages import Incoming, Kind
from spaces.platforms.websocket import WebSocketStream

GROUP = 170  # connections opened in a run; all of them stay open
CONNECTIONS = GROUP * (RUNS + 1)
FRAMES_EACH = 40  # a run
FRAMES = FRAMES_EACH * CONNECTIONS
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

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.done = threading.Event()
        self.left = 0

    def expect(self, count: int) -> None:
        self.left = count
        self.done.clear()

    def on_incoming(self, incoming: list[Incoming]) -> None:
        self.left -= len(incoming)
        if self.left <= 0:
            self.done.set()

    def on_end(self, reason: Exception) -> None:
        self.failure = reason
        self.done.set()


async def serve_frames(control: Connection) -> None:
    """Announce the port, hold every connection, and send to all of them as often as told."""
    message = json.dumps(EVENT)
    everybody: set[ServerConnection] = set()

    async def hold(connection: ServerConnection) -> None:
        everybody.add(connection)
        await connection.wait_closed()
        everybody.remove(connection)

    async def send(connection: ServerConnection, times: int) -> None:
        for _ in range(times):
            await connection.send(message)

    async with serve(hold, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        control.send(next(iter(server.sockets)).getsockname()[1])
        with suppress(EOFError):
            while True:
                times = await asyncio.to_thread(control.recv)
                await asyncio.gather(*(send(connection, times) for connection in everybody))


def run_server(control: Connection) -> None:
    asyncio.run(serve_frames(control))


@contextmanager
def server() -> Iterator[Connection]:
    """The server in a process of its own; first the pipe brings its port."""
    processes = get_context("spawn")
    control, server_control = processes.Pipe()
    process = processes.Process(target=run_server, args=(server_control,), daemon=True)
    process.start()
    server_control.close()
    yield control
    control.close()
    process.join(10)


def main() -> list[Figure]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with server() as control:
        url = f"ws://127.0.0.1:{control.recv()}/"
        tally = Tally()
        reader = Reader()
        reader.start()
        figures = [measure_memory(reader, tally, url), *measure_reading(tally, control)]
        reader.stop(10)
    return figures


def measure_memory(reader: Reader, tally: Tally, url: str) -> Figure:
    """Opens the connections that everything else is measured with."""
    keys = iter(range(CONNECTIONS))

    def held_by_the_reader() -> float:
        before = allocated_bytes()
        for _ in range(GROUP):
            reader.add(
                Reading(
                    key=next(keys),
                    stream=WebSocketStream(url),
                    decode=decode,
                    on_incoming=tally.on_incoming,
                    on_end=tally.on_end,
                )
            )
        return (allocated_bytes() - before) / GROUP / 1_000

    bare: list[websocket.WebSocket] = []

    def of_the_library() -> float:
        before = allocated_bytes()
        bare.extend(websocket.create_connection(url) for _ in range(GROUP))
        return (allocated_bytes() - before) / GROUP / 1_000

    tracemalloc.start()
    sizes = side_by_side(held_by_the_reader, of_the_library)
    tracemalloc.stop()
    for connection in bare:
        connection.close()
    return Figure(
        what="memory of an idle connection in the reader",
        unit="kB",
        yardstick="a connection of websocket-client that nobody reads",
        **sizes,
    )


def measure_reading(tally: Tally, control: Connection) -> list[Figure]:
    frame = json.dumps(EVENT).encode()
    per_cpu_second: list[float] = []
    bare_per_cpu_second: list[float] = []

    def read() -> float:
        tally.expect(FRAMES)
        cpu, started = reader_seconds(), time.perf_counter()
        control.send(FRAMES_EACH)
        if not tally.done.wait(PATIENCE_SECONDS) or tally.failure:
            raise RuntimeError(f"{tally.left} frames did not arrive: {tally.failure}")
        per_cpu_second.append(FRAMES / (reader_seconds() - cpu))
        return FRAMES / (time.perf_counter() - started)

    def loop() -> float:
        cpu, started = time.thread_time(), time.perf_counter()
        for _ in range(FRAMES):
            decode(frame)
        bare_per_cpu_second.append(FRAMES / (time.thread_time() - cpu))
        return FRAMES / (time.perf_counter() - started)

    yardstick = "decoding the same frame in a loop"
    what = f"frames of {FRAME_BYTES / 1000} kB read and decoded from {CONNECTIONS} connections"
    rates = side_by_side(read, loop)
    return [
        Figure(what=what, unit="frames/s", yardstick=yardstick, **rates),
        Figure(
            what=f"{what}, per second of the reader's processor time",
            unit="frames/s",
            values=per_cpu_second[-RUNS:],
            yardstick=yardstick,
            yardstick_values=bare_per_cpu_second[-RUNS:],
        ),
    ]


def reader_seconds() -> float:
    """Processor time of the reader thread so far."""
    thread = next(thread for thread in threading.enumerate() if thread.name == "reader")
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def allocated_bytes() -> int:
    """By Python and its extensions. The size of the process would be coarser than a connection."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
