"""The sequence: events are stored here, and then numbered in the order in which readers get them.

Transactions do not end in the order in which they begin, so an id that the database hands out says
nothing about who was committed first: whoever read up to 7 would miss a 6 that is committed later.
Numbers are given afterwards, to what is committed, by one process at a time, which keeps the clock
locked until its own commit. So whatever has a number is seen together with all smaller ones.

What one connection tells is numbered in the order in which it was told.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from bots import bisecting, bulk, wakeups
from bots.models import Event, SequenceClock, SequenceEntry, Unnumbered
from bots.moments import rfc3339

BATCH = 2_000  # numbers given per transaction
WINDOW = 10_000  # numbers looked through per query, however few of them are wanted

THESE = {
    "postgresql": "(SELECT json_array_elements_text(%s)::bigint)",
    "sqlite": "(SELECT value FROM json_each(%s))",
}
AWAIT = "INSERT INTO bots_unnumbered (event_id) SELECT * FROM {these} AS these"
# In the order of their ids, in which each connection's were stored.
NUMBER = """
    INSERT INTO bots_sequenceentry (seq, event_id, bot_id, channel_id, kind)
    SELECT %s + ROW_NUMBER() OVER (ORDER BY id), id, bot_id, channel_id, kind
    FROM bots_event WHERE id IN {these}
"""
NUMBERED = "DELETE FROM bots_unnumbered WHERE event_id IN {these}"


# Storing ----------------------------------------------------------------------------------------


def store(events: Sequence[Event]) -> None:
    """Store new events, to be numbered when the transaction is committed; they get their ids."""
    bulk.insert(events)
    _await_numbers([event.pk for event in events])


def store_once(events: Sequence[Event]) -> None:
    """As `store`, but for those that are stored already; they get no ids."""
    _await_numbers(bulk.upsert(events, unique=["bot_id", "dedupe_key"]))


def _await_numbers(ids: Sequence[int]) -> None:
    if ids:
        _execute(AWAIT, ids)
        transaction.on_commit(wakeups.sort_soon, robust=True)


# Numbering --------------------------------------------------------------------------------------


def number() -> int:
    """Number what is committed, up to a batch; returns how many events.

    Leaves it to somebody else who is at it: they look again after they let go of the clock, and so
    see what was committed before we asked.
    """
    return _number_some() if Unnumbered.objects.exists() else 0


def _number_some() -> int:
    with transaction.atomic():
        clock = SequenceClock.objects.select_for_update(skip_locked=True).first()
        if clock is None:
            return 0  # somebody else has it
        # Passed over is what somebody is just removing: the numbers of all others do not wait.
        waiting = Unnumbered.objects.select_for_update(skip_locked=True).order_by("event_id")
        ids = list(waiting.values_list("event_id", flat=True)[:BATCH])
        clock.last_seq += _execute(NUMBER, ids, clock.last_seq)
        _execute(NUMBERED, ids)
        clock.save(update_fields=["last_seq"])
    return len(ids)


def _execute(statement: str, ids: Sequence[int], *values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            statement.format(these=THESE[connection.vendor]), [*values, json.dumps(list(ids))]
        )
        return cursor.rowcount


# Reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events a reader wants: None stands for all, also for those of no bot or channel."""

    kinds: Collection[str] | None = None
    bots: Collection[int] | None = None
    channels: Collection[int] | None = None

    def has(self, entry: SequenceEntry) -> bool:
        return (
            (self.kinds is None or entry.kind in self.kinds)
            and (self.bots is None or entry.bot_id in self.bots)
            and (self.channels is None or entry.channel_id in self.channels)
        )

    def of(self, entries: QuerySet[SequenceEntry]) -> QuerySet[SequenceEntry]:
        for field, values in (
            ("kind", self.kinds),
            ("bot_id", self.bots),
            ("channel_id", self.channels),
        ):
            if values is not None:
                entries = entries.filter(**{f"{field}__in": values})
        return entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries in order, and where to go on: everything wanted up to `seq` is among them."""

    entries: Sequence[SequenceEntry]
    seq: int


def head() -> int:
    """The last number that was given."""
    return SequenceClock.objects.values_list("last_seq", flat=True).first() or 0


def read(wanted: Wanted, *, after: int, limit: int) -> Iterator[Page]:
    """Up to `limit` entries a page, with their events, until the head is reached.

    A page may be empty, since each looks through a part of the sequence only: so none takes long,
    however rare what is wanted.
    """
    last = head()
    while after < last:
        until = min(after + WINDOW, last)
        found = wanted.of(SequenceEntry.objects.filter(seq__gt=after, seq__lte=until))
        whole = found.select_related("event__bot").defer("event__raw").order_by("seq")
        entries = list(whole[:limit])
        after = entries[-1].seq if len(entries) == limit else until
        yield Page(entries=entries, seq=after)


def before(moment: datetime) -> int:
    """A number after which everything is that was stored since `moment`."""
    entries = SequenceEntry.objects.all()
    return bisecting.before(entries, moment, number="seq", stored_at="event__stored_at")


def as_json(entry: SequenceEntry) -> dict[str, Any]:
    """An event as all readers get it; `entry.event` with its bot is at hand."""
    event = entry.event
    return {
        "seq": entry.seq,
        "id": str(event.pk),
        "kind": event.kind,
        "bot": event.bot.slug if event.bot else None,
        "channel": None if event.channel_id is None else str(event.channel_id),
        "occurred_at": rfc3339(event.occurred_at),
        "stored_at": rfc3339(event.stored_at),
        "catch_up": event.catch_up,
        "data": event.data,
    }
