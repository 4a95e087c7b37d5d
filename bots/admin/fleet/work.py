"""What waits, since when, and what fails: jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.db.models import Count, Min, QuerySet
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
            Failure(code=code, count=count, url=_failed(code), share=100 * count / most)
            for code, count in codes[:SHOWN]
        ],
        "more_failures": sum(count for _, count in codes[SHOWN:]),
        "failed_url": listed(Job, state__exact=WorkState.FAILED),
    }


def _failed(code: str) -> str:
    return listed(Job, state__exact=WorkState.FAILED, error_code=quote(code))


def _figures(scope: Scope) -> Iterator[Figure]:
    queued = _crowd(scope.jobs(WorkState.QUEUED))
    running = _crowd(scope.jobs(WorkState.RUNNING))
    uncertain = _crowd(scope.jobs(WorkState.UNCERTAIN))
    yield _figure(queued, WorkState.QUEUED, "waiting")
    yield _figure(running, WorkState.RUNNING, "running")
    yield _figure(uncertain, WorkState.UNCERTAIN, "uncertain", tone="warn")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    count: int  # up to one more than are counted
    scheduled: int  # of them: put off by whoever asked for them
    oldest_at: datetime | None  # of the others


def _crowd(jobs: QuerySet[Job]) -> _Crowd:
    first = jobs[: COUNTED + 1].aggregate(
        count=Count("pk"),
        scheduled=Count("pk", filter=SCHEDULED),
        oldest_at=Min("created_at", filter=~SCHEDULED),
    )
    return _Crowd(**first)


def _figure(crowd: _Crowd, state: WorkState, what: str, tone: str = "") -> Figure:
    count, is_all = crowd.count - crowd.scheduled, crowd.count <= COUNTED
    details = []
    if crowd.oldest_at:
        details.append(f"oldest: {lasted(timezone.now() - crowd.oldest_at)}")
    if crowd.scheduled:
        details.append(f"{crowd.scheduled:,} for later")
    return Figure(
        count=f"{count:,}" if is_all else f"{min(count, COUNTED):,}+",
        what=f"job{'' if count == 1 else 's'} {what}",
        detail=", ".join(details),
        url=listed(Job, state__exact=state),
        tone=tone if count else "",
    )
