"""Counts of what came and went, for charts and rates: of each bot, and of all together.

One reader of the sequence adds up what is new every two seconds. Its position moves in the
transaction that stores the counts, so that each event is counted once, whoever dies in between. An
install that is new, or was upgraded, begins at the head: what happened before is not counted.

What counts is when an event was stored, not when it happened: that is when botadmin had the work,
minutes that have passed stay as they are, and no clock of a platform puts anything into the future.
After an outage, what is caught up shows as the crowd that it was.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Case, CharField, Count, Min, Q, QuerySet, Sum, Value, When
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, TruncMinute
from django.utils import timezone

from bots import bulk, sequence
from bots.models import Bot, JobKind, SequenceEntry, Tally, TallyClock, WorkState
from bots.models.tally import INSTALL, Counted, Minutes
from spaces.platforms.messages import Kind

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
KEPT = DAY + HOUR
LATELY = timedelta(minutes=10)  # what a rate is taken from, and up to `Minutes.FEW` more
BATCH = 2_000  # events looked at per transaction
RUN_SECONDS = 5.0  # who is far behind goes on in the next run

HEARD = Q(  # not what the bot said itself, nor "somebody joined"
    kind=Kind.MESSAGE_POSTED,
    event__data__own__isnull=True,
    event__data__message__system__isnull=True,
)
FINISHED = Q(kind=Kind.JOB_FINISHED)
SENT = FINISHED & Q(
    event__data__kind=JobKind.POST.value, event__data__state=WorkState.SUCCEEDED.value
)
FAILED = FINISHED & Q(event__data__state=WorkState.FAILED.value)
CODE = KeyTextTransform("code", KeyTransform("error", "event__data"))


class Key(NamedTuple):
    """What one row counts."""

    bot_id: int
    minutes: int
    at: datetime
    what: str
    code: str


# Counting ---------------------------------------------------------------------------------------


def count() -> int:
    """Count what is new; returns how many numbers of the sequence were looked at."""
    until, looked_at = time.monotonic() + RUN_SECONDS, 0
    while new := _count_some():
        looked_at += new
        if time.monotonic() >= until:
            break
    return looked_at


def _count_some() -> int:
    position = TallyClock.objects.values_list("position", flat=True).first()
    if position is None:
        TallyClock.objects.get_or_create(pk=1, defaults={"position": sequence.head()})
        return 0
    if position >= sequence.head():
        return 0  # asked first: SQLite knows one writer at a time
    with transaction.atomic():
        clock = TallyClock.objects.select_for_update(skip_locked=True).first()
        if clock is None:
            return 0  # somebody else is at it
        position, head = clock.position, sequence.head()
        clock.position = min(position + BATCH, head)
        if clock.position <= position:
            return 0
        counts = _counted(SequenceEntry.objects.filter(seq__gt=position, seq__lte=clock.position))
        rows = [Tally(**key._asdict(), count=number) for key, number in sorted(counts.items())]
        bulk.upsert(rows, unique=Key._fields, add=["count"])
        clock.save(update_fields=["position"])
    return clock.position - position


def _counted(entries: QuerySet[SequenceEntry]) -> Counter[Key]:
    """Grouped by the database; the install as a whole has keys of its own."""
    groups = (
        entries.filter(HEARD | SENT | FAILED)
        .order_by()
        .values(
            "bot_id",
            minute=TruncMinute("event__stored_at", tzinfo=UTC),
            what=Case(
                When(FAILED, then=Value(Counted.FAILED.value)),
                When(FINISHED, then=Value(Counted.SENT.value)),
                default=Value(Counted.HEARD.value),
                output_field=CharField(),
            ),
            code=Coalesce(CODE, Value(""), output_field=CharField()),
        )
        .annotate(number=Count("pk"))
        .values_list("bot_id", "minute", "what", "code", "number")
    )
    counts: Counter[Key] = Counter()
    for bot_id, minute, what, code, number in groups:
        assert bot_id is not None  # what counts is told by a bot
        for whose, minutes in product((bot_id, INSTALL), Minutes.values):
            at = begin(minute, minutes * MINUTE)
            counts[Key(whose, minutes, at, what, code)] += number
    return counts


def begin(moment: datetime, step: timedelta) -> datetime:
    """When the step of time begins in which this moment lies."""
    return moment - (moment - datetime.min.replace(tzinfo=UTC)) % step


def tidy() -> None:
    """Forget what nobody reads any more."""
    now = timezone.now()
    few = Tally.objects.filter(minutes=Minutes.FEW)
    _forget(few.exclude(bot_id=INSTALL), now - HOUR)
    _forget(few, now - KEPT)
    _forget(Tally.objects.filter(minutes=Minutes.MANY), now - KEPT)


def _forget(rows: QuerySet[Tally], limit: datetime) -> None:
    """What is older; after a long rest an hour at a time."""
    oldest = rows.aggregate(at=Min("at"))["at"]
    if oldest is not None:
        rows.filter(at__lt=min(oldest + HOUR, limit)).delete()


# Reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Messages per minute."""

    heard: float = 0.0
    sent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Some minutes of the past, or those up to now, and the messages in them."""

    begins_at: datetime
    lasted: timedelta
    heard: int
    sent: int

    @property
    def rate(self) -> Rate:
        return _rate(self.heard, self.sent, self.lasted)


def rate(bots: Iterable[Bot]) -> dict[int, Rate]:
    """How much each of these bots hears and sends of late, by their ids; one query."""
    now = timezone.now()
    since = begin(now - LATELY, Minutes.FEW * MINUTE)
    ids = [bot.pk for bot in bots]
    lately = Tally.objects.filter(bot_id__in=ids, minutes=Minutes.FEW, at__gte=since)
    sums = _sums(lately, "bot_id")
    return {pk: _rate(sums[pk][Counted.HEARD], sums[pk][Counted.SENT], now - since) for pk in ids}


def history_of_install() -> Iterator[Span]:
    """The last day of all bots together, in steps of 15 minutes, the oldest first; the last is not
    over yet."""
    return _history(Tally.objects.filter(bot_id=INSTALL, minutes=Minutes.FEW), 15 * MINUTE)


def history_of_bots(bot_ids: Collection[int]) -> Iterator[Span]:
    """As `history_of_install`, of some bots, in steps of 30 minutes."""
    return _history(_of_bots(bot_ids), Minutes.MANY * MINUTE)


def failures_of_install() -> list[tuple[str, int]]:
    """Codes of errors with the number of jobs that failed with them in the last day, the most
    frequent first."""
    return _failures(Tally.objects.filter(bot_id=INSTALL, minutes=Minutes.MANY))


def failures_of_bots(bot_ids: Collection[int]) -> list[tuple[str, int]]:
    return _failures(_of_bots(bot_ids))


def _of_bots(bot_ids: Collection[int]) -> QuerySet[Tally]:
    return Tally.objects.filter(bot_id__among=bot_ids, minutes=Minutes.MANY)


def _history(of: QuerySet[Tally], step: timedelta) -> Iterator[Span]:
    now = timezone.now()
    at = begin(now - DAY, step) + step
    counts: dict[datetime, Counter[str]] = defaultdict(Counter)
    for began, sums in _sums(of.filter(at__gte=at), "at").items():
        counts[begin(began, step)] += sums
    while at <= now:
        yield Span(
            begins_at=at,
            lasted=min(step, now - at),
            heard=counts[at][Counted.HEARD],
            sent=counts[at][Counted.SENT],
        )
        at += step


def _failures(of: QuerySet[Tally]) -> list[tuple[str, int]]:
    since = timezone.now() - DAY
    failed = of.filter(what=Counted.FAILED, at__gte=since)
    by_code = failed.order_by().values_list("code").annotate(number=Sum("count"))
    return list(by_code.order_by("-number", "code"))


def _sums(of: QuerySet[Tally], name: str) -> dict[Any, Counter[str]]:
    """Messages heard and sent, by another field."""
    messages = of.filter(what__in=(Counted.HEARD, Counted.SENT)).order_by()
    sums: dict[Any, Counter[str]] = defaultdict(Counter)
    for by, what, number in messages.values_list(name, "what").annotate(number=Sum("count")):
        sums[by][what] += number
    return sums


def _rate(heard: int, sent: int, lasted: timedelta) -> Rate:
    minutes = max(1.0, lasted / MINUTE)
    return Rate(heard=heard / minutes, sent=sent / minutes)
