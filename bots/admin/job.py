"""Jobs: what was asked of platforms, what became of it, what they wait for, and what a person can
do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.db.models.fields.json import KeyTransform
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.decorators import action, display
from unfold.views import ChangeList

from bots import jobs, lane_names, stuck, tracing
from bots.access import Actor
from bots.admin import job_filters, job_outcome, looks
from bots.admin.base import Press
from bots.admin.in_channel import InChannel, RoomRows
from bots.admin.job_many import ManyJobs
from bots.admin.searching import SearchesNewest
from bots.admin.trace import TracedAdmin
from bots.admin.trace_steps import until
from bots.models import BulkAction, Job, JobKind, WorkState
from bots.models.job import MOVES
from bots.tracing import Trace
from spaces.platforms.trace import redact


def _retry(request: HttpRequest, job: Job) -> str:
    jobs.retry(job)
    return f"Job {job.pk} is queued again."


def _cancel(request: HttpRequest, job: Job) -> str:
    jobs.cancel(job)
    return f"Job {job.pk} is cancelled."


def _resolve_sent(request: HttpRequest, job: Job) -> str:
    jobs.resolve_sent(job)
    return f"Job {job.pk} counts as done."


def _resolve_not_sent(request: HttpRequest, job: Job) -> str:
    jobs.resolve_not_sent(job)
    return f"Job {job.pk} is tried again."


def _whole(job: Job) -> Model | None:
    """What was asked for, where that is more than this job. Who sees its bot sees that, too."""
    if job.group_id:
        return job.group
    return BulkAction.objects.filter(items__job=job).first()


def _uncertain(job: Job) -> bool:
    return job.state == WorkState.UNCERTAIN


def _can_become(to: WorkState) -> Callable[[Job], bool]:
    # Running jobs go back to their lane by themselves, uncertain ones by a person's word.
    steered = (WorkState.RUNNING, WorkState.UNCERTAIN)
    return lambda job: job.state not in steered and to in MOVES.get(WorkState(job.state), ())


class JobRows(RoomRows):
    """A page of the list, with why each of its jobs waits."""

    def get_queryset(self, request: HttpRequest, **kwargs: Any) -> QuerySet[Any]:
        # Asked for once, and not with each of a crowd that has to be sorted.
        rows = super().get_queryset(request, **kwargs).prefetch_related("bot", "channel")
        # Both may be long, and all that is shown of them is how many it did not work for.
        rows = rows.defer("payload", "result")
        return rows.annotate(
            failed_people=KeyTransform("failed", "result"), people=KeyTransform("people", "result")
        )

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        reasons = stuck.explain(self.result_list)
        for job in self.result_list:
            job.reason = reasons.get(job.pk)


@admin.register(Job)
class JobAdmin(TracedAdmin, ManyJobs, SearchesNewest, InChannel):
    list_display = (
        "number",
        "state_shown",
        "why_shown",
        "kind",
        "bot",
        "room",
        "requested_by",
        "created_shown",
        "attempts",
    )
    list_select_related = ()  # `JobRows` asks for them
    list_filter = job_filters.FILTERS
    search_fields = ("requested_by", "error_code", "error_detail")
    search_help_text = "A job's number; or words of who asked or of its error, among the newest."
    actions = ("retry_chosen", "cancel_chosen")
    empty_hint = "Nothing was asked yet. Open a bot and press Send a message."
    now_template = "admin/bots/job/now.html"
    presses: ClassVar[dict[str, Press]] = {
        "retry": Press(
            label="Retry", icon="replay", run=_retry, offered=_can_become(WorkState.QUEUED)
        ),
        "cancel": Press(
            label="Cancel", icon="cancel", run=_cancel, offered=_can_become(WorkState.CANCELLED)
        ),
        "resolve-sent": Press(
            label="It was sent", icon="check", run=_resolve_sent, offered=_uncertain
        ),
        "resolve-not-sent": Press(
            label="It was not sent: try again",
            icon="replay",
            run=_resolve_not_sent,
            offered=_uncertain,
        ),
    }

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return JobRows

    def get_fieldsets(self, request: HttpRequest, obj: Job | None = None) -> Any:
        times: list[tuple[str, ...]] = [
            ("created_shown", "started_shown"),
            ("finished_shown", "attempts"),
        ]
        if obj and obj.not_before:
            times.append(("not_before_shown",))
        if obj and obj.expires_at:
            times.append(("expires_shown",))
        part_of = ["part_of_shown"] if obj and _whole(obj) else []
        return [
            ("What was asked", {"fields": ["kind", ("bot", "channel_shown"), *part_of, "asked"]}),
            ("When", {"fields": [("requested_by", "priority"), ("lane_shown",), *times]}),
        ]

    def trace(self, actor: Actor, row: Any) -> Trace:
        return tracing.of_job(actor, row)

    def beside_now(self, request: HttpRequest, row: Any, trace: Trace) -> dict[str, Any]:
        reason = trace.reasons.get(row.pk)
        return {
            **super().beside_now(request, row, trace),
            "state": looks.state(row.state),
            "reason": reason,
            "until": until(reason.until) if reason and reason.until else "",
            "outcome": job_outcome.tables(row),
        }

    @action(description="Retry", permissions=["operate"])
    def retry_chosen(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self.do_each(request, queryset.order_by("pk"), jobs.retry, "Jobs queued again")

    @action(description="Cancel …", permissions=["operate"])
    def cancel_chosen(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse:
        return self.ask("cancel", queryset)

    @display(description="Job")
    def number(self, job: Job) -> str:
        return str(job.pk)

    @display(description="State")
    def state_shown(self, job: Any) -> SafeString:
        shown = looks.state(job.state)
        if partly := job_outcome.partly(job.failed_people, job.people):
            return format_html("{} {}", shown, looks.badge(partly, "warning"))
        return shown

    @display(description="Why")
    def why_shown(self, job: Any) -> SafeString | str:
        if job.reason is None:
            told = f"{job.error_code}: {job.error_detail}" if job.error_code else looks.NOTHING
            return format_html('<span class="job-why">{}</span>', Truncator(told).chars(120))
        later = f" Until {until(job.reason.until)}." if job.reason.until else ""
        return format_html(
            '<span class="job-why">{}{} <strong>{}</strong></span>',
            job.reason.text,
            later,
            job.reason.next_step,
        )

    @display(description="Part of")
    def part_of_shown(self, job: Job) -> str:
        return looks.link(_whole(job))

    @display(description="Lane")
    def lane_shown(self, job: Job) -> str:
        return looks.link(job.lane, lane_names.name(job.lane))

    @display(description="Created")
    def created_shown(self, job: Job) -> str:
        return looks.moment(job.created_at)

    @display(description="Started")
    def started_shown(self, job: Job) -> str:
        return looks.moment(job.started_at)

    @display(description="Finished")
    def finished_shown(self, job: Job) -> str:
        return looks.moment(job.finished_at)

    @display(description="Not before")
    def not_before_shown(self, job: Job) -> str:
        return looks.moment(job.not_before)

    @display(description="Expires")
    def expires_shown(self, job: Job) -> str:
        return looks.moment(job.expires_at)

    @display(description="Details")
    def asked(self, job: Job) -> SafeString:
        known = {"channel"} if job.channel else set()
        asked = {k: v for k, v in job.payload.items() if k not in known}
        # What is sent to a platform in its own words may hold a password.
        shown = looks.pairs(redact(asked) if job.kind == JobKind.CUSTOM_REQUEST else asked)
        return format_html('<div class="scrolled" tabindex="0">{}</div>', shown)
