"""Deliveries: which event went to whom, every try at it, and what was posted."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import TextFilter
from unfold.decorators import action, display

from bots import courier, subscriptions
from bots.access import Act
from bots.admin import looks
from bots.admin.base import (
    STATE_FILTER,
    SUBSCRIPTION_FILTER,
    GrowingAdmin,
    Press,
    SearchedFilter,
    may,
)
from bots.admin.subscription_health import NEXT_STEPS
from bots.models import Delivery, DeliveryAttempt, SequenceEntry, WorkState
from bots.models.lane import UNFINISHED

SCROLLED = "max-height: 16rem; overflow: auto"


def _retry(request: HttpRequest, delivery: Delivery) -> str:
    subscriptions.retry(delivery)
    if not delivery.subscription.enabled:
        return f"Delivery {delivery.pk} waits until its subscription is resumed."
    return f"Delivery {delivery.pk} is tried again."


def outcome(status: int | None, told: str | None) -> SafeString | str:
    """How a try ended: the receiver's status, or why there was none."""
    if not told:
        return looks.NOTHING
    return looks.badge(str(status or told), "success" if told == "succeeded" else "danger")


def next_try(delivery: Delivery) -> str:
    if delivery.state != WorkState.QUEUED:
        return looks.NOTHING
    if not delivery.subscription.enabled:
        return "when resumed"
    if (at := delivery.next_try_at) is not None:
        return looks.moment(at)
    return "in its turn" if delivery.not_before is None else "now"


class Code(TextFilter):
    title = "error code"
    parameter_name = "code"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (code := (self.value() or "").strip()):
            return queryset
        # Those that succeeded, which are nearly all, have none and need not be looked at.
        return queryset.filter(error_code=code, state__in=(*UNFINISHED, WorkState.FAILED))


@admin.register(Delivery)
class DeliveryAdmin(GrowingAdmin):
    list_display = (
        "number",
        "state_shown",
        "subscription",
        "kind",
        "bot",
        "attempts",
        "outcome_shown",
        "next_try_shown",
        "created_shown",
    )
    list_select_related = ("subscription", "event__bot")
    list_filter = (STATE_FILTER, SUBSCRIPTION_FILTER, ("event__bot", SearchedFilter), Code)
    search_fields = ("=id", "=event__id", "=seq")
    search_help_text = "The number of a delivery or an event."
    actions = ("retry_chosen",)
    empty_hint = "What subscriptions want is delivered as it happens. Add a subscription first."
    change_form_outer_before_template = "admin/bots/delivery/before.html"
    change_form_outer_after_template = "admin/bots/delivery/attempts.html"
    presses: ClassVar[dict[str, Press]] = {
        "retry": Press(
            label="Retry",
            icon="replay",
            run=_retry,
            offered=lambda delivery: delivery.state != WorkState.RUNNING,
        )
    }
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("subscription_shown", "event_shown"),
                    ("seq_shown", "attempts"),
                    ("created_shown", "next_try_shown"),
                    ("started_shown", "finished_shown"),
                )
            },
        ),
        ("What is posted", {"fields": ("body_shown",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        last = DeliveryAttempt.objects.filter(delivery=OuterRef("pk")).order_by("-pk")
        return (
            super()
            .get_queryset(request)
            .annotate(
                last_status=Subquery(last.values("status")[:1]),
                last_outcome=Subquery(last.values("outcome")[:1]),
            )
        )

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, Act.CHANGE_BOT)

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {
            "state": looks.state(row.state),
            "next_step": NEXT_STEPS.get(row.error_code, ""),
            "attempts": [_told(n, attempt) for n, attempt in enumerate(row.attempt_log.all(), 1)],
        }

    @action(description="Retry", permissions=["operate"])
    def retry_chosen(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        self.do_each(
            request, queryset.order_by("pk"), subscriptions.retry, "Deliveries queued again"
        )

    @display(description="Delivery")
    def number(self, delivery: Delivery) -> str:
        return str(delivery.pk)

    @display(description="State")
    def state_shown(self, delivery: Delivery) -> str:
        return looks.state(delivery.state)

    @display(description="Kind")
    def kind(self, delivery: Delivery) -> str:
        return delivery.event.kind

    @display(description="Bot")
    def bot(self, delivery: Delivery) -> str:
        return str(delivery.event.bot or looks.NOTHING)

    @display(description="Last outcome")
    def outcome_shown(self, delivery: Any) -> str:
        return outcome(delivery.last_status, delivery.last_outcome)

    @display(description="Next try")
    def next_try_shown(self, delivery: Delivery) -> str:
        return next_try(delivery)

    @display(description="Created")
    def created_shown(self, delivery: Delivery) -> str:
        return looks.moment(delivery.created_at)

    @display(description="Started")
    def started_shown(self, delivery: Delivery) -> str:
        return looks.moment(delivery.started_at)

    @display(description="Finished")
    def finished_shown(self, delivery: Delivery) -> str:
        return looks.moment(delivery.finished_at)

    @display(description="Subscription")
    def subscription_shown(self, delivery: Delivery) -> str:
        return looks.link(delivery.subscription)

    @display(description="Event")
    def event_shown(self, delivery: Delivery) -> str:
        return looks.link(delivery.event)

    @display(description="Number")
    def seq_shown(self, delivery: Delivery) -> str:
        return f"{delivery.seq:,}"

    @display(description="Body")
    def body_shown(self, delivery: Delivery) -> str:
        entries = SequenceEntry.objects.select_related("event__bot")
        entry = entries.filter(seq=delivery.seq).first()
        if entry is None:
            return looks.NOTHING
        # As JSON on one line it goes out; here it is to be read.
        return _scrolled(json.dumps(courier.body(entry), indent=2, ensure_ascii=False))


def _scrolled(text: str) -> SafeString:
    return format_html('<div style="{}" tabindex="0">{}</div>', SCROLLED, looks.block(text))


def _told(number: int, attempt: DeliveryAttempt) -> dict[str, Any]:
    """A try, as its template shows it. A replay begins its own numbers anew."""
    return {
        "number": number,
        "outcome": outcome(attempt.status, attempt.outcome),
        "at": looks.moment(attempt.at),
        "seconds": f"{attempt.seconds:.3f}\xa0s",
        "answer": _scrolled(attempt.answer) if attempt.answer else "",
    }
