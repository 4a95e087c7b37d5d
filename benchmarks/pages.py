"""How long the server takes for each page, with one bot and with thousands of everything; and for
what operators really open: lists that are searched, narrowed down and turned over.

What there is a lot of is in `benchmarks.pages_filling`. A page is asked for as a browser would,
without the way over the network: what is measured is what the server does for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from itertools import product
from statistics import median
from urllib.parse import urlencode

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks.figures import RUNS, Figure
from benchmarks.pages_filling import BOTS, CROWDED, JOBS, NEWSLETTER, QUIET, fill
from botadmin.tests import estate
from botadmin.tests.estate import Estate
from bots.admin.bot_pieces import PIECES
from bots.models import Bot, Lane
from bots.stuck import Why
from bots.tests.cast import RUNS as RUNS_BOTS

LIMIT_SECONDS = 0.3
SLOWEST = 20  # pages that are reported one by one

JOB_LISTS: tuple[dict[str, object], ...] = (
    *({"why": why.value} for why in Why),
    *({"waits": length} for length in ("minute", "hour")),
    *({"since": length} for length in ("hour", "day", "week")),
    *({"state__exact": state} for state in ("queued", "failed", "uncertain")),
    {"state__exact": "failed", "error_code": "code_3", "since": "day"},
    {"error_code": "no_such_code"},
    {"kind__exact": "channel.create"},
    {"by": "alice"},
    {"q": "no such words"},
    {"q": "4711"},
    {"p": 2},
)
BOT_LISTS: tuple[dict[str, object], ...] = (
    *({"q": words} for words in ("bot-4711", "no such words", "night shift")),
    *({"state": state} for state in ("live", "stale", "needs_somebody")),
    *({"o": order} for order in (1, 2, -5)),
    {"label": "night shift"},
    {"label": "night shift", "state": "starting", "p": 2},
    {"p": 2},
)
LANE_LISTS: tuple[dict[str, object], ...] = (
    *({"kind__exact": kind} for kind in ("jobs", "handlers", "deliveries")),
    *({"paused": answer} for answer in ("yes", "no")),
    {"q": "crowd"},
    {"p": 2},
)


Asked = tuple[User, str]


def main() -> list[Figure]:
    there = estate.build()
    root = User.objects.create_superuser("root", password="a password")
    there.keeper.user_permissions.set(Permission.objects.filter(codename__in=RUNS_BOTS))
    users = (root, there.keeper)
    paths = sorted({address.path for address in estate.addresses(there)} | set(_lists()))
    small = _measured(product(users, paths))
    print("filling …", file=sys.stderr, flush=True)
    fill(there)
    crowded = dict(_crowded(there))
    large = _measured(small) | _measured(product(users, crowded))
    slowest = sorted(large, key=lambda asked: median(large[asked]), reverse=True)
    for user, path in slowest:
        took = median(large[user, path]) * 1000
        print(f"{took:8.0f} ms {_queries(user, path):4} queries {user} {path}", file=sys.stderr)
    return [
        Figure(
            what=f"{path} for {user}, {BOTS:,} bots and {JOBS:,} jobs, events and messages",
            unit="ms",
            values=[seconds * 1000 for seconds in large[user, path]],
            yardstick="the same page with one of everything",
            yardstick_values=[seconds * 1000 for seconds in small[user, crowded.get(path, path)]],
            aim=f"at most {LIMIT_SECONDS * 1000:.0f} ms",
        )
        for user, path in slowest[:SLOWEST]
    ]


def _lists() -> Iterator[str]:
    """Lists as operators narrow them down."""
    for name, queries in (("job", JOB_LISTS), ("bot", BOT_LISTS), ("lane", LANE_LISTS)):
        for query in queries:
            yield f"{reverse(f'admin:bots_{name}_changelist')}?{urlencode(query)}"
    for name in ("retry", "cancel"):
        for query in ({"state__exact": "queued"}, {"why": Why.BEHIND.value}):
            yield f"{reverse('admin:bots_job_all', args=[name])}?{urlencode(query)}"


def _crowded(there: Estate) -> Iterator[tuple[str, str]]:
    """Pages of bots and lanes with a crowd in them, or quiet for long, and pages like them that
    were there when there was one of everything."""
    for bot in Bot.objects.filter(slug__in=(QUIET, CROWDED[0], NEWSLETTER)):
        for name in ("change", "work", "history"):
            yield _of_bot(bot, name), _of_bot(there.bot, name)
        jobs = reverse("admin:bots_job_changelist")
        yield f"{jobs}?bot__id__exact={bot.pk}", f"{jobs}?state__exact=queued"
    like = Lane.objects.filter(bot=there.bot).order_by("pk")[:1].get()
    for lane in Lane.objects.filter(key__in=("crowd", "newsletter")).order_by("-pk")[:2]:
        for name in ("change", "cancel"):
            url = f"admin:bots_lane_{name}"
            yield reverse(url, args=[lane.pk]), reverse(url, args=[like.pk])


def _of_bot(bot: Bot, name: str) -> str:
    if name in PIECES:
        return reverse("admin:bots_bot_piece", args=[bot.pk, name])
    return reverse(f"admin:bots_bot_{name}", args=[bot.pk])


def _measured(asked: Iterable[Asked]) -> dict[Asked, list[float]]:
    """How long each took, without those for which there is no page for this user."""
    return {one: taken for one in asked if (taken := _seconds(*one))}


def _seconds(user: User, path: str) -> list[float]:
    """Of each run; empty where there is no page for this user."""
    client = _client(user)
    if client.get(path).status_code != 200:
        return []
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        client.get(path)
        taken.append(time.perf_counter() - started)
    return taken


def _queries(user: User, path: str) -> int:
    client = _client(user)
    with CaptureQueriesContext(connection) as asked:
        client.get(path)
    return len(asked)


def _client(user: User) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    return client
