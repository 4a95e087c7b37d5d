"""How long the server takes for each page, with one bot and with thousands of everything.

PostgreSQL makes the rows itself, as copies of those of an install that has one of everything; that
takes some minutes. A page is asked for as a browser would, without the way over the network: what
is measured is what the server does for it.
"""

from __future__ import annotations

import sys
import time
from itertools import product
from statistics import median

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from benchmarks.figures import RUNS, Figure
from botadmin.tests import estate
from botadmin.tests.estate import Estate
from bots.models import (
    AuditEntry,
    Connection,
    Delivery,
    Event,
    Incident,
    Job,
    Lane,
    Message,
    SequenceEntry,
    Tally,
)
from bots.models.tally import Counted, Minutes
from bots.tests.cast import RUNS as RUNS_BOTS
from spaces.models import Participant, Person

BOTS = 5_000
PEOPLE = 20_000
IN_EACH_CHANNEL = 10
JOBS = EVENTS = MESSAGES = 1_000_000
DELIVERIES = 200_000
AUDITED = 200_000
CLOSED_INCIDENTS = 20_000
TALLIES_EACH = 48
LIMIT_SECONDS = 0.3
SLOWEST = 12  # pages that are reported one by one

# Whose turn it is: everything is dealt out to the bots in turn, but each fifth to the first one.
DEALT = """(SELECT bot.id AS bot, row_number() OVER (ORDER BY bot.id) - 1 AS turn,
    lane.id AS lane, channel.channel_id AS channel
    FROM bots_bot bot
    JOIN LATERAL (SELECT id FROM bots_lane WHERE bot_id = bot.id ORDER BY id LIMIT 1) lane ON true
    JOIN LATERAL (SELECT channel_id FROM spaces_participant WHERE person_id = bot.person_id
        ORDER BY id LIMIT 1) channel ON true)"""
EACH = """generate_series(1, {number}) n
    JOIN dealt ON turn = CASE WHEN n % 5 = 0 THEN 0 ELSE n % {bots} END"""
AGO = "now() - ({number} - n) * interval '90 days' / {number}"
COUNTED = "(SELECT id, row_number() OVER () - 1 AS turn FROM {table} WHERE {column} LIKE '{like}')"


def main() -> list[Figure]:
    there = estate.build()
    root = User.objects.create_superuser("root", password="a password")
    there.keeper.user_permissions.set(Permission.objects.filter(codename__in=RUNS_BOTS))
    paths = sorted({address.path for address in estate.addresses(there)})
    small = {
        asked: taken
        for asked in product((root, there.keeper), paths)
        if (taken := _seconds(*asked))
    }
    print("filling …", file=sys.stderr, flush=True)
    _fill(there)
    large = {asked: _seconds(*asked) for asked in small}
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
            yardstick_values=[seconds * 1000 for seconds in small[user, path]],
            aim=f"at most {LIMIT_SECONDS * 1000:.0f} ms",
        )
        for user, path in slowest[:SLOWEST]
    ]


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


# Filling ----------------------------------------------------------------------------------------


def _fill(there: Estate) -> None:
    bot, channel = there.bot, there.channel
    person = Person.objects.get(pk=bot.person_id)
    _copy(bot, f"generate_series(2, {BOTS}) n", slug="'bot-' || n", name="'Bot ' || n")
    _copy(person, f"generate_series(2, {BOTS}) n", remote_id="'bot-' || n", username="'bot-' || n")
    _run("UPDATE bots_bot b SET person_id = p.id FROM spaces_person p WHERE p.username = b.slug")
    others = f"(SELECT * FROM bots_bot WHERE id <> {bot.pk}) b"
    _copy(Connection.objects.get(bot=bot), others, bot_id="b.id")
    _copy(Lane.objects.filter(bot=bot)[:1].get(), others, bot_id="b.id")
    _run(
        f"""INSERT INTO bots_bot_groups (bot_id, group_id)
        SELECT id, {bot.groups.get().pk} FROM bots_bot WHERE id % 2 = 1 ON CONFLICT DO NOTHING"""
    )
    _copy(channel, f"generate_series(2, {BOTS}) n", remote_id="'c' || n", name="'channel-' || n")
    _copy(
        person,
        f"generate_series(1, {PEOPLE}) n",
        remote_id="'person-' || n",
        username="'person-' || n",
    )
    participant = Participant.objects.filter(channel=channel)[:1].get()
    in_its_own = "bots_bot b JOIN spaces_channel c ON c.name = 'channel-' || substr(b.slug, 5)"
    _copy(participant, in_its_own, channel_id="c.id", person_id="b.person_id")
    channels = COUNTED.format(table="spaces_channel", column="name", like="channel-%")
    people = COUNTED.format(table="spaces_person", column="username", like="person-%")
    _copy(
        participant,
        f"""generate_series(1, {BOTS * IN_EACH_CHANNEL}) n
        JOIN {channels} c ON c.turn = n % ({BOTS} - 1) JOIN {people} p ON p.turn = n % {PEOPLE}""",
        channel_id="c.id",
        person_id="p.id",
        conflict="ON CONFLICT DO NOTHING",
    )
    _run(f"CREATE TABLE dealt AS SELECT * FROM {DEALT} dealt")
    _work(there)
    _run("VACUUM ANALYZE")


