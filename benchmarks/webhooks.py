"""Webhooks: deliveries per second by one worker, and what bad neighbours cost the others.

Each delivery is an event of the sequence that is handed on, signed, posted, and written down with
its attempt. The yardstick posts as many bodies of the same size with one bare session of
`requests`.

For the neighbours, fifty subscribers get a few events a second; then the same with one of them dead
and one that takes every call and never answers. What counts is how long the deliveries to the
others are on their way, from being stored to their arrival.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from functools import partial
from statistics import median
from uuid import uuid4

import requests
from django.utils import timezone

from benchmarks import http_sends, quick_receiver, quick_server
from benchmarks.figures import Figure, side_by_side
from bots import sequence, subscriptions
from bots.models import Delivery, Event, Subscription, Unnumbered
from bots.models.lane import UNFINISHED
from spaces.platforms.messages import Kind

EVENTS = 2_000  # a run
SUBSCRIBERS = 50
EVENTS_PER_SECOND = 2  # times fifty deliveries
NEIGHBOUR_SECONDS = 20  # a run; longer than a call may take
LOOK_SECONDS = 0.03
PATIENCE_SECONDS = 120
TEXT = "The quick brown fox jumps over the lazy dog. " * 4
THREADS = 16


def main() -> list[Figure]:
    os.environ["BOTADMIN_ALLOWED_NETWORKS"] = "127.0.0.0/8"  # for the workers
    with quick_server.running(quick_receiver.Receiver) as url:
        return [_deliveries(url), _neighbours(url)]


def _deliveries(url: str) -> Figure:
    (subscription,) = _subscribe([f"{url}/0"])
    with http_sends.worker(THREADS):
        rates = side_by_side(partial(_deliver, subscription, EVENTS), partial(_bare, url, EVENTS))
    Subscription.objects.all().delete()
    return Figure(
        what=f"events delivered to one receiver by a worker with {THREADS} threads",
        unit="deliveries/s",
        aim="a ratio of 0.7 or more",
        yardstick="a loop with a bare session of requests",
        **rates,
    )


def _neighbours(url: str) -> Figure:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        dead_url = f"http://127.0.0.1:{dead.getsockname()[1]}/"
    well = [f"{url}/{n}" for n in range(SUBSCRIBERS - 2)]
    with http_sends.worker(THREADS):
        values = side_by_side(
            partial(_on_their_way, url, [*well, dead_url, f"{url}/hang"]),
            partial(_on_their_way, url, well),
            runs=3,
        )
    return Figure(
        what="milliseconds on the way to 48 of 50 subscribers, of which one is dead and one hangs",
        unit="ms",
        aim="a ratio of 1.2 or less",
        yardstick="the same 48 alone",
        **values,
    )


def _deliver(subscription: Subscription, number: int) -> float:
    """So many events that wait, delivered by a worker that runs, per second."""
    subscriptions.pause(subscription)
    for _ in range(number // 100):
        sequence.store([_event() for _ in range(100)])
    sequence.number()
    started = time.perf_counter()
    subscriptions.resume(subscription)
    _wait_until_delivered()
    return number / (time.perf_counter() - started)


def _bare(url: str, number: int) -> float:
    """As many bodies of the same size by one session of `requests`."""
    data = {"seq": 1, "stored_at": timezone.now().isoformat(), "data": _event().data}
    body = json.dumps({"type": Kind.MESSAGE_POSTED, "data": data})
    started = time.perf_counter()
    with requests.Session() as session:
        for _ in range(number):
            session.post(f"{url}/0", data=body, timeout=15).raise_for_status()
    return number / (time.perf_counter() - started)


def _on_their_way(url: str, receivers: Sequence[str]) -> float:
    """The median of milliseconds to those that answer."""
    _subscribe(receivers)
    requests.get(f"{url}/times", timeout=15)
    until = time.monotonic() + NEIGHBOUR_SECONDS
    while time.monotonic() < until:
        sequence.store([_event()])
        time.sleep(1 / EVENTS_PER_SECOND)
    _wait_until_delivered()
    seconds = requests.get(f"{url}/times", timeout=15).json()
    Subscription.objects.all().delete()
    return 1000 * median(seconds)


def _subscribe(urls: Sequence[str]) -> list[Subscription]:
    made = [Subscription(url=url, kinds=[Kind.MESSAGE_POSTED]) for url in urls]
    for subscription in made:
        subscriptions.new_secret(subscription)
        subscriptions.begin(subscription)
        subscription.save()
    return made


def _event() -> Event:
    return Event(
        kind=Kind.MESSAGE_POSTED,
        dedupe_key=uuid4().hex,
        occurred_at=timezone.now(),
        data={"message": {"remote_id": uuid4().hex, "text": TEXT}},
    )


def _wait_until_delivered() -> None:
    """Until nothing is on its way but to those that are not there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = Delivery.objects.filter(subscription__failing_since=None, state__in=UNFINISHED)
    waiting = waiting.exclude(subscription__url__endswith="/hang")
    while _are_some_behind() or waiting.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the deliveries do not come to an end")
        time.sleep(LOOK_SECONDS)


def _are_some_behind() -> bool:
    if Unnumbered.objects.exists():
        return True
    return Subscription.objects.exclude(position=sequence.head()).exists()
