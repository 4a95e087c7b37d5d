"""Lanes: who works on what, in which order, and who gets woken.

The rows are the truth and the broker only wakes workers. A lane is worked on under a lease with a
fencing number; what is put in raises `wakeups`, so that whoever empties a lane notices what came
in meanwhile. A lost wake-up costs latency, not work: `sweep` finds every lane that is due.

Leases and due times are compared by the database's clock, the only one all processes share; how
long a lease still lasts is measured by our own monotonic clock from before it was asked for.

Jobs (`bots.runner`), handler runs (`bots.handlers`) and deliveries (`bots.courier`) are three kinds
of lane with a step each, registered with `@step`. A lane belongs to a bot, or to a subscription.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from bots import bulk, wakeups
from bots.bulkhead import bulkhead
from bots.models import Bot, Lane, LaneKind, Priority, Subscription, Work, WorkState
from bots.models.lane import UNFINISHED
from bots.processes import own_name

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
BATCH = 50  # work taken per turn
TURN_SECONDS = 2.0  # then other lanes go first
MARGIN_SECONDS = 5.0  # a lease must outlive a call by this much
SWEEP_SECONDS = 1.0  # how often beat sweeps
FIRST_WRITE_PAUSE_SECONDS = 0.05
LONGEST_WRITE_PAUSE_SECONDS = 2.0
SWEEP_LIMIT = 200  # lanes woken per sweep; the rest are still due at the next

NOW = {
    "postgresql": "STATEMENT_TIMESTAMP()",
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",  # as Django writes it
}

Owner = Bot | Subscription
W = TypeVar("W", bound=Work)
FREE = Q(claimed_until__isnull=True) | Q(claimed_until__lt=Now())
DUE = Q(not_before__isnull=True) | Q(not_before__lte=Now())
# Put off by whoever asked for it: passed over, while one that waits for a retry holds its lane.
SCHEDULED = Q(attempts=0, not_before__gt=Now())


class LeaseLost(Exception):
    """Somebody else may hold the lane now: write nothing more."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of lane: the model whose rows wait in it, and what is done with them."""

    model: type[Work]
    work: Callable[[Claim], None]


_kinds: dict[str, Kind] = {}


def step(kind: LaneKind, model: type[Work]) -> Callable[[Callable[[Claim], None]], Callable]:
    """Register the decorated function as what is done with the due work of a claimed lane."""

    def register(work: Callable[[Claim], None]) -> Callable[[Claim], None]:
        _kinds[kind] = Kind(model, work)
        return work

    return register


# Putting work in ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Entry:
    """A piece of work without its lane, and where it belongs."""

    key: str
    work: Work
    ordered: bool = True
    priority: Priority = Priority.INTERACTIVE


# Creates the lanes that are new and makes all of them due. One that returns this very moment as due
# was asleep, or due later: nobody was woken for it yet. While somebody holds it, nobody has to be:
# a holder looks again before it lets go.
MAKE_DUE = """
    INSERT INTO bots_lane (kind, {owner}, key, ordered, priority, due_at, wakeups, holder, fence)
    VALUES {rows}
    ON CONFLICT (kind, {owner}, key) DO UPDATE SET
        wakeups = bots_lane.wakeups + 1,
        due_at = CASE WHEN bots_lane.due_at < EXCLUDED.due_at
            THEN bots_lane.due_at ELSE EXCLUDED.due_at END,
        priority = CASE WHEN bots_lane.priority < EXCLUDED.priority
            THEN bots_lane.priority ELSE EXCLUDED.priority END
    RETURNING id, {owner} AS owner, key,
        holder = '' AND due_at = {now} AND paused_at IS NULL AS asleep
"""
ROW = "(%s, %s, %s, %s, %s, {due}, 1, '', 0)"
# Both at once, for PostgreSQL: against BEGIN, two statements and COMMIT it takes 0.3 ms of our
# processor time instead of 0.8 for one job, and 5 instead of 12 for a hundred. The lanes are locked
# before the first row gets its id: ORDER BY needs all of them.
PUT = """
    WITH lane AS ({make_due}), work AS (
        INSERT INTO {table} (lane_id, {columns})
        SELECT lane.id, {given} FROM json_to_recordset(%s)
            AS given (place integer, of_owner bigint, in_lane text, {types})
            JOIN lane ON lane.owner = given.of_owner AND lane.key = given.in_lane
        ORDER BY given.place
        RETURNING id, created_at, lane_id
    )
    SELECT work.id, work.created_at, lane.id, lane.owner, lane.asleep
    FROM work JOIN lane ON lane.id = work.lane_id ORDER BY work.id
"""


