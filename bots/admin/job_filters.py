"""How the list of jobs is narrowed down: what is stuck, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, TextFilter

from bots import access, bisecting, stuck
from bots.admin.base import (
    BOT_FILTER,
    CHANNEL_FILTER,
    KIND_FILTER,
    STATE_FILTER,
    SearchedFilter,
    actor_of,
)
from bots.admin.searching import newest
from bots.models import Job
from bots.stuck import LABELS, WAITING, Why

RECENT = 5_000  # jobs whose error codes are offered

LONGER = {
    "minute": ("a minute", timedelta(minutes=1)),
    "ten-minutes": ("ten minutes", timedelta(minutes=10)),
    "hour": ("an hour", timedelta(hours=1)),
}
SINCE = {
    "hour": ("the last hour", timedelta(hours=1)),
    "day": ("the last day", timedelta(days=1)),
    "week": ("the last week", timedelta(days=7)),
}
# Jobs have the clocks of whoever asked for them, and are numbered a little later.
LATE = timedelta(minutes=10)


class WaitsFor(DropdownFilter):
    title = "what it waits for"
    parameter_name = "why"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(why.value, label) for why, label in LABELS.items()]

    def queryset(self, request: HttpRequest, jobs: QuerySet[Job]) -> QuerySet[Job]:
        if self.value() not in list(Why):
            return jobs
        return stuck.waiting_for(jobs, Why(self.value()))


class WaitsLonger(DropdownFilter):
    title = "waits longer than"
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in LONGER.items()]

    def queryset(self, request: HttpRequest, jobs: QuerySet[Job]) -> QuerySet[Job]:
        if self.value() not in LONGER:
            return jobs
        _, length = LONGER[str(self.value())]
        return jobs.filter(state__in=WAITING, created_at__lt=timezone.now() - length)


class CreatedSince(DropdownFilter):
    title = "created in"
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in SINCE.items()]

    def queryset(self, request: HttpRequest, jobs: QuerySet[Job]) -> QuerySet[Job]:
        if self.value() not in SINCE:
            return jobs
        _, length = SINCE[str(self.value())]
        since = timezone.now() - length
        # By their numbers as well, or all would be looked at to find the few of the last hour.
        stored = Job.objects.all()
        older = bisecting.before(stored, since - LATE, number="pk", stored_at="created_at")
        return jobs.filter(pk__gt=older, created_at__gte=since)


class ErrorCode(DropdownFilter):
    title = "error code"
    parameter_name = "error_code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        last = Job.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        recent = Job.objects.filter(pk__gt=last - RECENT).exclude(error_code="")
        actor = actor_of(request)
        if not actor.sees_all:
            recent = recent.filter(bot__in=access.bots(actor))
        codes = set(recent.order_by().values_list("error_code", flat=True).distinct())
        codes |= {self.value()} if self.value() else set()
        return [(code, code) for code in sorted(codes)]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, jobs: QuerySet[Job]) -> QuerySet[Job]:
        if not self.value():
            return jobs
        return jobs.filter(error_code=self.value()).exclude(error_code="")  # as the index has it


class RequestedBy(TextFilter):
    """Among the newest: the others would all have to be looked at."""

    title = "who asked of late"
    parameter_name = "by"

    def queryset(self, request: HttpRequest, jobs: QuerySet[Job]) -> QuerySet[Job]:
        if not (name := (self.value() or "").strip()):
            return jobs
        names = [name, f"token {name}", f"handler {name}"]
        return newest(jobs).filter(requested_by__in=names)


FILTERS: tuple[Any, ...] = (
    WaitsFor,
    WaitsLonger,
    STATE_FILTER,
    ErrorCode,
    CreatedSince,
    BOT_FILTER,
    KIND_FILTER,
    ("bot__space", SearchedFilter),
    CHANNEL_FILTER,
    RequestedBy,
)
