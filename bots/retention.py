"""Retention: what is older than its space wants is removed, a little at a time.

Beat starts a run every minute. A run walks through each table by primary key, a thousand rows at a
time, and stops after a few seconds; the next goes on where it stopped, and after the end of a table
an hour passes until the next walk. Each thousand is removed in a transaction of its own, which
skips rows that somebody else has locked, so nobody waits for a run and runs may overlap.

What stays, however old: jobs that have not ended or are uncertain, with their attempts; events
that a handler has yet to answer or a subscriber to take; and the events that a catch-up may tell
again, for only those that are stored are recognised. With rows go those that mean nothing without
them, lanes included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Least, Now
from django.utils import timezone

from bots import bulk, idempotency
from bots.inbox import is_deadlock
from bots.models import (
    Attempt,
    AuditEntry,
    Bot,
    Delivery,
    DeliveryAttempt,
    Event,
    HandlerRun,
    Job,
    Lane,
    Message,
    Pruning,
    Receive,
    SequenceEntry,
    State,
    StoredFile,
    Unnumbered,
)
from bots.models.lane import FINISHED, UNFINISHED
from spaces.models import Space
from spaces.platforms.messages import Kind

BATCH = 1_000  # rows per transaction
TABLE_SECONDS = 3.0  # of a run, for each table
LONGEST_REST_SECONDS = 0.1
PAUSE = timedelta(hours=1)  # between the end of a walk and the next
# Catching up tells again what happened shortly before the position. That is at the newest message
# or later; this is more than any platform goes back.
TOLD_AGAIN = timedelta(days=1)
# No platform tells of these again.
TOLD_ONCE = frozenset(
    {
        Kind.JOB_FINISHED,
        Kind.CONNECTION_CHANGED,
        Kind.INCIDENT_OPENED,
        Kind.INCIDENT_CLOSED,
        Kind.TYPING,
    }
)
MESSAGES = Message._meta.db_table
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What of one bot may go: all that is older. `NEVER` where everything stays."""

    events: datetime
    told: datetime  # and that happened before, where a platform may tell it again
    attempts: datetime  # also those of deliveries, and these with them
    runs: datetime
    jobs: datetime
    messages: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How one table is walked through. `rows` have all that the others look at."""

    rows: QuerySet[Any]
    age: Callable[[Any], datetime]  # grows with the primary key, by and large
    limit: Callable[[Limits], datetime]  # nothing that is younger goes
    bot_id: Callable[[Any], int | None]
    is_over: Callable[[Any, Limits], bool]
    remove: Callable[[Sequence[Any]], int]  # within a transaction, rows that are locked

    @property
    def name(self) -> str:
        return self.rows.model._meta.db_table


def prune() -> int:
    """Remove what is too old, for a few seconds; returns how many rows, not counting those that
    went with them."""
    removed = _prune_sessions() + _prune_audit()
    if marks := _marks():
        limits = _limits()
        for table in TABLES:
            if mark := marks.get(table.name):
                removed += _walk(table, mark, limits)
        if mark := marks.get(MESSAGES):
            removed += _prune_messages(mark, limits)
    return removed


# What may go ------------------------------------------------------------------------------------


def _limits() -> dict[int | None, Limits]:
    """By bot; without those of which everything stays. What is of none goes as in a new space."""
    now = timezone.now()
    newest = Event.objects.filter(bot=OuterRef("pk"), kind=Kind.MESSAGE_POSTED).order_by("-pk")
    bots = Bot.objects.select_related("space", "connection").annotate(
        newest_message_at=Subquery(newest.values(at=Least("occurred_at", "stored_at"))[:1])
    )
    found: dict[int | None, Limits | None] = {
        bot.pk: _limits_of(bot.space, now, told=_told_again_before(bot, now))
        for bot in bots.order_by("pk").iterator()
    }
    found[None] = _limits_of(Space(), now, told=now)
    return {pk: limits for pk, limits in found.items() if limits is not None}


def _limits_of(space: Space, now: datetime, *, told: datetime) -> Limits | None:
    runs = min(filter(None, (space.keep_attempts_days, space.keep_jobs_days)), default=0)
    days = {
        "events": space.keep_events_days,
        "attempts": space.keep_attempts_days,
        # A run that failed may be tried again, and asks then what became of the jobs it sent.
        "runs": runs,
        "jobs": space.keep_jobs_days,
        "messages": space.keep_messages_days,
    }
    if not any(days.values()):
        return None
    ages = {name: now - timedelta(days=n) if n else NEVER for name, n in days.items()}
    return Limits(**ages, told=told)


def _told_again_before(bot: Any, now: datetime) -> datetime:
    """What happened earlier is behind the bot's position, wherever its platform keeps that."""
    connection = bot.connection
    if not connection.cursor:
        return now  # it never caught up, so nothing is told again
    follows = bot.receive in (Receive.WEBSOCKET, Receive.POLL) and connection.state == State.LIVE
    if not follows or bot.newest_message_at is None:
        return NEVER  # the position rests, while webhooks may go on telling
    return bot.newest_message_at - TOLD_AGAIN


