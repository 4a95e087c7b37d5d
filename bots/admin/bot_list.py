"""The list of bots: how all of them are, and what is done with many at once."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from bots import lifecycle
from bots.admin import looks, platforms
from bots.admin.base import OperatorAdmin, VisibleFilter, actor_of
from bots.connections import states
from bots.models import Bot


class BotList(OperatorAdmin):
    """What `BotAdmin` shows as its list."""

    list_display = (
        "name",
        "slug",
        "state_shown",
        "space",
        "platform_shown",
        "receive",
        "last_event_shown",
    )
    list_select_related = ("space", "connection")
    list_filter = (
        ("space", VisibleFilter),
        ("connection__state", ChoicesDropdownFilter),
        "enabled",
    )
    search_fields = ("name", "slug", "space__name")
    actions = ("start_chosen", "stop_chosen", "reconnect_chosen", "sync_chosen")
    empty_hint = "A bot is an account in a space. Add a space first, then a bot there."

    @action(description="Start", permissions=["operate"])
    def start_chosen(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        self.do_each(request, queryset, lifecycle.start, "Bots started")

    @action(description="Stop", permissions=["operate"])
    def stop_chosen(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        self.do_each(request, queryset, lifecycle.stop, "Bots stopped")

    @action(description="Reconnect", permissions=["operate"])
    def reconnect_chosen(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        self.do_each(request, queryset, lifecycle.reconnect, "Bots that connect anew")

    @action(description="Sync", permissions=["operate"])
    def sync_chosen(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        by = actor_of(request).label
        self.do_each(
            request, queryset, lambda bot: lifecycle.sync(bot, requested_by=by), "Jobs for Sync"
        )

    @display(description="State", ordering="connection__state")
    def state_shown(self, bot: Bot) -> str:
        return looks.state(states.shown(bot).state)

    @display(description="Platform", ordering="space__platform")
    def platform_shown(self, bot: Bot) -> str:
        return platforms.label(bot.space.platform)

    @display(description="Last event", ordering="connection__last_event_at")
    def last_event_shown(self, bot: Bot) -> str:
        return looks.moment(bot.connection.last_event_at)
