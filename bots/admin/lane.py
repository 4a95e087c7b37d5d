"""Lanes: what waits where, and until when."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import display

from bots import access
from bots.admin import looks
from bots.admin.base import (
    BOT_FILTER,
    KIND_FILTER,
    SUBSCRIPTION_FILTER,
    GrowingAdmin,
    actor_of,
)
from bots.models import Delivery, HandlerRun, Job, Lane, LaneKind, Work
from bots.models.lane import UNFINISHED

# What waits in each kind of lane → the annotation that counts it.
WORK: dict[LaneKind, tuple[str, type[Work]]] = {
    LaneKind.JOBS: ("jobs_waiting", Job),
    LaneKind.HANDLERS: ("runs_waiting", HandlerRun),
    LaneKind.DELIVERIES: ("deliveries_waiting", Delivery),
}


def _unfinished(model: type[Work]) -> Coalesce:
    waiting = model._default_manager.filter(lane=OuterRef("pk"), state__in=UNFINISHED)
    counted = waiting.order_by().values("lane").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


@admin.register(Lane)
class LaneAdmin(GrowingAdmin):
    list_display = ("key", "kind", "owner", "waiting", "due_shown", "held_shown", "priority")
    list_select_related = ("bot", "subscription")
    list_filter = (KIND_FILTER, BOT_FILTER, SUBSCRIPTION_FILTER)
    search_fields = ("key",)
    empty_hint = "A lane is the line in which work for one target waits. They come by themselves."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "key",
                    "kind",
                    "owner",
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
        lanes = Lane.objects.annotate(**{name: _unfinished(model) for name, model in WORK.values()})
        actor = actor_of(request)
        if actor.sees_all:
            return lanes
        mine = Q(subscription__in=access.subscriptions(actor))
        return lanes.filter(mine | Q(bot__in=access.bots(actor)))

    @display(description="Waiting")
    def waiting(self, lane: Lane) -> int:
        name, _ = WORK[LaneKind(lane.kind)]
        waiting: int = getattr(lane, name)
        return waiting

    @display(description="Of")
    def owner(self, lane: Lane) -> str:
        return looks.link(lane.bot or lane.subscription)

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
