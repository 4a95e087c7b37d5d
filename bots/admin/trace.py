"""The trace of a message, as the pages of jobs, messages, events and handler runs show it: one
timeline, that follows by itself while something is under way."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from bots.access import Actor
from bots.admin import live
from bots.admin.base import GrowingAdmin, actor_of
from bots.admin.trace_steps import Step, clock, steps
from bots.models import WorkState
from bots.tracing import Trace


class TracedAdmin(GrowingAdmin):
    """Rows whose pages show what led to them and what came of them."""

    change_form_outer_before_template = "admin/bots/traced.html"
    now_template = "admin/bots/trace.html"  # what follows by itself

    @property
    def media(self) -> Media:
        return super().media + Media(css={"all": ["bots/trace.css"]})

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:pk>/trace/",
                self.admin_site.admin_view(self.follow),
                name=self._url_name("trace"),
            ),
            *super().get_urls(),
        ]

    def follow(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = self.visible(request, pk)
        return live.follow(request, self.now(request, row))

    def now(self, request: HttpRequest, row: Any) -> live.Piece:
        trace = self.trace(actor_of(request), row)
        context = {
            "steps": timeline(trace, row),
            "summary": summary(trace),
            "more_jobs_url": _more_jobs(trace),
            "original": row,
            **self.beside_now(request, row, trace),
        }
        return live.piece(
            request,
            "trace",
            self.url("trace", row.pk),
            self.now_template,
            context,
            every=live.SECONDS if trace.is_under_way else 0,
        )

    def trace(self, actor: Actor, row: Any) -> Trace:
        raise NotImplementedError

    def beside_now(self, request: HttpRequest, row: Any, trace: Trace) -> dict[str, Any]:
        """What else follows by itself on the page."""
        return {"buttons": self.buttons(request, row)}

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"live": self.now(request, row)}


def timeline(trace: Trace, row: Any) -> list[Step]:
    """All steps in the order in which they happened, each with the time since the one before."""
    found = sorted(steps(trace, row), key=_when)
    told: list[Step] = []
    before: datetime | None = None
    for step in found:
        # Times of one moment may come from several clocks: nothing happens before it was asked.
        since = step.at - before if step.at and before else None
        later = f"{_seconds(since)} later" if since and since >= timedelta(milliseconds=1) else ""
        told.append(replace(step, later=later))
        before = step.at or before
    return told


def summary(trace: Trace) -> str:
    """How one job went, in a line; empty where there is none or there are several."""
    if len(trace.jobs) != 1:
        return ""
    (job,) = trace.jobs
    parts = [f"accepted {clock(job.created_at)}"]
    if job.finished_at:
        what = "sent" if job.state == WorkState.SUCCEEDED and trace.messages.rows else job.state
        parts.append(f"{what} {_seconds(job.finished_at - job.created_at)} later")
    if trace.echoes:
        parts.append("heard back")
    made = len(trace.deliveries.rows) + len(trace.still_to_get)
    if made and not trace.deliveries.more:
        done = sum(d.state == WorkState.SUCCEEDED for d in trace.deliveries.rows)
        parts.append(f"delivered {done} of {made}")
    return " → ".join(parts)


def _when(step: Step) -> tuple[bool, datetime]:
    return step.at is None, step.at or timezone.now()


def _more_jobs(trace: Trace) -> str:
    if not trace.more_jobs:
        return ""
    runs = ",".join(str(run.pk) for run in trace.runs)
    return f"{reverse('admin:bots_job_changelist')}?handler_run__in={runs}"


def _seconds(length: timedelta) -> str:
    seconds = max(0.0, length.total_seconds())
    if seconds < 10:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "\xa0s" if seconds else "0\xa0s"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}\xa0{unit}"
    return f"{seconds:.0f}\xa0s"