def put(kind: LaneKind, owner: Owner, entries: Sequence[Entry]) -> None:
    """Store `entries` at the ends of their lanes, in order, and wake the lanes on commit; in the
    caller's transaction if there is one.

    The lanes' rows stay locked until the end of it, so that ids grow in the order in which requests
    to one lane are accepted.
    """
    put_for_many(kind, [(owner, entry) for entry in entries])


def put_for_many(kind: LaneKind, entries: Sequence[tuple[Owner, Entry]]) -> None:
    """As `put`, for owners of one kind."""
    if not entries:
        return
    if connection.vendor == "postgresql":
        asleep = _put_at_once(kind, entries)
    else:
        asleep = _put_lanes_first(kind, entries)
    # Those of a bot that is off are woken by `resume`. What is missed because it was read a moment
    # ago, the sweep finds.
    enabled = {owner.pk for owner, _ in entries if owner.enabled}
    woken = [lane_id for lane_id, owner_id in asleep.items() if owner_id in enabled]
    transaction.on_commit(lambda: wake(woken), robust=True)


def _put_lanes_first(kind: LaneKind, entries: Sequence[tuple[Owner, Entry]]) -> dict[int, int]:
    """Returns the lanes that were asleep, with their owners."""
    make_due, values = _make_due(kind, entries)
    with transaction.atomic(savepoint=False):
        with connection.cursor() as cursor:
            cursor.execute(make_due, values)
            stored = cursor.fetchall()
        lanes = {(owner_id, key): lane_id for lane_id, owner_id, key, _ in stored}
        for owner, entry in entries:
            entry.work.lane_id = lanes[owner.pk, entry.key]
        bulk.insert([entry.work for _, entry in entries])
    return {lane_id: owner_id for lane_id, owner_id, _, asleep in stored if asleep}


def _put_at_once(kind: LaneKind, entries: Sequence[tuple[Owner, Entry]]) -> dict[int, int]:
    """Returns the lanes that were asleep, with their owners."""
    make_due, values = _make_due(kind, entries)
    model = type(entries[0][1].work)
    types = bulk.types(model, without="lane_id")
    records = bulk.records([entry.work for _, entry in entries], tuple(types))
    for place, ((owner, entry), record) in enumerate(zip(entries, records, strict=True)):
        record |= {"place": place, "of_owner": owner.pk, "in_lane": entry.key}
    statement = PUT.format(
        make_due=make_due,
        table=model._meta.db_table,
        columns=", ".join(types),
        given=", ".join(f"given.{column}" for column in types),
        types=", ".join(map(" ".join, types.items())),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, bulk.as_json(records)])
        stored = cursor.fetchall()
    for (_, entry), (pk, created_at, lane_id, _, _) in zip(entries, stored, strict=True):
        entry.work.pk, entry.work.created_at, entry.work.lane_id = pk, created_at, lane_id
    return {lane_id: owner_id for _, _, lane_id, owner_id, asleep in stored if asleep}


def _make_due(kind: LaneKind, entries: Sequence[tuple[Owner, Entry]]) -> tuple[str, list[Any]]:
    """The statement for the lanes of `entries`, and its values."""
    by_lane: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for owner, entry in entries:
        by_lane[entry.key, owner.pk].append(entry)
    now, moment = NOW[connection.vendor], timezone.now()
    rows: list[str] = []
    values: list[Any] = []
    # Always in the order of their keys: two requests for the same lanes wait, not deadlock.
    for (key, owner_id), inside in sorted(by_lane.items()):
        priority = min(entry.priority for entry in inside)
        values += [kind.value, owner_id, key, inside[0].ordered, priority.value]
        due = min(entry.work.not_before or moment for entry in inside)
        rows.append(ROW.format(due="%s" if due > moment else now))
        if due > moment:
            values.append(connection.ops.adapt_datetimefield_value(due))
    column = f"{_owned_by(entries[0][0])}_id"
    return MAKE_DUE.format(owner=column, rows=", ".join(rows), now=now), values


