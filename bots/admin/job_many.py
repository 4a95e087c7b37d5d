"""Retry or cancel all jobs that match what the list was narrowed down to.

Some at a time, each by itself: a page says how many are done and how many are left, and goes on
when it is asked to. So no request takes long, however many they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from bots import jobs
from bots.admin.base import GrowingAdmin
from bots.models import Job, WorkState
from bots.refusals import Refused

AT_ONCE = 1_000
SECONDS = 5.0  # then the rest waits for the next press
COUNTED = 10_000  # beyond that it is "more than"
NAMED = 10


@dataclass(frozen=True, slots=True)
class Act:
    verb: str
    done: str
    states: tuple[WorkState, ...]
    call: Callable[[Job], None]


ACTS = {
    "retry": Act(
        "Retry",
        "queued again",
        (WorkState.FAILED, WorkState.CANCELLED, WorkState.EXPIRED),
        jobs.retry,
    ),
    "cancel": Act("Cancel", "cancelled", (WorkState.QUEUED,), jobs.cancel),
}


@dataclass(slots=True)
class Done:
    count: int = 0
    refused: dict[int, str] = field(default_factory=dict)  # why, by the ids of the jobs


class ManyJobs(GrowingAdmin):
    list_before_template = "admin/bots/job/many.html"

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "all/<slug:name>/",
                self.admin_site.admin_view(self.all_that_match),
                name=self._url_name("all"),
            ),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        many = []
        if self.has_operate_permission(request):
            chosen = request.GET.copy()
            for name in ("p", "o", "e"):
                chosen.pop(name, None)
            if any(chosen.values()):
                asked = chosen.urlencode()
                many = [(act, f"{self.url('all', name)}?{asked}") for name, act in ACTS.items()]
        return super().changelist_view(request, {**(extra_context or {}), "many": many})

    def ask(self, name: str, rows: QuerySet[Job]) -> HttpResponse:
        """The page that asks, for rows that were ticked."""
        ids = ",".join(str(pk) for pk in rows.values_list("pk", flat=True))
        return redirect(f"{self.url('all', name)}?id__in={ids}")

    def all_that_match(self, request: HttpRequest, name: str) -> HttpResponse:
        if not self.has_operate_permission(request):
            raise PermissionDenied
        if (act := ACTS.get(name)) is None:
            raise Http404
        try:
            matching = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return redirect(self.url("changelist"))
        opened = _opened(request)
        # The newest first: what waits is among them, and what is older is mostly done.
        movable = matching.filter(state__in=act.states).order_by("-pk")
        if request.method == "POST":
            # What failed again since the page was opened is not tried for ever.
            movable = movable.filter(Q(finished_at=None) | Q(finished_at__lte=opened))
        done = _do_some(act, movable) if request.method == "POST" else Done()
        # Of those that were refused some still match, others have moved on. In no order: that would
        # look at all of them to count the first.
        others = movable.exclude(pk__in=done.refused)
        left = others.order_by().values("pk")[: COUNTED + 1].count()
        if request.method == "POST" and not left and not done.refused:
            messages.success(request, f"Jobs {act.done}: {done.count:,}.")
            return redirect(f"{self.url('changelist')}?{request.GET.urlencode()}")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{act.verb} all that match",
            "act": act,
            "done": done.count,
            "refused": list(done.refused.values()),
            "opened": opened.isoformat(),
            "left": left,
            "left_shown": f"more than {COUNTED:,}" if left > COUNTED else f"{left:,}",
            "at_once": AT_ONCE,
            "first": _newest(others, act.states) if left else [],
            "back": f"{self.url('changelist')}?{request.GET.urlencode()}",
        }
        return TemplateResponse(request, "admin/bots/job/all.html", context)


def _do_some(act: Act, movable: QuerySet[Job]) -> Done:
    done = Done()
    ends = time.monotonic() + SECONDS
    for job in movable.select_related("bot")[:AT_ONCE]:
        try:
            act.call(job)
        except Refused as refused:
            done.refused[job.pk] = refused.detail
        else:
            done.count += 1
        if time.monotonic() >= ends:
            break
    return done


def _newest(movable: QuerySet[Job], states: Iterable[WorkState]) -> list[Job]:
    """Those that the page names, looked for in one state after the other, as an index has them: for
    all at once PostgreSQL goes through the jobs of every state."""
    rows = movable.select_related("bot", "channel")
    found = [job for state in states for job in rows.filter(state=state)[:NAMED]]
    return sorted(found, key=lambda job: -job.pk)[:NAMED]


def _opened(request: HttpRequest) -> datetime:
    """When the page was opened that is answered now."""
    try:
        at = parse_datetime(request.POST.get("opened", ""))
    except ValueError:
        at = None
    return at if at is not None and timezone.is_aware(at) else timezone.now()
