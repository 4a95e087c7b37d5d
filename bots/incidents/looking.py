"""Looking: what is wrong now is compared with what is open.

Something that is found is noticed, and opens when it has been found for as long as `patience` says.
What is not found any more closes. What opens again soon after is the same incident once more.

Several processes may look at the same time. A clock counts the changes: who finds that somebody
else changed something since they began, or is at it, leaves it at that, for what they saw may be
older. The next look is never far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from bots import bulk, sequence
from bots.incidents import conditions, telling
from bots.incidents.conditions import Found
from bots.lanes import Owner
from bots.models import Bot, Event, Incident, IncidentClock, News
from spaces.platforms.messages import Kind

FLAPS = telling.FLAPS  # what opens again so soon was not over
KEPT = timedelta(days=90)
TEXTS = ("severity", "subject", "detail", "next_step")

EVENTS = {News.OPENED: Kind.INCIDENT_OPENED, News.CLOSED: Kind.INCIDENT_CLOSED}
Finds = Mapping[tuple[str, str], Found]


def look() -> None:
    """Notice, open and close. Writes nothing while nothing changes."""
    changes, now = _changes(), timezone.now()
    found = {(str(one.code), one.key): one for one in conditions.examine(now)}
    rows = Incident.objects.filter(closed_at=None).order_by("pk")
    steps = _steps(found, rows, now)
    if steps.are_none:
        return
    with transaction.atomic():
        if _nobody_changed_it_since(changes):
            _notice(steps.notice, now)
            _take(_steps(found, rows.all(), now), now)


def close(owner: Owner) -> None:
    """Close what is open about a bot or a subscription that goes. Must run in the transaction that
    removes it: nobody notices anything until that ends."""
    _go_on()
    about = {"bot": owner} if isinstance(owner, Bot) else {"subscription": owner}
    rows = Incident.objects.filter(closed_at=None, **about).order_by("pk")
    rows.filter(opened_at=None).delete()
    left = list(rows)
    for row in left:
        row.bot = None  # what tells of it would go with the bot
    if left:
        _close(left, timezone.now())


def tidy() -> None:
    """Forget what was over long ago, and what nobody is to be told any more."""
    telling.tidy()
    Incident.objects.filter(closed_at__lt=timezone.now() - KEPT).delete()


@dataclass(slots=True)
class _Steps:
    notice: list[Found] = field(default_factory=list)
    forget: list[Incident] = field(default_factory=list)
    change: list[Incident] = field(default_factory=list)
    open: list[Incident] = field(default_factory=list)
    close: list[Incident] = field(default_factory=list)

    @property
    def are_none(self) -> bool:
        return not (self.notice or self.forget or self.change or self.open or self.close)


def _steps(found: Finds, rows: Iterable[Incident], now: datetime) -> _Steps:
    steps = _Steps()
    missing = dict(found)
    for row in rows:
        one = missing.pop((row.code, row.key), None)
        if one is None:
            (steps.close if row.opened_at else steps.forget).append(row)
            continue
        if _differs(row, one):
            steps.change.append(row)
        if row.opened_at is None and row.noticed_at <= now - conditions.patience(row.code):
            steps.open.append(row)
    steps.notice = list(missing.values())
    return steps


def _differs(row: Incident, one: Found) -> bool:
    """Take over what is told of it now; whether that is anything else than before."""
    before = [getattr(row, name) for name in TEXTS]
    row.severity, row.subject = one.severity, one.subject
    if one.detail:
        row.detail, row.next_step = one.detail, one.next_step
    return before != [getattr(row, name) for name in TEXTS]


def _notice(found: Sequence[Found], now: datetime) -> None:
    Incident.objects.bulk_create(
        (
            Incident(
                code=one.code,
                severity=one.severity,
                key=one.key,
                subject=one.subject,
                detail=one.detail,
                next_step=one.next_step,
                bot_id=one.bot_id,
                subscription_id=one.subscription_id,
                space_id=one.space_id,
                noticed_at=now,
            )
            for one in found
        ),
    )


def _take(steps: _Steps, now: datetime) -> None:
    bulk.delete(Incident, [row.pk for row in steps.forget])
    bulk.update(steps.change, TEXTS)
    if steps.open:
        _open(steps.open, now)
    if steps.close:
        _close(steps.close, now)


# Who may change what is open ---------------------------------------------------------------------


def _changes() -> int:
    return IncidentClock.objects.values_list("changes", flat=True).get()


def _nobody_changed_it_since(changes: int) -> bool:
    """Then nobody else will, to the end of the transaction."""
    clock = IncidentClock.objects.filter(changes=changes)
    if clock.select_for_update(skip_locked=True).first() is None:
        return False
    _go_on()
    return True


def _go_on() -> None:
    IncidentClock.objects.update(changes=F("changes") + 1)


# Opening and closing ----------------------------------------------------------------------------


def _open(rows: Sequence[Incident], now: datetime) -> None:
    lately = _closed_lately(rows, now)
    fresh = [row for row in rows if (row.code, row.key) not in lately]
    repeated = [row for row in rows if (row.code, row.key) in lately]
    for row in fresh:
        row.opened_at = now
    bulk.update(fresh, ["opened_at"])
    telling.opened(fresh, now)
    again = [_again(row, lately[row.code, row.key]) for row in repeated]
    bulk.delete(Incident, [row.pk for row in repeated])  # the old ones come in their places
    bulk.update(again, [*TEXTS, "closed_at", "times"])
    telling.opened_again(again, now)
    _tell_readers(News.OPENED, [*fresh, *again], now)


def _closed_lately(rows: Sequence[Incident], now: datetime) -> dict[tuple[str, str], Incident]:
    same = Q(code__in={row.code for row in rows}, key__in={row.key for row in rows})
    lately = Incident.objects.filter(same, closed_at__gt=now - FLAPS, opened_at__isnull=False)
    return {(row.code, row.key): row for row in lately}


def _again(row: Incident, before: Incident) -> Incident:
    for name in TEXTS:
        setattr(before, name, getattr(row, name))
    before.closed_at = None
    before.times += 1
    return before


def _close(rows: Sequence[Incident], now: datetime) -> None:
    for row in rows:
        row.closed_at = now
    bulk.update(rows, ["closed_at"])
    telling.closed(rows, now)
    _tell_readers(News.CLOSED, rows, now)


def _tell_readers(news: News, rows: Sequence[Incident], now: datetime) -> None:
    sequence.store(
        [
            Event(
                bot_id=row.bot_id,
                kind=EVENTS[news],
                dedupe_key=f"incident:{row.pk}:{row.times}:{news}",
                occurred_at=now,
                data=_as_json(row),
            )
            for row in rows
        ]
    )


def _as_json(row: Incident) -> dict[str, object]:
    return {
        "incident": str(row.pk),
        "code": row.code,
        "severity": row.severity,
        "subject": row.subject,
        "detail": row.detail,
        "next_step": row.next_step,
        "opened_at": row.opened_at.isoformat() if row.opened_at else None,
        "closed_at": row.closed_at.isoformat() if row.closed_at else None,
        "seconds": round(row.lasted.total_seconds()) if row.closed_at else None,
    }
