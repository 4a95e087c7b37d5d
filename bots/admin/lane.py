"""Lanes: what waits where, and until when."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import display

from bots.admin import looks
from bots.admin.base import BOT_FILTER, KIND_FILTER, GrowingAdmin
from bots.models import HandlerRun, Job, Lane, LaneKind, Work
from bots.models.lane import UNFINISHED


def _unfinished(model: type[Work]) -> Coalesce:
    waiting = model._default_manager.filter(lane=OuterRef("pk"), state__in=UNFINISHED)
    counted = waiting.order_by().values("lane").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


@admin.register(Lane)
class LaneAdmin(GrowingAdmin):
    list_display = ("key", "kind", "bot", "waiting", "due_shown", "held_shown", "priority")
    list_select_related = ("bot",)
    list_filter = (KIND_FILTER, BOT_FILTER)
    search_fields = ("key",)
    empty_hint = "A lane is the line in which work for one target waits. They come by themselves."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "key",
                    "kind",
                    "bot",
                    "ordered_shown",
                    "priority",
                    "waiting",
                    "due_shown",
                    "held_shown",
                    "claimed_shown",
                    "fence",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lane]:
        return (
            super()
            .get_queryset(request)
            .annotate(jobs_waiting=_unfinished(Job), runs_waiting=_unfinished(HandlerRun))
        )

    @display(description="Waiting")
    def waiting(self, lane: Any) -> int:
        return lane.jobs_waiting if lane.kind == LaneKind.JOBS else lane.runs_waiting

    @display(description="In order")
    def ordered_shown(self, lane: Lane) -> str:
        return looks.yes(lane.ordered)

    @display(description="Due")
    def due_shown(self, lane: Lane) -> str:
        if lane.due_at is not None and lane.due_at <= timezone.now():
            return "now"
        return looks.moment(lane.due_at)

    @display(description="Worked on by")
    def held_shown(self, lane: Lane) -> str:
        return lane.holder or looks.NOTHING

    @display(description="Claimed until")
    def claimed_shown(self, lane: Lane) -> str:
        return looks.moment(lane.claimed_until)
