"""What runs and what waits, as the rows in the database tell it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from botadmin.doctor.broker import answering_workers
from botadmin.doctor.findings import error, ok, seconds, warning
from bots import health, processes
from bots.connections import states, supervisor
from bots.lanes import due_lanes
from bots.models import Attempt, Connection, Job, Process, Receive, State, WorkState
from spaces.platforms.messages import Finding

LATE = timedelta(seconds=30)
OVERDUE = timedelta(seconds=health.LONGEST_OVERDUE_SECONDS)
CLOCK_OFF_SECONDS = 2.0
CLOCK_WRONG_SECONDS = 30.0
ATTEMPTS_COMPARED = 200
START_WORKER = "Start one: celery -A botadmin worker --pool threads (or manage.py up)."
START_CONNECTIONS = "Start more: celery -A botadmin worker --pool threads --connections 500."
START_BEAT = "Start one: celery -A botadmin beat."


def workers() -> Iterator[Finding]:
    working, answering = health.workers(), answering_workers()
    if working or answering:
        count = max(working, answering or 0)
        yield ok("workers_alive", f"{_count(count, 'worker')} at work.")
    elif answering is None:
        text = "No process ran a task lately."
        yield error("workers_none", text, f"{START_WORKER} It needs the broker.")
    else:
        text = "No worker runs: none ran a task lately, and none answers."
        yield error("workers_none", text, START_WORKER)


def beat() -> Iterator[Finding]:
    """It sends a task each second that leaves its mark, if a worker takes it."""
    last = Process.objects.aggregate(at=Max("worked_at"))["at"]
    if last is None:
        text = "No periodic task has run for minutes."
        yield error("beat_silent", text, f"{START_BEAT} It needs the broker and a worker.")
    elif not health.workers():
        text = f"The last periodic task ran {_ago(last)} ago."
        yield error("beat_silent", text, f"{START_BEAT} It needs the broker and a worker.")
    else:
        yield ok("beat_ticks", f"The last periodic task ran {_ago(last)} ago.")


def silent_processes() -> Iterator[Finding]:
    """Those that hold connections say every two seconds that they live."""
    silent = Process.objects.filter(connections__gt=0).exclude(pk__in=processes.alive())
    for name, seen_at in silent.values_list("name", "seen_at"):
        yield warning(
            "process_silent",
            f"The process {name} has been silent for {_ago(seen_at)}.",
            "If it was not stopped: look into its log, and start it again.",
        )


def clock() -> Iterator[Finding]:
    if connection.vendor != "postgresql":
        return  # SQLite asks the same clock as we
    before = timezone.now()
    off = abs((_database_now() - (before + (timezone.now() - before) / 2)).total_seconds())
    text = f"The clocks of this machine and of the database differ by {seconds(off)}."
    remedy = "Let both take their time from NTP."
    if off > CLOCK_WRONG_SECONDS:
        yield error("clock_wrong", text, remedy)
    elif off > CLOCK_OFF_SECONDS:
        yield warning("clock_off", text, remedy)
    else:
        yield ok("clock_right", "The clocks of this machine and of the database agree.")


def clocks_of_processes() -> Iterator[Finding]:
    """A try is dated by the worker's clock, and its job was begun before, by the database's."""
    latest = Attempt.objects.order_by("-pk")[:ATTEMPTS_COMPARED]
    now = _database_now()
    rows = list(latest.values_list("at", "job__started_at"))
    ahead = max(((at - now).total_seconds() for at, _ in rows), default=0.0)
    behind = max(((begun - at).total_seconds() for at, begun in rows if begun), default=0.0)
    for off, way in ((ahead, "ahead of"), (behind, "behind")):
        if off > CLOCK_OFF_SECONDS:
            yield warning(
                "clock_of_worker_off",
                f"The clock of a worker was {seconds(off)} {way} that of the database.",
                "Let all machines take their time from NTP.",
            )


def leases() -> Iterator[Finding]:
    """Whether somebody alive holds every connection that should be held."""
    wanted = supervisor.wanted().count()
    alive = processes.alive().filter(connections__gt=0)
    room = alive.aggregate(sum=Sum("connections"))["sum"] or 0
    held = Connection.objects.filter(bot__receive=Receive.WEBSOCKET).exclude(holder="")
    by_dead = held.filter(lease_until__gt=Now()).exclude(holder__in=alive.values("name"))
    if dead := by_dead.count():
        yield warning(
            "leases_of_dead",
            f"{_count(dead, 'connection')} held by processes that are silent.",
            "Others take them over within seconds. If not, start a connections process.",
        )
    if unheld := _unheld().count():
        yield error(
            "leases_overdue",
            f"Nobody has held {_count(unheld, 'wanted connection', verb='')} for {seconds(30)}.",
            START_CONNECTIONS,
        )
    if wanted > room:
        yield error(
            "connections_no_room",
            f"{_count(wanted, 'connection')} wanted, and there is room for {room}.",
            START_CONNECTIONS,
        )
    elif not dead and not unheld:
        yield ok("leases_held", f"{_count(wanted, 'connection')} wanted, and there is room.")


def _unheld() -> QuerySet[Connection]:
    gone = Q(lease_until__lt=Now() - LATE) | Q(lease_until=None, since__lt=Now() - LATE)
    waits = Q(not_before__gt=Now() - LATE)  # for its time, or has not been due for long
    return supervisor.wanted().filter(gone).filter(states.due()).exclude(waits)


def polls() -> Iterator[Finding]:
    wanted = Connection.objects.filter(states.startable(), bot__receive=Receive.POLL)
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    overdue = wanted.filter(free, not_before__lt=Now() - states.POLL_OVERDUE)
    if late := overdue.count():
        yield error(
            "polls_overdue",
            f"{_count(late, 'bot')} overdue to ask for news.",
            "See that beat and workers run, and start more workers if they do.",
        )


def refused_bots() -> Iterator[Finding]:
    refused = Q(state=State.BAD_CREDENTIALS) | Q(state=State.MISCONFIGURED)
    rows = Connection.objects.filter(refused, bot__enabled=True, generation=F("bot__generation"))
    slugs = list(rows.order_by("bot__slug").values_list("bot__slug", flat=True)[:5])
    if slugs:
        yield warning(
            "bots_refused",
            f"{_count(rows.count(), 'bot')} refused by a platform: {', '.join(slugs)} …",
            "Press Test on the bot's page, and do what it says.",
        )


def lanes() -> Iterator[Finding]:
    """Due long ago, and nobody takes them."""
    late = due_lanes().filter(due_at__lt=Now() - LATE)
    found = late.aggregate(oldest=Min("due_at"))["oldest"]
    if found is None:
        yield ok("lanes_on_time", "No work waits for a worker.")
        return
    text = f"{_count(late.count(), 'lane')} due and not taken, the first for {_ago(found)}."
    remedy = "Start more workers; the page of lanes and the log of the workers say what hangs."
    is_stuck = late.filter(due_at__lt=Now() - OVERDUE).exists()
    yield error("lanes_stuck", text, remedy) if is_stuck else warning("lanes_late", text, remedy)


def uncertain_jobs() -> Iterator[Finding]:
    if count := Job.objects.filter(state=WorkState.UNCERTAIN).count():
        yield warning(
            "jobs_uncertain",
            f"{_count(count, 'job')} uncertain: nobody knows whether they were done.",
            "Look into the channels, then resolve them on their pages.",
        )


def _database_now() -> datetime:
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return _first(cursor.fetchall())


def _first(rows: Iterable[Any]) -> Any:
    return next(iter(rows))[0]


def _ago(moment: datetime) -> str:
    return seconds(max(0.0, (timezone.now() - moment).total_seconds()))


def _count(number: int, what: str, verb: str | None = None) -> str:
    """3 jobs are, 1 job is."""
    verb = ("is" if number == 1 else "are") if verb is None else verb
    return f"{number} {what}{'' if number == 1 else 's'} {verb}".rstrip()
