"""Messages: what bots heard and said."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from bots import tracing
from bots.access import Actor
from bots.admin import looks
from bots.admin.base import BOT_FILTER, CHANNEL_FILTER, actor_of
from bots.admin.in_channel import InChannel
from bots.admin.searching import SearchesNewest, newest
from bots.admin.trace import TracedAdmin
from bots.models import Message
from bots.tracing import Trace

OTHERS = 20  # bots that saw the same


@admin.register(Message)
class MessageAdmin(TracedAdmin, SearchesNewest, InChannel):
    list_display = ("sent_shown", "text_shown", "direction_shown", "bot", "room", "sender")
    list_select_related = ("bot", "channel", "sender")
    list_filter = (BOT_FILTER, ("direction", ChoicesDropdownFilter), CHANNEL_FILTER)
    search_fields = ("text", "=remote_id")
    search_help_text = "Words of the text, or the platform's id, among the newest messages."
    empty_hint = "Nothing was said yet. Open a bot and press Send a message."
    fieldsets = (
        ("Content", {"fields": ("whole_text", "card_shown", "files_shown", "reactions_shown")}),
        (
            "What is known of it",
            {
                "fields": (
                    "bot",
                    "channel_shown",
                    "direction_shown",
                    "sender_shown",
                    "sent_shown",
                    "edited_shown",
                    "deleted_shown",
                    "job_shown",
                    "remote_id",
                    "thread_shown",
                    "others_shown",
                )
            },
        ),
    )

    def trace(self, actor: Actor, row: Any) -> Trace:
        return tracing.of_message(actor, row)

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Message | None:
        message: Message | None = super().get_object(request, *args, **kwargs)
        if message is not None:
            message.others = self._others(request, message)  # type: ignore[attr-defined]
        return message

    def numbered(self, rows: QuerySet[Any], number: int) -> QuerySet[Any]:
        """A number may be part of a text, or the platform's id."""
        late = newest(rows)
        return late.filter(text__icontains=number) | late.filter(remote_id=str(number))

    def _others(self, request: HttpRequest, message: Message) -> SafeString | str:
        seen = list(tracing.seen_by_others(actor_of(request), message)[: OTHERS + 1])
        links = [(looks.link(row, str(row.bot)),) for row in seen[:OTHERS]]
        told = format_html_join(", ", "{}", links) or looks.NOTHING
        return format_html("{} and others", told) if len(seen) > OTHERS else told

    @display(description="Sent")
    def sent_shown(self, message: Message) -> str:
        return looks.moment(message.sent_at)

    @display(description="Edited")
    def edited_shown(self, message: Message) -> str:
        return looks.moment(message.edited_at)

    @display(description="Deleted")
    def deleted_shown(self, message: Message) -> str:
        return looks.moment(message.deleted_at)

    @display(description="Direction")
    def direction_shown(self, message: Message) -> str:
        return looks.badge(message.direction, "info" if message.direction == "out" else "")

    @display(description="From")
    def sender_shown(self, message: Message) -> str:
        return looks.link(message.sender)

    @display(description="Job")
    def job_shown(self, message: Message) -> str:
        return looks.link(message.job)

    @display(description="Answers")
    def thread_shown(self, message: Message) -> SafeString | str:
        if not message.thread:
            return looks.NOTHING
        answered = Message.objects.filter(bot=message.bot_id, remote_id=message.thread).first()
        return looks.link(answered) if answered else message.thread

    @display(description="Also seen by")
    def others_shown(self, message: Any) -> SafeString | str:
        told: SafeString | str = message.others
        return told

    @display(description="Reactions")
    def reactions_shown(self, message: Message) -> str:
        if message.reactions is None:
            return "not known"
        given = [f"{one['name']}" for one in message.reactions]
        counted = (f"{name} × {given.count(name)}" for name in dict.fromkeys(given))
        return ", ".join(counted) or looks.NOTHING

    @display(description="Text")
    def text_shown(self, message: Message) -> SafeString:
        shown = Truncator(message.text).chars(120) or _without_text(message)
        return format_html('<span class="told">{}</span>', shown)

    @display(description="Text")
    def whole_text(self, message: Message) -> str:
        return looks.block(message.text)

    @display(description="Card")
    def card_shown(self, message: Message) -> str:
        return looks.pairs(message.card or {})

    @display(description="Files")
    def files_shown(self, message: Message) -> str:
        return ", ".join(f"{f['name']} ({f.get('size', 0)} bytes)" for f in message.files)


def _without_text(message: Message) -> str:
    if message.card:
        return f"card: {message.card.get('title', '')}"
    return f"{len(message.files)} files" if message.files else looks.NOTHING