def _work(there: Estate) -> None:
    bot = there.bot
    _copy(
        Job.objects.filter(bot=bot, state="succeeded")[:1].get(),
        EACH.format(number=JOBS, bots=BOTS),
        bot_id="dealt.bot",
        lane_id="dealt.lane",
        channel_id="dealt.channel",
        key="gen_random_uuid()",
        state=f"""CASE WHEN n > {JOBS} - 10000 THEN 'queued' WHEN n % 50 = 0 THEN 'failed'
            WHEN n % 9999 = 0 THEN 'uncertain' ELSE 'succeeded' END""",
        error_code="CASE WHEN n % 50 = 0 THEN 'code_' || n % 7 ELSE '' END",
        created_at=AGO.format(number=JOBS),
        finished_at=f"CASE WHEN n > {JOBS} - 10000 THEN NULL ELSE {AGO.format(number=JOBS)} END",
    )
    _copy(
        Event.objects.filter(bot=bot, kind="message.posted")[:1].get(),
        EACH.format(number=EVENTS, bots=BOTS),
        bot_id="dealt.bot",
        channel_id="dealt.channel",
        dedupe_key="'bench-' || n",
        kind="CASE WHEN n % 500 = 0 THEN 'connection.changed' ELSE 'message.posted' END",
        occurred_at=AGO.format(number=EVENTS),
        stored_at=AGO.format(number=EVENTS),
    )
    entry = SequenceEntry.objects.order_by("-seq")[:1].get()
    _copy(
        entry,
        "(SELECT * FROM bots_event WHERE dedupe_key LIKE 'bench-%') e",
        seq=f"{entry.seq} + e.id",
        event_id="e.id",
        bot_id="e.bot_id",
        channel_id="e.channel_id",
        kind="e.kind",
    )
    _copy(
        Message.objects.filter(bot=bot)[:1].get(),
        EACH.format(number=MESSAGES, bots=BOTS),
        bot_id="dealt.bot",
        channel_id="dealt.channel",
        remote_id="'bench-' || n",
        sent_at=AGO.format(number=MESSAGES),
        job_id="NULL",
    )
    _copy(
        Delivery.objects.all()[:1].get(),
        f"(SELECT * FROM bots_sequenceentry ORDER BY seq DESC LIMIT {DELIVERIES}) e",
        event_id="e.event_id",
        seq="e.seq",
        state="CASE WHEN e.seq % 100 = 0 THEN 'queued' ELSE 'succeeded' END",
    )
    _copy(
        AuditEntry.objects.all()[:1].get(),
        EACH.format(number=AUDITED, bots=BOTS),
        bot_id="dealt.bot",
        at=AGO.format(number=AUDITED),
    )
    _copy(
        Incident.objects.all()[:1].get(),
        EACH.format(number=CLOSED_INCIDENTS, bots=BOTS),
        bot_id="dealt.bot",
        key="'bot:' || n",
        closed_at=f"CASE WHEN n > {CLOSED_INCIDENTS} - 200 THEN NULL ELSE now() END",
    )
    tally = Tally.objects.create(
        bot_id=bot.pk, minutes=Minutes.MANY, at=timezone.now(), what=Counted.SENT, count=3
    )
    _copy(
        tally,
        f"bots_bot b, generate_series(1, {TALLIES_EACH}) n",
        bot_id="b.id",
        at="date_trunc('hour', now()) - n * interval '30 minutes'",
        conflict="ON CONFLICT DO NOTHING",
    )


def _copy(row: Model, others: str, *, conflict: str = "", **changes: str) -> None:
    """Copies of a row, one for each of `others`, with these columns as SQL says."""
    meta = row._meta
    columns = [
        field.column
        for field in meta.concrete_fields
        if not field.primary_key or field.column in changes
    ]
    values = ", ".join(changes.get(column, f'source."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    # As they would have come: not all of one bot, and then all of the next.
    order = "ORDER BY n" if ") n" in others else ""
    _run(
        f'INSERT INTO "{meta.db_table}" ({names}) SELECT {values} '
        f'FROM {others}, "{meta.db_table}" source '
        f'WHERE source."{meta.pk.column}" = {row.pk} {order} {conflict}'
    )


def _run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