def _is_event_over(event: Event, limits: Limits) -> bool:
    if event.stored_at >= limits.events:
        return False
    return event.kind in TOLD_ONCE or event.occurred_at < limits.told


def _is_attempt_over(attempt: Attempt, limits: Limits) -> bool:
    return attempt.at < limits.attempts and attempt.job.state in FINISHED


def _is_run_over(run: HandlerRun, limits: Limits) -> bool:
    # By its creation: nothing that it sent ended earlier, so it goes before its jobs do.
    return run.created_at < limits.runs and run.state in FINISHED


def _is_delivery_over(delivery: Delivery, limits: Limits) -> bool:
    return delivery.created_at < limits.attempts and delivery.state in FINISHED


def _is_job_over(job: Job, limits: Limits) -> bool:
    ended = job.finished_at if job.state in FINISHED else None
    return ended is not None and ended < limits.jobs


# Walking ----------------------------------------------------------------------------------------


def _walk(table: Table, mark: Pruning, limits: Mapping[int | None, Limits]) -> int:
    """Go on through a table for a while; returns how many rows were removed."""
    youngest = max(map(table.limit, limits.values()), default=NEVER)
    until = time.monotonic() + TABLE_SECONDS
    reached, removed = mark.reached, 0
    while True:
        began = time.monotonic()
        rows = list(table.rows.filter(pk__gt=reached).order_by("pk")[:BATCH])
        removed += _remove(table, rows, limits)
        # Ids are given in the order of time, but for those of processes with a wrong clock.
        if len(rows) < BATCH or all(table.age(row) >= youngest for row in rows):
            _leave_mark(mark, ended=True)
            return removed
        reached = rows[-1].pk
        if time.monotonic() >= until:
            _leave_mark(mark, reached=reached)
            return removed
        _rest(began)


def _remove(table: Table, seen: Sequence[Any], limits: Mapping[int | None, Limits]) -> int:
    """Remove what of these rows is over, and still is when it is locked."""

    def is_over(row: Any) -> bool:
        its = limits.get(table.bot_id(row))
        return its is not None and table.is_over(row, its)

    if not (ids := [row.pk for row in seen if is_over(row)]):
        return 0
    try:
        with transaction.atomic():
            free = table.rows.filter(pk__in=ids).select_for_update(skip_locked=True, of=("self",))
            rows = [row for row in free.order_by("pk") if is_over(row)]
            return table.remove(rows) if rows else 0
    except OperationalError as error:
        if is_deadlock(error):
            return 0  # whoever else was part of it goes first; these are found again
        raise


def _marks() -> dict[str, Pruning]:
    """How far earlier runs came, of the tables that do not rest."""
    names = {*(table.name for table in TABLES), MESSAGES}
    known = set(Pruning.objects.values_list("table", flat=True))
    new = [Pruning(table=name) for name in sorted(names - known)]
    Pruning.objects.bulk_create(new, ignore_conflicts=True)
    due = Pruning.objects.filter(table__in=names).exclude(ended_at__gt=Now() - PAUSE)
    return {mark.table: mark for mark in due}


def _leave_mark(mark: Pruning, *, reached: int = 0, ended: bool = False) -> None:
    changes: dict[str, Any] = {"reached": reached, "ended_at": Now() if ended else None}
    Pruning.objects.filter(pk=mark.pk).update(**changes)


def _rest(began: float) -> None:
    """Leave the database to others for as long as it was ours: SQLite's writers do not queue up
    in order, and who writes again at once would keep them out."""
    time.sleep(min(time.monotonic() - began, LONGEST_REST_SECONDS))


# Removing, with what means nothing without it ---------------------------------------------------


def _remove_events(events: Sequence[Event]) -> int:
    runs = HandlerRun.objects.filter(event__in=[event.pk for event in events])
    locked = list(runs.select_for_update().order_by("pk").only("event_id", "state", "lane_id"))
    rows = Delivery.objects.filter(event__in=[event.pk for event in events])
    deliveries = list(rows.select_for_update().order_by("pk").only("event_id", "state", "lane_id"))
    wanted = {run.event_id for run in locked if run.state in UNFINISHED}
    wanted |= {row.event_id for row in deliveries if row.state in UNFINISHED}
    _remove_runs([run for run in locked if run.event_id not in wanted])
    _remove_deliveries([row for row in deliveries if row.event_id not in wanted])
    ids = [event.pk for event in events if event.pk not in wanted]
    Unnumbered.objects.filter(event__in=ids).delete()  # first: whoever numbers it waits, or is done
    SequenceEntry.objects.filter(event__in=ids).delete()
    bulk.delete(Event, ids)
    return len(ids)


def _remove_deliveries(deliveries: Sequence[Delivery]) -> int:
    ids = [delivery.pk for delivery in deliveries]
    DeliveryAttempt.objects.filter(delivery__in=ids).delete()
    bulk.delete(Delivery, ids)
    _remove_lanes({delivery.lane_id for delivery in deliveries})
    return len(ids)


def _remove_runs(runs: Sequence[HandlerRun]) -> int:
    ids = [run.pk for run in runs]
    idempotency.forget_runs(ids)
    bulk.delete(HandlerRun, ids)
    _remove_lanes({run.lane_id for run in runs})
    return len(ids)


