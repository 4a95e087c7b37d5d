"""Messages: what bots heard and said."""

from __future__ import annotations

from django.contrib import admin
from django.utils.text import Truncator
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from bots.admin import looks
from bots.admin.base import BOT_FILTER, GrowingAdmin
from bots.models import Message


@admin.register(Message)
class MessageAdmin(GrowingAdmin):
    list_display = ("sent_shown", "direction_shown", "bot", "channel", "sender", "text_shown")
    list_select_related = ("bot", "channel", "sender")
    list_filter = (BOT_FILTER, ("direction", ChoicesDropdownFilter))
    search_fields = ("text", "=remote_id")
    empty_hint = "Nothing was said yet. Open a bot and press Send a message."
    fieldsets = (
        (
            None,
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
                    "thread",
                )
            },
        ),
        ("Content", {"fields": ("whole_text", "card_shown", "files_shown")}),
    )

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

    @display(description="Channel")
    def channel_shown(self, message: Message) -> str:
        return looks.link(message.channel)

    @display(description="From")
    def sender_shown(self, message: Message) -> str:
        return looks.link(message.sender)

    @display(description="Job")
    def job_shown(self, message: Message) -> str:
        return looks.link(message.job)

    @display(description="Text")
    def text_shown(self, message: Message) -> str:
        return Truncator(message.text).chars(80) or looks.NOTHING

    @display(description="Text")
    def whole_text(self, message: Message) -> str:
        return looks.block(message.text)

    @display(description="Card")
    def card_shown(self, message: Message) -> str:
        return looks.pairs(message.card or {})

    @display(description="Files")
    def files_shown(self, message: Message) -> str:
        return ", ".join(f"{f['name']} ({f.get('size', 0)} bytes)" for f in message.files)
