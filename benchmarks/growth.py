"""Whether accepting stays as fast as it is while jobs and events pile up.

PostgreSQL makes the rows itself, finished jobs and events of one bot, so that a million of each
take a minute. `python -m benchmarks production growth 10000000` goes on to ten million of each,
for those who have the time and the room (10 GB).
"""

from __future__ import annotations

import sys
from functools import partial

from django.db import connection

from benchmarks import load, rest, servers
from benchmarks.figures import Figure, side_by_side
from benchmarks.rest import EMPTY, SECONDS, TEXT
from bots.models import Bot, Lane

STORED = (1_000, 100_000, 1_000_000)
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
    sizes = [*STORED, *map(int, sys.argv[3:])]
    with servers.botadmin() as port, servers.empty_view() as empty_port:
        bot = Bot.objects.get(slug="echo")
        load.ask(port, rest.wire("stop/", {}))
        messages = rest.messages_for_all()
        wires = [rest.wire("messages/", message) for message in messages]
        nothing = [load.request("/", message, servers.TOKEN) for message in messages]
        figures = []
        stored = 0
        for size in sizes:
            _store(bot, stored + 1, size)
            stored = size
            pairs = side_by_side(
                partial(load.answers_per_second, port, wires, SECONDS),
                partial(load.answers_per_second, empty_port, nothing, SECONDS),
            )
            what = f"messages accepted one by one, with {size:,} stored jobs and events"
            figures.append(Figure(what=what, unit="messages/s", yardstick=EMPTY, **pairs))
        return figures


def _store(bot: Bot, first: int, last: int) -> None:
    lane = Lane.objects.filter(bot=bot).first()
    assert lane is not None, "the demo has one"
    values = {"bot": bot.pk, "lane": lane.pk, "text": TEXT, "first": first, "last": last}
    with connection.cursor() as cursor:
        for statement in (JOBS, EVENTS, "VACUUM ANALYZE bots_job", "VACUUM ANALYZE bots_event"):
            cursor.execute(statement, values)