def _owned_by(owner: Owner) -> str:
    """The field of a lane that names its owner."""
    return "bot" if isinstance(owner, Bot) else "subscription"


# Waking -----------------------------------------------------------------------------------------


def wake(lane_ids: Iterable[int], *, expires: float | None = None) -> None:
    """Ask workers to drain these lanes, unless they cannot start within `expires` seconds. Where
    the broker is away, the sweep finds the lanes later."""
    for lane_id in lane_ids:
        wakeups.ask("drain_lane", lane_id, expires=expires)


def sweep() -> int:
    """Wake lanes that are due and free; returns how many.

    Finds what a lost wake-up or a dead worker left behind, and what waited for its time. Among
    lanes of one priority chance decides, so that many that cannot be worked on now never keep the
    same others waiting. Wake-ups that workers are too busy for expire instead of piling up.
    """
    due = due_lanes().order_by("priority", "?").values_list("pk", flat=True)[:SWEEP_LIMIT]
    lane_ids = list(due)
    wake(lane_ids, expires=2 * SWEEP_SECONDS)
    return len(lane_ids)


def due_lanes() -> QuerySet[Lane]:
    return Lane.objects.filter(FREE, due_at__lte=Now(), paused_at=None)


def resume(owner: Owner) -> None:
    """Make all lanes of a bot or a subscription due that have something to do, say after it was
    switched on."""
    found: list[int] = []
    mine = Lane.objects.filter(**{_owned_by(owner): owner})
    for kind, registered in _kinds.items():
        waiting = registered.model._default_manager.filter(
            lane=OuterRef("pk"), state__in=UNFINISHED
        )
        found += _make_due_again(mine.filter(Exists(waiting), kind=kind))
    if found:
        free = due_lanes().filter(**{_owned_by(owner): owner})
        transaction.on_commit(lambda: wake(free.values_list("pk", flat=True)), robust=True)


def put_again(*lane_ids: int) -> None:
    """Make lanes due for work that was queued again in them. Must run in a transaction."""
    found = _make_due_again(Lane.objects.filter(pk__in=lane_ids))
    transaction.on_commit(lambda: wake(found), robust=True)


def _make_due_again(lanes: QuerySet[Lane]) -> list[int]:
    with transaction.atomic():
        # In the order in which `put` locks them.
        locked = lanes.select_for_update(of=("self",)).order_by("key")
        if ids := list(locked.values_list("pk", flat=True)):
            Lane.objects.filter(pk__in=ids).update(due_at=Now(), wakeups=F("wakeups") + 1)
    return ids


def unfinished_in(lane: Lane) -> QuerySet[Any]:
    """What waits in a lane, and what somebody is at."""
    model = _kinds[lane.kind].model
    return model._default_manager.filter(lane=lane, state__in=UNFINISHED)


def release_all() -> None:
    """Forget all leases. Only for the start of an install whose single process is known dead."""
    Lane.objects.exclude(claimed_until=None).update(claimed_until=None, holder="", due_at=Now())


# Working ----------------------------------------------------------------------------------------


def drain(lane_id: int) -> None:
    """Work on a lane for one turn, after one that is more urgent if there is one; then, for as long
    as a turn takes, on lanes that waited in this process for it to end.

    Does nothing when somebody else works on it or there is nothing to do: wake-ups may come twice.
    """
    lane = _load(lane_id)
    ends = time.monotonic() + TURN_SECONDS
    while lane is not None:
        if lane.priority != Priority.INTERACTIVE:
            _do_what_is_urgent()
        parked = _turn(lane)
        if parked is None:
            return
        if time.monotonic() >= ends:
            wake([parked])
            return
        # A lane that found no room earlier goes on right here: by the broker it would go to the end
        # of the line, and cost it another message.
        lane = _load(parked)


def _do_what_is_urgent() -> None:
    urgent = due_lanes().filter(priority=Priority.INTERACTIVE).order_by("due_at")
    urgent_id = urgent.values_list("pk", flat=True).first()
    if urgent_id is not None and (parked := _turn(_load(urgent_id))) is not None:
        wake([parked])


def _load(lane_id: int) -> Lane | None:
    whose = ("bot__space", "bot__connection", "subscription")
    return Lane.objects.select_related(*whose).filter(pk=lane_id).first()


