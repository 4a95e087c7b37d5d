"""Events: what platforms told us, in our words and in theirs, and who got it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from unfold.decorators import display

from bots import access, dispatch
from bots.access import Actor
from bots.admin import looks
from bots.admin.base import BOT_FILTER, KIND_FILTER, GrowingAdmin, actor_of
from bots.admin.delivery import next_try
from bots.models import Event, SequenceEntry, Subscription

LATEST = 100


@admin.register(Event)
class EventAdmin(GrowingAdmin):
    list_display = ("number", "kind", "bot", "channel", "occurred_shown", "caught_up_shown")
    list_select_related = ("bot", "channel")
    list_filter = (BOT_FILTER, KIND_FILTER)
    search_fields = ("=id", "=dedupe_key")
    change_form_outer_after_template = "admin/bots/tables.html"
    empty_hint = "Events come from connected bots. Open a bot and look at its connection."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "seq_shown",
                    "kind",
                    "bot",
                    "channel_shown",
                    "occurred_shown",
                    "stored_shown",
                    "caught_up_shown",
                    "dedupe_key",
                )
            },
        ),
        ("In our words", {"fields": ("data_shown",)}),
        ("In the platform's words", {"fields": ("raw_shown",)}),
    )

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"tables": [_who_got(row, actor_of(request)), _handler_runs(row)]}

    @display(description="Number")
    def seq_shown(self, event: Event) -> str:
        entry = _entry(event)
        return "not yet" if entry is None else f"{entry.seq:,}"

    @display(description="Event")
    def number(self, event: Event) -> str:
        return str(event.pk)

    @display(description="Channel")
    def channel_shown(self, event: Event) -> str:
        return looks.link(event.channel)

    @display(description="Happened")
    def occurred_shown(self, event: Event) -> str:
        return looks.moment(event.occurred_at)

    @display(description="Stored")
    def stored_shown(self, event: Event) -> str:
        return looks.moment(event.stored_at)

    @display(description="Caught up")
    def caught_up_shown(self, event: Event) -> str:
        return looks.yes(event.catch_up)

    @display(description="Data")
    def data_shown(self, event: Event) -> str:
        return looks.pretty(event.data)

    @display(description="Raw payload")
    def raw_shown(self, event: Event) -> str:
        return looks.pretty(event.raw)


def _entry(event: Event) -> SequenceEntry | None:
    return getattr(event, "entry", None)


def _who_got(event: Event, actor: Actor) -> dict[str, Any]:
    made = access.deliveries(actor).filter(event=event).select_related("subscription")
    deliveries = list(made.order_by("pk")[: LATEST + 1])
    rows = [
        (
            looks.link(delivery.subscription),
            looks.link(delivery, looks.state(delivery.state)),
            delivery.attempts,
            delivery.error_code or looks.NOTHING,
            next_try(delivery),
            looks.moment(delivery.finished_at),
        )
        for delivery in deliveries[:LATEST]
    ]
    told = {delivery.subscription_id for delivery in deliveries}
    rows += [
        (
            looks.link(subscription),
            looks.badge("waits" if subscription.enabled else "switched off"),
            0,
            looks.NOTHING,
            f"after event {subscription.position:,}",
            looks.NOTHING,
        )
        for subscription in _still_to_get(event, actor)
        if subscription.pk not in told
    ]
    return {
        "title": "Who got it",
        "table": looks.table(
            ("Subscription", "Delivery", "Attempts", "Error", "Next try", "Finished"), rows
        ),
        "all_url": f"{reverse('admin:bots_delivery_changelist')}?event__exact={event.pk}",
        "more": len(deliveries) > LATEST,
        "nothing": "No subscription wants it.",
    }


def _still_to_get(event: Event, actor: Actor) -> Iterator[Subscription]:
    """Subscriptions that want it and are not that far yet."""
    entry = _entry(event)
    if entry is None:
        return
    behind = list(access.subscriptions(actor).filter(position__lt=entry.seq))
    wanted = dispatch.all_wanted(behind)
    for subscription in behind:
        if wanted[subscription.pk].has(entry):
            yield subscription


def _handler_runs(event: Event) -> dict[str, Any]:
    rows = (
        (
            looks.link(run, run.handler),
            looks.state(run.state),
            run.attempts,
            run.error_code or looks.NOTHING,
            looks.moment(run.finished_at),
        )
        for run in event.handler_runs.order_by("pk")
    )
    return {
        "title": "Handlers",
        "table": looks.table(("Handler", "State", "Attempts", "Error", "Finished"), rows),
        "nothing": "No handler of its bot takes it.",
    }
