"""Sends per second over HTTP: queued jobs to posts on a platform, by one worker process.

Each send is an accepted job, marked as running, posted with `requests`, and written down with its
attempt, its message and its event. The yardstick posts the same with bare sessions of `requests`,
one for each of as many threads. The platform is a process of its own that answers at once, or,
as a real one under load, after 20 ms.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import requests
from django.db.models import QuerySet

from benchmarks import quick_platform, quick_server
from benchmarks.entering import enter
from benchmarks.figures import Figure, side_by_side
from bots import jobs, lanes
from bots.models import Bot, Job, JobKind, Receive
from bots.models.lane import UNFINISHED
from spaces.models import Channel

ROOT = Path(__file__).parent.parent
SPACES, BOTS, CHANNELS = 2, 10, 10  # of each: 200 lanes
LANES = SPACES * BOTS * CHANNELS
MESSAGES_EACH = 25  # a run and lane
TEXT = "The quick brown fox jumps over the lazy dog. " * 4
LOOK_SECONDS = 0.03
PATIENCE_SECONDS = 300


def main() -> list[Figure]:
    with quick_server.running(quick_platform.Platform) as url:
        return [
            _figure("quick", url, 16, "a platform that answers at once", aim="1.0"),
            _figure("slow", f"{url}/after-20-ms", 64, "a platform that takes 20 ms", aim="0.8"),
        ]


def _figure(name: str, url: str, threads: int, what: str, *, aim: str) -> Figure:
    bots = make_bots(url, name)
    with worker(threads):
        rates = side_by_side(
            partial(as_jobs, bots, MESSAGES_EACH), partial(bare, url, threads, MESSAGES_EACH)
        )
    return Figure(
        what=f"queued messages in {LANES} lanes sent over HTTP by a worker with {threads} threads"
        f" to {what}",
        unit="messages/s",
        aim=f"a ratio of {aim} or more",
        yardstick=f"{threads} threads with a bare session of requests each",
        **rates,
    )


def as_jobs(bots: Sequence[Bot], each: int) -> float:
    """So many messages for each lane by a worker that runs, per second."""
    pks = [bot.pk for bot in bots]
    Bot.objects.filter(pk__in=pks).update(enabled=False)
    for bot in bots:
        _submit(bot, each)
    Bot.objects.filter(pk__in=pks).update(enabled=True)
    started = time.perf_counter()
    for bot in bots:
        lanes.resume(bot)
    queued = Job.objects.filter(bot__in=pks)
    _wait_until_sent(queued)
    seconds = time.perf_counter() - started
    queued.delete()
    return each * LANES / seconds


def bare(url: str, threads: int, each: int) -> float:
    """As many by sessions of `requests`."""
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        posted = pool.map(partial(_post, url, each * LANES // threads), range(threads))
        return sum(posted) / (time.perf_counter() - started)


def _post(url: str, number: int, thread: int) -> int:
    with requests.Session() as session:
        for n in range(number):
            channel = quick_platform.channel_id(n % CHANNELS)
            body = {"channel_id": channel, "message": TEXT, "pending_post_id": f"{thread}-{n}"}
            headers = {"Authorization": "Bearer token"}
            answer = session.post(f"{url}/api/v4/posts", json=body, headers=headers, timeout=15)
            answer.raise_for_status()
            answer.json()
    return number


def make_bots(url: str, name: str) -> list[Bot]:
    bots: list[Bot] = []
    for n in range(SPACES):
        bots += enter(f"{name}-{n}", url, ["token"] * BOTS, receive=Receive.OFF)
        Channel.objects.bulk_create(
            Channel(space=bots[-1].space, remote_id=quick_platform.channel_id(n), name=f"{n}")
            for n in range(CHANNELS)
        )
    return bots


def _submit(bot: Bot, each: int) -> None:
    channels = Channel.objects.filter(space=bot.space)
    requests = [
        jobs.Request(kind=JobKind.POST, channel=channel, payload={"text": TEXT})
        for channel in channels
        for _ in range(each)
    ]
    jobs.submit_many(bot, requests, requested_by="benchmark")


def _wait_until_sent(queued: QuerySet[Job]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while queued.filter(state__in=UNFINISHED).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the jobs do not come to an end")
        time.sleep(LOOK_SECONDS)
    if failed := queued.exclude(state="succeeded").first():
        raise RuntimeError(f"a job {failed.state}: {failed.error_detail}")


@contextmanager
def worker(threads: int) -> Iterator[None]:
    """As the Procfile starts it."""
    celery = [sys.executable, "-m", "celery", "-A", "botadmin", "worker", "--pool", "threads"]
    process = subprocess.Popen(
        [*celery, "--concurrency", str(threads)],
        cwd=ROOT,
        env=os.environ | {"BOTADMIN_WORKER_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, and we stop it
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