def _turn(lane: Lane | None) -> int | None:
    """Returns the id of a lane that was parked and has room now."""
    if lane is None or lane.kind not in _kinds or not bulkhead().enter(lane):
        return None  # where there is no room it is parked, and whoever leaves finds it
    try:
        _work(lane)
    except BaseException:
        if (parked := bulkhead().leave(lane)) is not None:
            wake([parked])
        raise
    return bulkhead().leave(lane)


def _work(lane: Lane) -> None:
    claim = Claim.take(lane)
    if claim is None:
        return
    try:
        _kinds[lane.kind].work(claim)
        claim.release()
    except LeaseLost:
        log.warning("lane %s was taken over; its new holder goes on", lane.pk)
    except (OperationalError, InterfaceError):
        claim.abandon()
        raise


class Claim:
    """The right to work on a lane, for as long as it is renewed."""

    def __init__(self, lane: Lane, fence: int, held_until: float):
        self.lane = lane
        self.fence = fence
        self._held_until = held_until  # time.monotonic()
        self.turn_ends = time.monotonic() + TURN_SECONDS
        self._rest_until: datetime | None = None
        self._parked = False

    @classmethod
    def take(cls, lane: Lane) -> Claim | None:
        """Claim the lane as it was read. None when it is not due, not free, or changed hands."""
        asked_at = time.monotonic()
        taken = (
            due_lanes()
            .filter(pk=lane.pk, fence=lane.fence)
            .update(fence=F("fence") + 1, holder=own_name(), claimed_until=_lease_end())
        )
        return cls(lane, lane.fence + 1, asked_at + LEASE_SECONDS) if taken else None

    @property
    def bot(self) -> Bot:
        """Whose lane it is. Only for kinds that belong to bots."""
        assert self.lane.bot is not None
        return self.lane.bot

    @property
    def resting(self) -> bool:
        return self._parked or self._rest_until is not None

    @property
    def turn_over(self) -> bool:
        return time.monotonic() >= self.turn_ends

    @property
    def lasting(self) -> bool:
        """Whether nobody else can have taken the lane yet."""
        return time.monotonic() < self._held_until

    def ensure(self, seconds: float) -> None:
        """Make sure that the lease outlives a call of up to `seconds`. Raises `LeaseLost`."""
        asked_at = time.monotonic()
        if self._held_until - asked_at >= seconds + MARGIN_SECONDS:
            return
        length = max(LEASE_SECONDS, seconds + 2 * MARGIN_SECONDS)
        if not self._mine().update(claimed_until=_lease_end(length)):
            raise LeaseLost
        self._held_until = asked_at + length

    def confirm(self) -> None:
        """Lock the lane's row to the end of the transaction. Raises `LeaseLost` if it is not ours,
        so that nothing is written by a holder that was frozen and thawed too late."""
        self.confirm_and_see_pause()

    def confirm_and_see_pause(self) -> bool:
        """As `confirm`; returns whether somebody has paused the lane."""
        paused_at = self._mine().select_for_update().values_list("paused_at", flat=True)
        if not (found := list(paused_at)):
            raise LeaseLost
        return found[0] is not None

    def rest_until(self, moment: datetime) -> None:
        """When released, let the whole lane wait until then."""
        self._rest_until = moment

    def park(self) -> None:
        """When released, let the lane sleep until `resume`."""
        self._parked = True

    def abandon(self) -> None:
        """Give the lane back as it is, in the middle of a turn that the database cut off. Where it
        does not answer yet, the lease runs out."""
        connection.close()
        with suppress(OperationalError, InterfaceError):
            self._mine().update(claimed_until=None, holder="")

    def release(self) -> None:
        """Give the lane back, due when its next work is."""
        waiting = self._waiting().filter(lane=OuterRef("pk"))
        while True:
            found = self._mine().values_list("wakeups", Exists(waiting)).first()
            if found is None:
                return
            wakeups, has_work = found
            if wakeups != self.lane.wakeups:
                self._parked = False  # perhaps by a bot that has been started since we read it
            # Mostly it is empty; then the first that comes sets the priority anew.
            due_at, priority = self._next_due() if has_work else (None, Priority.BULK)
            released = (
                self._mine()
                .filter(wakeups=wakeups)
                .update(claimed_until=None, holder="", due_at=due_at, priority=priority)
            )
            if released:
                break  # else something was put in between the two queries: look again
        if isinstance(due_at, Now):
            wake([self.lane.pk])

    def _next_due(self) -> tuple[datetime | Now | None, int]:
        """When there is something to do again, and how urgent the lane is until then."""
        if self._parked:
            return None, self.lane.priority
        waiting = self._waiting().filter(lane=self.lane)
        in_line = _not_put_off(waiting)
        if not self.lane.ordered and in_line.filter(DUE).exists():
            due_at = None
        elif head := in_line.order_by(self._head_order()).only("not_before").first():
            due_at = head.not_before
        else:
            due_at = waiting.aggregate(at=Min("not_before"))["at"]
            if due_at is None:
                return None, Priority.BULK  # it became empty since we looked
        if self._rest_until and (due_at is None or due_at < self._rest_until):
            due_at = self._rest_until
        return due_at or Now(), self.lane.priority

    def _head_order(self) -> str:
        """Who goes first in the lane: by place, or whoever may go earliest."""
        return self._model.place_in_lane if self.lane.ordered else "not_before"

    def _waiting(self) -> QuerySet[Work]:
        """All unfinished work of this kind of lane."""
        return self._model._default_manager.filter(state__in=UNFINISHED)

    @property
    def _model(self) -> type[Work]:
        return _kinds[self.lane.kind].model

    def _mine(self) -> QuerySet[Lane]:
        return Lane.objects.filter(pk=self.lane.pk, fence=self.fence, holder=own_name())


