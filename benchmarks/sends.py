"""Sends per second on the local platform: queued jobs, drained by a real worker with its threads.

Each send is an accepted job, marked as running, posted, and written down with its attempt, its
message and its event. The yardstick is what the platform does alone: `post_message` in a loop.
"""

from __future__ import annotations

import time
from itertools import count

from django.conf import settings

from benchmarks.figures import Figure, side_by_side
from benchmarks.scene import make_bots
from benchmarks.waiting import wait_for_jobs
from botadmin.celery import app
from botadmin.embedded.parts import Worker
from bots import clients, jobs, lifecycle, targets
from bots.models import Bot, JobKind
from spaces.models import Channel
from spaces.platforms.messages import Outgoing

MESSAGES = 500  # a run
BOTS = 4
TEXT = "The quick brown fox jumps over the lazy dog. " * 4
READY_SECONDS = 30
_numbers = count()


def main() -> list[Figure]:
    bots = make_bots(BOTS)
    channels = list(targets.channels_of(bots[0]))
    worker = Worker(app, threads=settings.BOTADMIN_WORKER_THREADS)
    worker.start()
    worker.wait_until_ready(READY_SECONDS)

    def as_jobs() -> float:
        for bot in bots:
            lifecycle.stop(bot)
            _submit(bot, channels, MESSAGES // BOTS)
        started = time.perf_counter()
        for bot in bots:
            lifecycle.start(bot)
        wait_for_jobs()
        return MESSAGES / (time.perf_counter() - started)

    def bare() -> float:
        with clients.borrow(bots[0]) as platform:
            started = time.perf_counter()
            for number in range(MESSAGES):
                channel = channels[number % len(channels)]
                key = f"bare-{next(_numbers)}"
                platform.post_message(Outgoing(key=key, channel=channel.remote_id, text=TEXT))
            return MESSAGES / (time.perf_counter() - started)

    return [
        Figure(
            what=f"queued messages of {BOTS} bots in {len(channels)} channels each delivered by"
            f" a worker with {settings.BOTADMIN_WORKER_THREADS} threads",
            unit="messages/s",
            yardstick="bare calls of Local.post_message, one after another",
            **side_by_side(as_jobs, bare),
        )
    ]


def _submit(bot: Bot, channels: list[Channel], number: int) -> None:
    requests = [
        jobs.Request(kind=JobKind.POST, channel=channels[n % len(channels)], payload={"text": TEXT})
        for n in range(number)
    ]
    jobs.submit_many(bot, requests, requested_by="benchmark")
