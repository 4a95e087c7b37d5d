"""People: everybody that bots have met."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from bots import access
from bots.admin import looks
from bots.admin.base import GrowingAdmin, OfChannel, SearchedFilter, actor_of
from spaces.models import Channel, Participant, Person

LATEST = 50


class InChannel(OfChannel):
    def of(self, rows: QuerySet[Any], channels: QuerySet[Channel]) -> QuerySet[Any]:
        return rows.filter(participations__channel__in=channels)


@admin.register(Person)
class PersonAdmin(GrowingAdmin):
    list_display = ("shown", "username", "email", "is_bot_shown", "space", "seen_shown")
    list_select_related = ("space",)
    list_filter = (("space", SearchedFilter), "is_bot", InChannel)
    search_fields = ("username", "name", "email", "=remote_id")
    empty_hint = "People appear when a bot shares a channel with them. Press Sync on a bot."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "space",
                    "username",
                    "name",
                    "email",
                    "is_bot_shown",
                    "remote_id",
                    "seen_shown",
                )
            },
        ),
    )
    change_form_outer_after_template = "admin/bots/tables.html"

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        visible = access.channels(actor_of(request))
        rows = Participant.objects.filter(person=row, channel__in=visible)
        rows = rows.select_related("channel").order_by("-pk")[:LATEST]
        return {
            "tables": [
                {
                    "title": "Channels",
                    "table": looks.table(
                        ("Channel", "Role", "Joined"),
                        ((looks.link(r.channel), r.role, looks.moment(r.joined_at)) for r in rows),
                    ),
                    "nothing": "In no channel that your bots are in.",
                }
            ]
        }

    @display(description="Person")
    def shown(self, person: Person) -> str:
        return str(person)

    @display(description="Bot")
    def is_bot_shown(self, person: Person) -> str:
        return looks.yes(person.is_bot)

    @display(description="Seen")
    def seen_shown(self, person: Person) -> str:
        return looks.moment(person.seen_at)
