"""What waits, since when, and what fails: jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.db.models import Count, Min, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from bots.admin.fleet.scope import Scope, listed
from bots.incidents.wording import lasted
from bots.lanes import SCHEDULED
from bots.models import Job, WorkState

COUNTED = 10_000  # jobs of one state; more are not counted
SHOWN = 8  # codes of errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    count: str
    what: str
    detail: str
    url: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    code: str
    count: int
    url: str
    share: float  # of the most frequent one, in percent


def found(scope: Scope) -> dict[str, Any]:
    codes = scope.failures()
    most = codes[0][1] if codes else 0
    return {
        "figures": list(_figures(scope)),
        "failures": [
            Failure(
                code=code,
                count=count,
                url=_failed(code) if code else "",  # the list knows no filter for none
                share=100 * count / most,
            )
            for code, count in codes[:SHOWN]
        ],
        "more_failures": sum(count for _, count in codes[SHOWN:]),
        "failed_url": listed(Job, state__exact=WorkState.FAILED),
    }


def _failed(code: str) -> str:
    """As near as the list comes: those that failed and were asked for in the last day."""
    return listed(Job, state__exact=WorkState.FAILED, error_code=quote(code), since="day")


def _figures(scope: Scope) -> Iterator[Figure]:
    queued, now = scope.queued(), Now()
    # One after the other, so that a crowd of one sort hides none of another.
    waiting = [
        _crowd(queued.filter(not_before=None)),
        _crowd(queued.filter(not_before__lte=now)),
        _crowd(queued.filter(not_before__gt=now, attempts__gt=0)),  # for their next try
    ]
    scheduled = _crowd(queued.filter(SCHEDULED))
    yield _figure(WorkState.QUEUED, "waiting", *waiting, scheduled=scheduled.count)
    yield _figure(WorkState.RUNNING, "running", _crowd(scope.jobs(WorkState.RUNNING)))
    uncertain = _crowd(scope.jobs(WorkState.UNCERTAIN))
    yield _figure(WorkState.UNCERTAIN, "uncertain", uncertain, tone="warn")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    count: int  # up to one more than are counted
    oldest_at: datetime | None


def _crowd(jobs: QuerySet[Job]) -> _Crowd:
    first = jobs[: COUNTED + 1].aggregate(count=Count("pk"), oldest_at=Min("created_at"))
    return _Crowd(**first)


def _figure(
    state: WorkState, what: str, *crowds: _Crowd, scheduled: int = 0, tone: str = ""
) -> Figure:
    counts = [crowd.count for crowd in crowds]
    details = []
    if oldest := [crowd.oldest_at for crowd in crowds if crowd.oldest_at]:
        details.append(f"oldest: {lasted(timezone.now() - min(oldest))}")
    if scheduled:
        details.append(f"{_told(scheduled)} for later")
    return Figure(
        count=_told(*counts),
        what=f"job{'' if sum(counts) == 1 else 's'} {what}",
        detail=", ".join(details),
        url=listed(Job, state__exact=state),
        tone=tone if any(counts) else "",
    )


def _told(*counts: int) -> str:
    """Their sum; with a plus where one of them was not counted to its end."""
    more = "+" if max(counts) > COUNTED else ""
    return f"{sum(min(count, COUNTED) for count in counts):,}{more}"
