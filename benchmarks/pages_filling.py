"""Thousands of everything in PostgreSQL, for `benchmarks.pages`.

The database makes the rows itself, as copies of those of an install that has one of everything;
that takes some minutes.
"""

from __future__ import annotations

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from botadmin.tests.estate import Estate
from bots.models import (
    AuditEntry,
    Bot,
    Connection,
    Delivery,
    Event,
    Incident,
    Job,
    Label,
    Lane,
    Message,
    SequenceEntry,
    Tally,
)
from bots.models.tally import Counted, Minutes
from spaces.models import Participant, Person

BOTS = 5_000
PEOPLE = 20_000
IN_EACH_CHANNEL = 10
JOBS = EVENTS = MESSAGES = 1_000_000
DELIVERIES = 200_000
AUDITED = 200_000
CLOSED_INCIDENTS = 20_000
TALLIES_EACH = 48
LABELLED = 1_000
# The hard crowd: jobs that wait in a few lanes that keep their order, nearly all behind others.
CROWDED_LANES = 20
CROWD = 200_000
# And a lane of jobs for tomorrow, with some that are due behind them.
SCHEDULED, DUE_BEHIND = 20_000, 50

QUIET = "bot-2"  # its last event was long ago
CROWDED = [f"bot-{n}" for n in range(3, 3 + CROWDED_LANES)]
NEWSLETTER = f"bot-{3 + CROWDED_LANES}"

# Whose turn it is: everything is dealt out to the bots in turn, but each fifth to the first one.
DEALT = """(SELECT bot.id AS bot, row_number() OVER (ORDER BY bot.id) - 1 AS turn,
    lane.id AS lane, channel.channel_id AS channel
    FROM bots_bot bot
    JOIN LATERAL (SELECT id FROM bots_lane WHERE bot_id = bot.id ORDER BY id LIMIT 1) lane ON true
    JOIN LATERAL (SELECT channel_id FROM spaces_participant WHERE person_id = bot.person_id
        ORDER BY id LIMIT 1) channel ON true)"""
EACH = """generate_series(1, {number}) n
    JOIN dealt ON turn = CASE WHEN n % 5 = 0 THEN 0
        WHEN n % {bots} = 1 AND n > {number} / 100 THEN 0 ELSE n % {bots} END"""
AGO = "now() - ({number} - n) * interval '90 days' / {number}"
COUNTED = "(SELECT id, row_number() OVER () - 1 AS turn FROM {table} WHERE {column} LIKE '{like}')"


def fill(there: Estate) -> None:
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
    _crowd(there)
    _newsletter(there)
    _labels()
    _run("VACUUM ANALYZE")


def _work(there: Estate) -> None:
    bot = there.bot
    _copy(
        _a_job(there),
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


def _crowd(there: Estate) -> None:
    """What the jobs at the heads of the lanes wait for is something else in each few lanes."""
    lanes = (
        f"(SELECT id, slug, substr(slug, 5)::int - 3 AS turn FROM bots_bot WHERE {_any(CROWDED)}) b"
    )
    _copy(
        Lane.objects.filter(bot=there.bot)[:1].get(),
        lanes,
        bot_id="b.id",
        key="'crowd'",
        ordered="true",
        due_at="now() + interval '1 day' * CASE WHEN turn IN (7, 8, 9) THEN 1 ELSE -1 END",
        claimed_until="CASE WHEN turn IN (3, 4, 5, 6) THEN now() + interval '1 day' END",
        paused_at="CASE WHEN turn IN (12, 13) THEN now() END",
    )
    _copy(
        _a_job(there),
        f"""generate_series(1, {CROWD}) n JOIN (SELECT lane.id, bot_id,
            row_number() OVER (ORDER BY lane.id) - 1 AS turn FROM bots_lane lane
            WHERE key = 'crowd') l ON l.turn = n % {CROWDED_LANES}""",
        bot_id="l.bot_id",
        lane_id="l.id",
        channel_id="NULL",
        key="gen_random_uuid()",
        state="'queued'",
        created_at="now() - interval '2 hours'",
        finished_at="NULL",
    )
    heads = """id IN (SELECT min(job.id) FROM bots_job job JOIN bots_lane lane
        ON lane.id = lane_id WHERE lane.key = 'crowd' GROUP BY lane_id) AND bot_id"""
    _run(f"UPDATE bots_job SET state = 'running', attempts = 1 WHERE {heads} IN {_ids(3, 4)}")
    _run(f"UPDATE bots_job SET error_code = 'unavailable' WHERE {heads} IN {_ids(7, 8)}")
    _run(
        f"""UPDATE bots_job SET attempts = 3, error_code = 'unavailable',
        not_before = now() + interval '1 day' WHERE {heads} IN {_ids(10, 11)}"""
    )
    _run(f"UPDATE bots_bot SET enabled = false WHERE id IN {_ids(14)}")
    _run(f"UPDATE bots_bot SET limited_until = now() + interval '1 day' WHERE id IN {_ids(15)}")
    _run(
        f"""UPDATE bots_connection c SET state = 'bad_credentials', generation = b.generation
        FROM bots_bot b WHERE b.id = c.bot_id AND b.id IN {_ids(16)}"""
    )


def _newsletter(there: Estate) -> None:
    bot = f"(SELECT id FROM bots_bot WHERE slug = '{NEWSLETTER}') b"
    lane = Lane.objects.filter(bot=there.bot)[:1].get()
    _copy(lane, bot, bot_id="b.id", key="'newsletter'", ordered="true", due_at="now()")
    _copy(
        _a_job(there),
        f"""generate_series(1, {SCHEDULED + DUE_BEHIND}) n JOIN
            (SELECT id, bot_id FROM bots_lane WHERE key = 'newsletter') l ON true""",
        bot_id="l.bot_id",
        lane_id="l.id",
        channel_id="NULL",
        key="gen_random_uuid()",
        state="'queued'",
        finished_at="NULL",
        not_before=f"CASE WHEN n <= {SCHEDULED} THEN now() + interval '1 day' END",
    )


def _a_job(there: Estate) -> Job:
    return Job.objects.filter(bot=there.bot, state="succeeded")[:1].get()


def _labels() -> None:
    label = Label.objects.create(name="night shift")
    label.bots.set(Bot.objects.order_by("-pk")[:LABELLED])


def _any(slugs: list[str]) -> str:
    return "slug IN ('{}')".format("', '".join(slugs))


def _ids(*turns: int) -> str:
    """Of crowded bots."""
    return f"(SELECT id FROM bots_bot WHERE {_any([CROWDED[turn] for turn in turns])})"


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
