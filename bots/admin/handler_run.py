"""Handler runs: which handler met which event, and why one failed."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import action, display

from bots import handlers, tracing
from bots.access import Actor
from bots.admin import looks
from bots.admin.base import BOT_FILTER, STATE_FILTER, Press
from bots.admin.searching import SearchesNewest
from bots.admin.trace import TracedAdmin
from bots.models import HandlerRun, WorkState
from bots.tracing import Trace


def _retry(request: HttpRequest, run: HandlerRun) -> str:
    handlers.retry(run)
    return f"{run} is queued again."


@admin.register(HandlerRun)
class HandlerRunAdmin(TracedAdmin, SearchesNewest):
    list_display = (
        "number",
        "state_shown",
        "handler",
        "bot",
        "event",
        "created_shown",
        "attempts",
        "error_code",
    )
    list_select_related = ("bot", "event")
    list_filter = (STATE_FILTER, BOT_FILTER)
    search_fields = ("=handler", "error_detail")
    search_help_text = "A run's number; or a handler, or words of its error, among the newest."
    actions = ("retry_chosen",)
    empty_hint = "Handlers run when events arrive. Choose handlers on a bot, under Behaviour."
    presses: ClassVar[dict[str, Press]] = {
        "retry": Press(
            label="Retry",
            icon="replay",
            run=_retry,
            offered=lambda run: run.state == WorkState.FAILED,
        )
    }

    def trace(self, actor: Actor, row: Any) -> Trace:
        return tracing.of_run(actor, row)

    def get_fieldsets(self, request: HttpRequest, obj: HandlerRun | None = None) -> Any:
        fields = ["state_shown", "handler", "bot", "event_shown", "attempts"]
        times = ["created_shown", "started_shown", "finished_shown"]
        error = ["error_code", "error_detail"]
        if self.has_operate_permission(request, obj):
            error.append("traceback_shown")  # may quote what somebody wrote to the bot
        return [
            (None, {"fields": [*fields, *times]}),
            *([("Error", {"fields": error})] if obj and obj.error_code else []),
        ]

    @action(description="Retry", permissions=["operate"])
    def retry_chosen(self, request: HttpRequest, queryset: QuerySet[HandlerRun]) -> None:
        self.do_each(request, queryset.order_by("pk"), handlers.retry, "Handler runs queued again")

    @display(description="Run")
    def number(self, run: HandlerRun) -> str:
        return str(run.pk)

    @display(description="State")
    def state_shown(self, run: HandlerRun) -> str:
        return looks.state(run.state)

    @display(description="Event")
    def event_shown(self, run: HandlerRun) -> str:
        return looks.link(run.event)

    @display(description="Created")
    def created_shown(self, run: HandlerRun) -> str:
        return looks.moment(run.created_at)

    @display(description="Started")
    def started_shown(self, run: HandlerRun) -> str:
        return looks.moment(run.started_at)

    @display(description="Finished")
    def finished_shown(self, run: HandlerRun) -> str:
        return looks.moment(run.finished_at)

    @display(description="Traceback")
    def traceback_shown(self, run: HandlerRun) -> str:
        return looks.block(run.traceback)
