"""Whether accepting and sending stay as fast while jobs and events pile up, and with many bots.

PostgreSQL makes the rows itself, finished jobs and events of one bot; ten million of each take some
minutes and 10 GB. What is measured changes between the first figure and the last, and so does the
machine: the ratios to the yardsticks beside them are what can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.db import connection

from benchmarks import http_sends, load, quick_platform, quick_server, rest, servers
from benchmarks.entering import enter
from benchmarks.figures import Figure, side_by_side
from benchmarks.rest import EMPTY, SECONDS, TEXT
from bots.models import Bot, Lane, Receive

STORED = (1_000, 100_000, 10_000_000)
BOTS = (25, 1_000, 5_000)
THREADS = 16
MESSAGES_EACH = 10  # sent a run and lane
JOBS = """
    INSERT INTO bots_job (lane_id, state, attempts, error_code, error_detail, bot_id, kind, payload,
        priority, key, requested_by, result, next_step, finished_at)
    SELECT %(lane)s, 'succeeded', 1, '', '', %(bot)s, 'message.post',
        jsonb_build_object('text', %(text)s), 0, gen_random_uuid(), 'bench', '{}', '', now()
    FROM generate_series(%(first)s, %(last)s)
"""
EVENTS = """
    INSERT INTO bots_event (bot_id, kind, dedupe_key, occurred_at, catch_up, data, raw)
    SELECT %(bot)s, 'message.posted', 'bench-' || n, now(), false,
        jsonb_build_object('text', %(text)s), '{}'
    FROM generate_series(%(first)s, %(last)s) AS n
"""


def main() -> list[Figure]:
    with (
        servers.botadmin() as port,
        servers.empty_view() as empty_port,
        quick_server.running(quick_platform.Platform) as url,
        http_sends.worker(THREADS),
    ):
        load.ask(port, rest.wire("stop/", {}))  # what is accepted waits
        messages = rest.messages_for_all()
        accept, nothing = (
            partial(load.answers_per_second, *how, SECONDS)
            for how in (
                (port, [rest.wire("messages/", message) for message in messages]),
                (empty_port, [load.request("/", message, servers.TOKEN) for message in messages]),
            )
        )
        senders = http_sends.make_bots(url, "sender")
        send = partial(http_sends.as_jobs, senders, MESSAGES_EACH)
        bare = partial(http_sends.bare, url, THREADS, MESSAGES_EACH)

        def both(condition: str) -> list[Figure]:
            sessions = f"{THREADS} threads with a bare session of requests each"
            return [
                _figure("messages accepted one by one", condition, accept, EMPTY, nothing),
                _figure("queued messages sent over HTTP", condition, send, sessions, bare),
            ]

        figures: list[Figure] = []
        for number in BOTS:
            there_are = Bot.objects.count()
            enter(f"to-{number}", url, ["token"] * (number - there_are), receive=Receive.OFF)
            figures += both(f"with {max(number, there_are):,} bots")
        stored = 0
        for size in STORED:
            _store(Bot.objects.get(slug="echo"), stored + 1, size)
            stored = size
            figures += both(f"with {size:,} stored jobs and events")
        return figures


def _figure(
    what: str,
    condition: str,
    measure: Callable[[], float],
    yardstick: str,
    measure_yardstick: Callable[[], float],
) -> Figure:
    pairs = side_by_side(measure, measure_yardstick)
    what = f"{what}, {condition}"
    return Figure(what=what, unit="messages/s", yardstick=yardstick, **pairs)


def _store(bot: Bot, first: int, last: int) -> None:
    lane = Lane.objects.filter(bot=bot).first()
    assert lane is not None, "the demo has one"
    values = {"bot": bot.pk, "lane": lane.pk, "text": TEXT, "first": first, "last": last}
    with connection.cursor() as cursor:
        for statement in (JOBS, EVENTS, "VACUUM ANALYZE bots_job", "VACUUM ANALYZE bots_event"):
            cursor.execute(statement, values)
