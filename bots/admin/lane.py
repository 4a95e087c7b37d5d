"""Lanes: what waits where, and until when; pausing them, and getting rid of what waits."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display
from unfold.views import ChangeList

from bots import access, jobs, lane_names, pausing
from bots.access import Act
from bots.admin import counting, lane_search, looks
from bots.admin.base import (
    BOT_FILTER,
    KIND_FILTER,
    SUBSCRIPTION_FILTER,
    Button,
    GrowingAdmin,
    Press,
    Rows,
    actor_of,
    may,
)
from bots.models import Job, Lane, LaneKind, WorkState
from bots.refusals import NotPermitted
from bots.targets import as_id

CANCELLING_SECONDS = 1.0  # for one answer; the page asks on until nothing is left


# Buttons ----------------------------------------------------------------------------------------


def _pause(request: HttpRequest, lane: Lane) -> str:
    pausing.pause(lane, by=actor_of(request))
    paused = lane_names.whole(lane, actor_of(request))
    return f"{paused} is paused: what waits there stays, until somebody presses Resume."


def _resume(request: HttpRequest, lane: Lane) -> str:
    pausing.resume(lane, by=actor_of(request))
    return f"{lane_names.whole(lane, actor_of(request))} goes on."


def _drain(request: HttpRequest, lane: Lane) -> str:
    pausing.drain(lane, by=actor_of(request))
    return f"What waits in {lane_names.whole(lane, actor_of(request))} is tried now."


def _is_paused(lane: Lane) -> bool:
    return lane.paused_at is not None


def _runs(lane: Lane) -> bool:
    return lane.paused_at is None


PRESSES: dict[str, Press] = {
    "pause": Press(label="Pause", icon="pause", run=_pause, offered=_runs),
    "resume": Press(label="Resume", icon="play_arrow", run=_resume, offered=_is_paused),
    "drain": Press(label="Try now", icon="bolt", run=_drain, offered=_runs),
}


class Paused(DropdownFilter):
    title = "paused"
    parameter_name = "paused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "paused"), ("no", "not paused")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Lane]) -> QuerySet[Lane]:
        if self.value() in ("yes", "no"):
            return rows.filter(paused_at__isnull=self.value() == "no")
        return rows


class WithWork(DropdownFilter):
    title = "work"
    parameter_name = "work"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "with work, or paused")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Lane]) -> QuerySet[Lane]:
        if self.value() == "yes":
            return rows.filter(Q(due_at__isnull=False) | Q(paused_at__isnull=False))
        return rows


class LaneRows(Rows):
    """The lanes of a page, with what each is for and how much waits there."""

    def get_queryset(self, request: HttpRequest, **kwargs: Any) -> QuerySet[Any]:
        lanes = super().get_queryset(request, **kwargs)
        return lanes.annotate(waiting_count=counting.waiting_in_lane())

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        names = lane_names.names(self.result_list, actor_of(request))
        for lane in self.result_list:
            lane.name = names[lane.pk]


@admin.register(Lane)
class LaneAdmin(GrowingAdmin):
    list_display = ("named", "kind", "owner", "waiting", "due_shown", "held_shown", "priority")
    list_select_related = ("bot", "subscription")
    list_filter = (WithWork, KIND_FILTER, Paused, BOT_FILTER, SUBSCRIPTION_FILTER)
    search_fields = ("key",)
    search_help_text = "The name of a channel or person; or the key of a lane."
    actions = ("pause_chosen", "resume_chosen", "drain_chosen")
    empty_hint = "A lane is the line in which work for one target waits. They come by themselves."
    presses: ClassVar[dict[str, Press]] = PRESSES
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "named",
                    "kind",
                    "owner",
                    "ordered_shown",
                    "priority",
                    "waiting",
                    "due_shown",
                    "paused_shown",
                    "held_shown",
                    "claimed_shown",
                    "fence",
                    "key",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lane]:
        lanes = Lane.objects.all()
        actor = actor_of(request)
        if actor.sees_all:
            return lanes
        mine = Q(subscription__in=access.subscriptions(actor))
        return lanes.filter(mine | Q(bot__in=access.bots(actor)))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LaneRows

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        lane = super().get_object(request, object_id, from_field)
        if lane is not None:
            counted = Lane.objects.annotate(waiting_count=counting.waiting_in_lane())
            # None: it went with its last job in this moment.
            count = counted.filter(pk=lane.pk).values_list("waiting_count", flat=True).first()
            lane.waiting_count = count or 0
            lane.name = lane_names.name(lane, actor_of(request))
        return lane

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Lane], search_term: str
    ) -> tuple[QuerySet[Lane], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        named = lane_search.called(term, actor_of(request))
        return queryset.filter(Q(key__icontains=term) | named), False

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"subtitle": lane_names.whole(row, actor_of(request))}

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Where events go is for those who may change bots, as on the pages of subscriptions.
        is_delivery = obj is not None and obj.subscription_id is not None
        return may(request, Act.CHANGE_BOT if is_delivery else Act.SEND)

    def buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = super().buttons(request, row)
        if buttons and row.kind == LaneKind.JOBS:
            nothing = "" if row.waiting_count else "Nothing waits."
            buttons.append(
                Button(
                    label="Cancel all that waits",
                    icon="cancel",
                    url=self.url("cancel", row.pk),
                    posts=False,
                    why_not=nothing,
                )
            )
        return buttons

    # Many at once -------------------------------------------------------------------------------

    @action(description="Pause", permissions=["operate"])
    def pause_chosen(self, request: HttpRequest, queryset: QuerySet[Lane]) -> None:
        self._press_each(request, queryset, "pause", "Lanes paused")

    @action(description="Resume", permissions=["operate"])
    def resume_chosen(self, request: HttpRequest, queryset: QuerySet[Lane]) -> None:
        self._press_each(request, queryset, "resume", "Lanes that go on")

    @action(description="Try now what waits", permissions=["operate"])
    def drain_chosen(self, request: HttpRequest, queryset: QuerySet[Lane]) -> None:
        self._press_each(request, queryset, "drain", "Lanes whose work is tried now")

    def _press_each(
        self, request: HttpRequest, lanes: QuerySet[Lane], name: str, done: str
    ) -> None:
        def press(lane: Lane) -> None:
            if not self.has_operate_permission(request, lane):
                called = lane_names.whole(lane, actor_of(request))
                raise NotPermitted(f"{called}: you may not change where events go.")
            PRESSES[name].run(request, lane)

        # In the order in which whoever puts work in locks them.
        self.do_each(
            request, lanes.select_related("bot", "subscription").order_by("key"), press, done
        )

    # Cancelling ---------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.cancel)
        return [path("<int:pk>/cancel/", view, name=self._url_name("cancel")), *super().get_urls()]

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks first; then cancels for a moment with each request that its own page makes."""
        lane = get_object_or_404(self.get_queryset(request).select_related("bot"), pk=pk)
        if not self.has_operate_permission(request, lane):
            raise PermissionDenied
        if lane.kind != LaneKind.JOBS:
            raise Http404
        context = {
            "lane": lane,
            "here": self.url("cancel", lane.pk),
            "back": self.url("change", lane.pk),
        }
        if request.method != "POST":
            queued = Job.objects.filter(lane=lane, state=WorkState.QUEUED)
            context |= queued.aggregate(count=Count("pk"), newest=Max("pk"))
            return self._cancel_page(request, lane, "admin/bots/lane/ask.html", context)
        context |= self._cancel_some(request, lane)
        if request.headers.get("HX-Request"):
            return TemplateResponse(request, "admin/bots/lane/cancelling.html", context)
        return self._cancel_page(request, lane, "admin/bots/lane/cancel.html", context)

    def _cancel_some(self, request: HttpRequest, lane: Lane) -> dict[str, Any]:
        newest, done, total = (
            as_id(request.POST.get(name, "")) or 0 for name in ("newest", "done", "total")
        )
        ends = time.monotonic() + CANCELLING_SECONDS
        while cancelled := jobs.cancel_waiting(lane, newest=newest):
            done += cancelled
            if time.monotonic() >= ends:
                break
        total = max(total, done)
        return {
            "newest": newest,
            "done": done,
            "total": total,
            "percent": 100 * done // total if total else 100,
            "goes_on": bool(cancelled),
        }

    def _cancel_page(
        self, request: HttpRequest, lane: Lane, template: str, context: dict[str, Any]
    ) -> HttpResponse:
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": lane,
            "title": f"Cancel all that waits: {lane_names.whole(lane, actor_of(request))}",
        }
        return TemplateResponse(request, template, page | context)

    # What is shown ------------------------------------------------------------------------------

    @display(description="For")
    def named(self, lane: Any) -> str:
        name: str = lane.name
        return name

    @display(description="Waiting")
    def waiting(self, lane: Any) -> str:
        return counting.told(lane.waiting_count)

    @display(description="Of")
    def owner(self, lane: Lane) -> str:
        return looks.link(lane.bot or lane.subscription)

    @display(description="In order")
    def ordered_shown(self, lane: Lane) -> str:
        return looks.yes(lane.ordered)

    @display(description="Due")
    def due_shown(self, lane: Lane) -> str:
        if lane.paused_at is not None:
            return f"paused by {lane.paused_by}"
        if lane.due_at is not None and lane.due_at <= timezone.now():
            return "now"
        return looks.moment(lane.due_at)

    @display(description="Paused")
    def paused_shown(self, lane: Lane) -> str:
        if lane.paused_at is None:
            return "no"
        return f"by {lane.paused_by} since {looks.moment(lane.paused_at)}"

    @display(description="Worked on by")
    def held_shown(self, lane: Lane) -> str:
        return lane.holder or looks.NOTHING

    @display(description="Claimed until")
    def claimed_shown(self, lane: Lane) -> str:
        return looks.moment(lane.claimed_until)
