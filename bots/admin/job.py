"""Jobs: what was asked of platforms, what became of it, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.decorators import action, display

from bots import jobs
from bots.admin import looks
from bots.admin.base import BOT_FILTER, KIND_FILTER, STATE_FILTER, GrowingAdmin, Press
from bots.models import Attempt, Job, JobKind, WorkState
from bots.models.job import MOVES
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


def _uncertain(job: Job) -> bool:
    return job.state == WorkState.UNCERTAIN


def _can_become(to: WorkState) -> Callable[[Job], bool]:
    # Running jobs go back to their lane by themselves, uncertain ones by a person's word.
    steered = (WorkState.RUNNING, WorkState.UNCERTAIN)
    return lambda job: job.state not in steered and to in MOVES.get(WorkState(job.state), ())


@admin.register(Job)
class JobAdmin(GrowingAdmin):
    list_display = (
        "number",
        "state_shown",
        "kind",
        "bot",
        "channel",
        "requested_by",
        "created_shown",
        "attempts",
        "error_code",
    )
    list_select_related = ("bot", "channel")
    list_filter = (STATE_FILTER, KIND_FILTER, BOT_FILTER)
    search_fields = ("=id", "requested_by", "error_code", "error_detail")
    actions = ("retry_chosen", "cancel_chosen")
    empty_hint = "Nothing was asked yet. Open a bot and press Send a message."
    change_form_outer_before_template = "admin/bots/job/before.html"
    change_form_outer_after_template = "admin/bots/tables.html"
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

    def get_fieldsets(self, request: HttpRequest, obj: Job | None = None) -> Any:
        times: list[tuple[str, ...]] = [
            ("created_shown", "started_shown"),
            ("finished_shown", "attempts"),
        ]
        if obj and obj.not_before:
            times.append(("not_before_shown",))
        if obj and obj.expires_at:
            times.append(("expires_shown",))
        return [
            ("What was asked", {"fields": ["kind", ("bot", "channel_shown"), "asked"]}),
            ("When", {"fields": [("requested_by", "priority"), *times]}),
        ]

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        waiting = row.state in (WorkState.QUEUED, WorkState.RUNNING)
        return {
            "state": looks.state(row.state),
            "reload_seconds": 2 if waiting else 0,
            "outcome": [*_people(row.result), *_messages(row.result), *_rest(row.result)],
            "tables": [_attempts(row)],
        }

    @action(description="Retry", permissions=["operate"])
    def retry_chosen(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self.do_each(request, queryset.order_by("pk"), jobs.retry, "Jobs queued again")

    @action(description="Cancel", permissions=["operate"])
    def cancel_chosen(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self.do_each(request, queryset.order_by("pk"), jobs.cancel, "Jobs cancelled")

    @display(description="Job")
    def number(self, job: Job) -> str:
        return str(job.pk)

    @display(description="State")
    def state_shown(self, job: Job) -> str:
        return looks.state(job.state)

    @display(description="Channel")
    def channel_shown(self, job: Job) -> str:
        return looks.link(job.channel)

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
    def asked(self, job: Job) -> str:
        known = {"channel"} if job.channel else set()
        asked = {k: v for k, v in job.payload.items() if k not in known}
        # What is sent to a platform in its own words may hold a password.
        return looks.pairs(redact(asked) if job.kind == JobKind.CUSTOM_REQUEST else asked)


def _people(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The outcome for each person."""
    if not result.get("people"):
        return []
    rows = (
        (
            outcome["asked"],
            looks.badge("done", "success") if outcome["ok"] else looks.badge("failed", "danger"),
            outcome["code"] or looks.NOTHING,
            outcome["detail"] or looks.NOTHING,
        )
        for outcome in result["people"]
    )
    return [
        {
            "title": "Outcome for each person",
            "table": looks.table(("Person", "Outcome", "Code", "Detail"), rows),
        }
    ]


def _messages(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not result.get("messages"):
        return []
    rows = (
        (
            looks.moment(datetime.fromisoformat(message["sent_at"])),
            message["remote_id"],
            looks.block(message["text"]),
        )
        for message in result["messages"]
    )
    return [
        {
            "title": "Messages sent",
            "table": looks.table(("Sent", "Id on the platform", "Text"), rows),
        }
    ]


def _rest(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = {k: v for k, v in result.items() if k not in ("people", "failed", "messages", "parts")}
    if not told:
        return []
    rows = (
        (name.replace("_", " "), looks.pairs(value) if isinstance(value, dict) else str(value))
        for name, value in told.items()
    )
    return [{"title": "Result", "table": looks.table(("What", "Value"), rows)}]


def _attempts(job: Job) -> dict[str, Any]:
    rows = (
        (
            attempt.number,
            looks.moment(attempt.at),
            f"{attempt.seconds:.3f} s",
            looks.badge(
                attempt.outcome,
                looks.COLOURS.get(WorkState(attempt.outcome), "")
                if attempt.outcome in WorkState
                else "danger",
            ),
            _exchange(attempt),
        )
        for attempt in job.attempt_log.all()
    )
    return {
        "title": "Attempts",
        "table": looks.table(("Attempt", "At", "Took", "Outcome", "Request and response"), rows),
        "nothing": "Nobody tried yet.",
    }


def _exchange(attempt: Attempt) -> str:
    return format_html(
        '<details><summary class="cursor-pointer text-link">Show</summary>{}{}</details>',
        looks.pretty(attempt.request),
        looks.pretty(attempt.response),
    )
