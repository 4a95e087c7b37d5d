"""Milliseconds from the 202 to the delivered message, on an idle system.

The clock starts when the client has read the answer, and stops when another process than the
server's sees the message in the local platform's room. A send now and then, at no regular distance,
meets everything asleep.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from statistics import median, quantiles

from django.conf import settings

from benchmarks import servers
from benchmarks.figures import RUNS, Figure, side_by_side
from benchmarks.waiting import wait_for_jobs
from bots import clients
from bots.models import Bot
from spaces.models import Channel, LocalMessage
from spaces.platforms.messages import Outgoing

SENDS = 40  # a run
LOOK_SECONDS = 0.0005
PAUSE_SECONDS = (0.03, 0.08)
PATIENCE_SECONDS = 30
TEXT = "The quick brown fox jumps over the lazy dog."


def main() -> list[Figure]:
    with (
        servers.botadmin("worker", "beat") as port,
        closing(HTTPConnection("127.0.0.1", port)) as connection,
    ):
        wait_for_jobs()
        bot = Bot.objects.select_related("space").get(slug="echo")
        lobby = Channel.objects.get(name="lobby")
        slowest: list[float] = []
        slowest_bare: list[float] = []

        def delivered() -> float:
            waits = [_milliseconds_to_delivery(connection) for _ in range(SENDS)]
            slowest.append(_p95(waits))
            return median(waits)

        def bare() -> float:
            with clients.borrow(bot) as platform:
                outgoing = Outgoing(key="", channel=lobby.remote_id, text=TEXT)
                calls = [
                    _milliseconds(lambda: platform.post_message(outgoing)) for _ in range(SENDS)
                ]
            slowest_bare.append(_p95(calls))
            return median(calls)

        medians = side_by_side(delivered, bare)
    bare_call = "one bare call of Local.post_message"
    return [
        Figure(
            what="from accepted to delivered, idle: median",
            unit="ms",
            aim="10 or less" if settings.DATABASE_IS_SERVER else "20 or less",
            yardstick=f"{bare_call}: median",
            **medians,
        ),
        Figure(
            what="from accepted to delivered, idle: 95 of 100 are faster",
            unit="ms",
            values=slowest[-RUNS:],
            yardstick=f"{bare_call}: 95 of 100 are faster",
            yardstick_values=slowest_bare[-RUNS:],
        ),
    ]


def _milliseconds_to_delivery(connection: HTTPConnection) -> float:
    time.sleep(random.uniform(*PAUSE_SECONDS))
    newest = LocalMessage.objects.order_by("pk").values_list("pk", flat=True).last() or 0
    arrived = LocalMessage.objects.filter(pk__gt=newest)
    connection.request(
        "POST",
        "/api/v1/bots/echo/messages/",
        body=json.dumps({"channel": "lobby", "text": TEXT}),
        headers={"Authorization": f"Bearer {servers.TOKEN}", "Content-Type": "application/json"},
    )
    answer = connection.getresponse()
    said = answer.read()
    started = time.perf_counter()
    if answer.status != 202:
        raise RuntimeError(f"not accepted: {answer.status} {said[:500]!r}")
    while not arrived.exists():
        if time.perf_counter() - started > PATIENCE_SECONDS:
            raise TimeoutError("an accepted message does not arrive")
        time.sleep(LOOK_SECONDS)
    return (time.perf_counter() - started) * 1000


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]