def _remove_attempts(attempts: Sequence[Attempt]) -> int:
    bulk.delete(Attempt, [attempt.pk for attempt in attempts])
    return len(attempts)


def _remove_jobs(jobs: Sequence[Job]) -> int:
    ids = [job.pk for job in jobs]
    Attempt.objects.filter(job__in=ids).delete()
    Message.objects.filter(job__in=ids).update(job=None)
    StoredFile.objects.filter(job__in=ids).update(job=None)
    HandlerRun.objects.filter(answer__in=ids).update(answer=None)
    bulk.delete(Job, ids)
    _remove_lanes({job.lane_id for job in jobs})
    return len(ids)


def _remove_lanes(lane_ids: set[int]) -> None:
    """Of these, the lanes in which nothing is left. Who is just putting something in has locked
    its lane, and made it due when it lets go."""
    if not lane_ids:
        return
    empty = Lane.objects.filter(
        ~Exists(Job.objects.filter(lane=OuterRef("pk"))),
        ~Exists(HandlerRun.objects.filter(lane=OuterRef("pk"))),
        ~Exists(Delivery.objects.filter(lane=OuterRef("pk"))),
        pk__in=lane_ids,
        due_at=None,
        claimed_until=None,
        paused_at=None,  # somebody wants nothing to begin in it, now or later
    )
    locked = empty.select_for_update(skip_locked=True).order_by("pk")
    bulk.delete(Lane, list(locked.values_list("pk", flat=True)))


# Those first that refer to others: a handler run goes before the jobs it sent.
TABLES = (
    Table(
        rows=HandlerRun.objects.only("bot_id", "lane_id", "event_id", "state", "created_at"),
        age=lambda run: run.created_at,
        limit=lambda limits: limits.runs,
        bot_id=lambda run: run.bot_id,
        is_over=_is_run_over,
        remove=_remove_runs,
    ),
    Table(
        rows=Delivery.objects.select_related("event").only(
            "event__bot_id", "lane_id", "state", "created_at"
        ),
        age=lambda delivery: delivery.created_at,
        limit=lambda limits: limits.attempts,
        bot_id=lambda delivery: delivery.event.bot_id,
        is_over=_is_delivery_over,
        remove=_remove_deliveries,
    ),
    Table(
        rows=Event.objects.only("bot_id", "kind", "stored_at", "occurred_at"),
        age=lambda event: event.stored_at,
        limit=lambda limits: limits.events,
        bot_id=lambda event: event.bot_id,
        is_over=_is_event_over,
        remove=_remove_events,
    ),
    Table(
        rows=Attempt.objects.select_related("job").only("at", "job__bot_id", "job__state"),
        age=lambda attempt: attempt.at,
        limit=lambda limits: limits.attempts,
        bot_id=lambda attempt: attempt.job.bot_id,
        is_over=_is_attempt_over,
        remove=_remove_attempts,
    ),
    Table(
        rows=Job.objects.only("bot_id", "lane_id", "state", "created_at", "finished_at"),
        age=lambda job: job.created_at,
        limit=lambda limits: limits.jobs,
        bot_id=lambda job: job.bot_id,
        is_over=_is_job_over,
        remove=_remove_jobs,
    ),
)


# Tables with an index by time -------------------------------------------------------------------


def _prune_messages(mark: Pruning, limits: Mapping[int | None, Limits]) -> int:
    """Bot by bot: history that is read late gives old messages new ids, so age does not grow with
    them."""
    until, removed = time.monotonic() + TABLE_SECONDS, 0
    kept = {pk: its.messages for pk, its in limits.items() if pk and its.messages != NEVER}
    for bot_id, limit in sorted(kept.items()):
        if bot_id <= mark.reached:
            continue
        old = Message.objects.filter(bot=bot_id, sent_at__lt=limit).order_by("sent_at")
        removed += _remove_first(old, until)
        if time.monotonic() >= until:
            _leave_mark(mark, reached=bot_id - 1)
            return removed
    _leave_mark(mark, ended=True)
    return removed


def _prune_sessions() -> int:
    """Of people who logged in to the admin and did not come back."""
    expired = Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date")
    return _remove_first(expired, time.monotonic() + TABLE_SECONDS)


def _prune_audit() -> int:
    """As all operators of this install want it, whichever space it is about."""
    if not (days := settings.BOTADMIN_KEEP_AUDIT_DAYS):
        return 0
    old = AuditEntry.objects.filter(at__lt=timezone.now() - timedelta(days=days)).order_by("at")
    return _remove_first(old, time.monotonic() + TABLE_SECONDS)


def _remove_first(rows: QuerySet[Any], until: float) -> int:
    """Remove rows that nothing refers to, until then."""
    removed = 0
    while time.monotonic() < until:
        began = time.monotonic()
        with transaction.atomic():
            free = rows.select_for_update(skip_locked=True)
            keys = list(free.values_list("pk", flat=True)[:BATCH])
            rows.model._default_manager.filter(pk__in=keys).delete()
        if not keys:
            break
        removed += len(keys)
        _rest(began)
    return removed