def begin(claim: Claim, model: type[W], *, limit: int = BATCH) -> list[W]:
    """The unfinished work at the head of the lane, in order, marked as running where it is due;
    nothing of a lane that was paused meanwhile.

    Rows that were running already were left by somebody who died or did not learn the outcome;
    they come with `interrupted` set, and what became of them has to be found out first.
    """
    with transaction.atomic():
        if claim.confirm_and_see_pause():
            return []
        in_line = model._default_manager.filter(lane=claim.lane, state__in=UNFINISHED)
        in_line = _not_put_off(in_line) if claim.lane.ordered else in_line.filter(DUE)
        rows = in_line.select_for_update(of=("self",)).annotate(due=DUE)
        first = rows.order_by(model.place_in_lane)[:limit]
        started = list(takewhile(lambda row: row.due, first))
        model._default_manager.filter(pk__in=[row.pk for row in started]).update(
            state=WorkState.RUNNING,
            attempts=F("attempts") + 1,
            started_at=Coalesce("started_at", Now()),
        )
    for row in started:
        row.interrupted = row.state == WorkState.RUNNING
        row.state = WorkState.RUNNING
        row.attempts += 1
    return started


def _not_put_off(waiting: QuerySet[W]) -> QuerySet[W]:
    return waiting.exclude(SCHEDULED) if waiting.model.may_be_scheduled else waiting


def put_back(claim: Claim, model: type[Work], untouched: Iterable[Work]) -> None:
    """Undo what `begin` did to rows that nobody tried; it costs them no attempt. Raises `LeaseLost`
    when they are somebody else's now."""
    fresh: dict[bool, list[int]] = {True: [], False: []}
    for row in untouched:
        fresh[not row.interrupted].append(row.pk)
    running = model._default_manager.filter(state=WorkState.RUNNING)
    one_less = F("attempts") - 1
    with transaction.atomic():
        claim.confirm()
        running.filter(pk__in=fresh[True]).update(state=WorkState.QUEUED, attempts=one_less)
        running.filter(pk__in=fresh[False]).update(attempts=one_less)


def write_patiently(claim: Claim, write: Callable[[], None]) -> None:
    """Write what became of work. A database that is away or ended a deadlock is asked again for as
    long as the lease lasts; then its error is raised."""
    pause = FIRST_WRITE_PAUSE_SECONDS
    while True:
        try:
            write()
            return
        except (OperationalError, InterfaceError):
            if not claim.lasting:
                raise
            log.warning("lane %s: outcomes wait to be written", claim.lane.pk)
            connection.close_if_unusable_or_obsolete()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_WRITE_PAUSE_SECONDS)


def _lease_end(seconds: float = LEASE_SECONDS) -> CombinedExpression:
    return Now() + timedelta(seconds=seconds)
