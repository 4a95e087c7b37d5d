"""Counting no further than somebody wants to read: the rest of a crowd is "more than"."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, IntegerField, OuterRef, QuerySet, Subquery, When

from bots.models import Delivery, HandlerRun, Job, LaneKind, Work
from bots.models.lane import UNFINISHED

MOST = 1_000

# What waits in each kind of lane.
WORK: dict[LaneKind, type[Work]] = {
    LaneKind.JOBS: Job,
    LaneKind.HANDLERS: HandlerRun,
    LaneKind.DELIVERIES: Delivery,
}


class CountUpTo(Subquery):
    """How many rows a query has that may refer to the row around it; `MOST` and one more, if there
    are more."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any]):
        super().__init__(rows.order_by().values("pk")[: MOST + 1])


def waiting_in_lane() -> Case:
    """Of a lane: how much is not finished in it, counted as by `CountUpTo`."""
    whens = [When(kind=kind, then=CountUpTo(_unfinished(work))) for kind, work in WORK.items()]
    return Case(*whens, output_field=IntegerField())


def told(count: int) -> str:
    return f"{count:,}" if count <= MOST else f"more than {MOST:,}"


def _unfinished(work: type[Work]) -> QuerySet[Any]:
    return work._default_manager.filter(lane=OuterRef("pk"), state__in=UNFINISHED)
