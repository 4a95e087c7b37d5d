"""Events: what platforms told us, in our words and in theirs, what changed, and who got it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from bots import tracing
from bots.access import Actor
from bots.admin import looks, sentences
from bots.admin.base import BOT_FILTER, CHANNEL_FILTER, KIND_FILTER
from bots.admin.in_channel import InChannel
from bots.admin.searching import SearchesNewest
from bots.admin.trace import TracedAdmin
from bots.models import Event
from bots.tracing import Trace, entry_of


@admin.register(Event)
class EventAdmin(TracedAdmin, SearchesNewest, InChannel):
    list_display = (
        "number",
        "told_shown",
        "kind",
        "bot",
        "room",
        "occurred_shown",
        "caught_up_shown",
    )
    list_select_related = ("bot", "channel")
    list_filter = (BOT_FILTER, KIND_FILTER, CHANNEL_FILTER)
    search_fields = ("=dedupe_key",)
    search_help_text = "An event's number; or the platform's id for it, among the newest."
    empty_hint = "Events come from connected bots. Open a bot and look at its connection."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "told_shown",
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

    def trace(self, actor: Actor, row: Any) -> Trace:
        return tracing.of_event(actor, row)

    @display(description="What happened")
    def told_shown(self, event: Event) -> SafeString:
        return format_html('<span class="told">{}</span>', sentences.sentence(event))

    @display(description="Number")
    def seq_shown(self, event: Event) -> str:
        entry = entry_of(event)
        return "not yet" if entry is None else f"{entry.seq:,}"

    @display(description="Event")
    def number(self, event: Event) -> str:
        return str(event.pk)

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
