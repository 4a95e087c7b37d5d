"""Messages accepted per second over REST, single and in bulk, beside a view that does nothing.

botadmin runs as `manage.py up` in a process of its own, and so does the empty view; the clients are
threads of this process, each with one connection that it keeps.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

from benchmarks import servers
from benchmarks.figures import Figure, side_by_side
from benchmarks.waiting import wait_for_jobs
from bots.models import Job

CLIENTS = 4
SECONDS = 1.0  # a run
BULK = 100
MESSAGE = {"channel": "lobby", "text": "The quick brown fox jumps over the lazy dog. " * 4}
BOT = "/api/v1/bots/echo/"
EMPTY = f"an empty Django view on the same server with {CLIENTS} clients"


def main() -> list[Figure]:
    with servers.embedded() as port, servers.empty_view() as empty_port:

        def empty() -> float:
            return _answers_per_second(empty_port, "/", MESSAGE)

        def single() -> float:
            return _answers_per_second(port, f"{BOT}messages/", MESSAGE)

        def bulk() -> float:
            body = {"messages": [MESSAGE] * BULK}
            return BULK * _answers_per_second(port, f"{BOT}messages/bulk/", body)

        def single_while_delivering() -> float:
            rate = single()
            wait_for_jobs()
            return rate

        def figure(what: str, measure: Callable[[], float]) -> Figure:
            pairs = side_by_side(measure, empty)
            return Figure(what=what, unit="messages/s", yardstick=EMPTY, **pairs)

        wait_for_jobs()
        _post(port, f"{BOT}stop/")  # what is accepted waits: this is about accepting alone
        figures = [
            figure("messages accepted one by one", single),
            figure(f"messages accepted in bulks of {BULK}", bulk),
        ]
        Job.objects.all().delete()
        _post(port, f"{BOT}start/")
        figures.append(
            figure(
                "messages accepted one by one, while the same process delivers them",
                single_while_delivering,
            )
        )
        return figures


def _answers_per_second(port: int, path: str, body: object) -> float:
    content = json.dumps(body).encode()
    until = time.perf_counter() + SECONDS

    def ask(client: int) -> int:
        answers = 0
        with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            while time.perf_counter() < until:
                _ask(connection, path, content)
                answers += 1
        return answers

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        total = sum(clients.map(ask, range(CLIENTS)))
    return total / (time.perf_counter() - started)


def _post(port: int, path: str) -> None:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        _ask(connection, path, b"{}")


def _ask(connection: HTTPConnection, path: str, content: bytes) -> None:
    headers = {"Authorization": f"Bearer {servers.TOKEN}", "Content-Type": "application/json"}
    connection.request("POST", path, body=content, headers=headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status not in (200, 202):
        raise RuntimeError(f"{path} answered {answer.status}: {said[:500]!r}")
