"""Events: what platforms told us, in our words and in theirs."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from bots.admin import looks
from bots.admin.base import BOT_FILTER, KIND_FILTER, GrowingAdmin
from bots.models import Event


@admin.register(Event)
class EventAdmin(GrowingAdmin):
    list_display = ("number", "kind", "bot", "channel", "occurred_shown", "caught_up_shown")
    list_select_related = ("bot", "channel")
    list_filter = (BOT_FILTER, KIND_FILTER)
    search_fields = ("=id", "=dedupe_key")
    empty_hint = "Events come from connected bots. Open a bot and look at its connection."
    fieldsets = (
        (
            None,
            {
                "fields": (
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
