"""The list of bots: how all of them are. It follows by itself."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.decorators import display
from unfold.views import ChangeList

from bots.admin import bot_cells, live, platforms
from bots.admin.base import Rows
from bots.admin.bot_filters import FILTERS, visible_labels
from bots.admin.bot_many import ManyBots
from bots.admin.live import Piece
from bots.connections import states
from bots.models import Bot
from bots.targets import as_id

PER_PAGE = 50


class BotRows(Rows):
    """The bots of a page, with what is known of all of them at once."""

    cells: bot_cells.Cells
    follow: Piece | None = None
    root_queryset: QuerySet[Bot]

    def get_queryset(self, request: HttpRequest, **kwargs: Any) -> QuerySet[Bot]:
        self.root_queryset = states.annotated(self.root_queryset)  # to be sorted by what is shown
        return super().get_queryset(request, **kwargs)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: list[Bot] = list(self.result_list)
        prefetch_related_objects(self.result_list, "labels")
        self.cells = bot_cells.Cells(self.result_list)
        for bot in self.result_list:
            bot.cells = self.cells  # type: ignore[attr-defined]  # columns are given the bot only
        if self.result_list:
            shown = "-".join(str(bot.pk) for bot in self.result_list)
            url = f"{self.model_admin.url('follow')}?bots={shown}"
            self.follow = Piece(name="follow", url=url, html=SafeString(""))


class BotList(ManyBots):
    """What `BotAdmin` shows as its list."""

    list_display = (
        "name_shown",
        "state_shown",
        "place_shown",
        "labels_shown",
        "last_event_shown",
        "queue_shown",
        "rate_shown",
    )
    list_display_links = None  # the name is one
    list_select_related = ("space", "connection")
    list_filter = FILTERS
    list_per_page = PER_PAGE
    list_max_show_all = 0
    search_fields = ("name", "slug", "space__name", "labels__name", "person__username")
    search_help_text = "Name, slug, space, label, account"
    empty_hint = "A bot is an account in a space. Add a space first, then a bot there."

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BotRows

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.follow))
        labels = self.admin_site.admin_view(require_GET(self.labels))
        return [
            path("follow/", view, name=self._url_name("follow")),
            path("labels/", labels, name=self._url_name("labels")),
            *super().get_urls(),
        ]

    def labels(self, request: HttpRequest) -> HttpResponse:
        """The labels of all bots that who asks may see, for suggestions."""
        if not self.has_view_permission(request):
            raise Http404
        names = visible_labels(request).values_list("name", flat=True)
        return JsonResponse({"labels": list(names)})

    def follow(self, request: HttpRequest) -> HttpResponse:
        """What changed of the bots that a page shows."""
        if not self.has_view_permission(request):
            raise Http404
        asked = request.GET.get("bots", "")
        ids = [pk for word in asked.split("-") if (pk := as_id(word)) is not None][:PER_PAGE]
        rows: QuerySet[Bot] = self.get_queryset(request).filter(pk__in=ids).order_by("pk")
        cells = bot_cells.Cells(list(rows.select_related(*self.list_select_related)))
        piece = live.piece(
            request,
            "follow",
            request.get_full_path(),
            "admin/bots/bot/cells.html",
            {"cells": cells.all()},
        )
        return live.follow(request, piece)

    @display(description="Bot", ordering="name")
    def name_shown(self, bot: Bot) -> SafeString:
        return bot_cells.identity(bot)

    @display(description="State", ordering="shown_state")
    def state_shown(self, bot: Any) -> SafeString:
        return bot.cells.place("state", bot)

    @display(description="Space", ordering="space__name")
    def place_shown(self, bot: Bot) -> SafeString:
        return bot_cells.two_lines(bot.space.name, platforms.label(bot.space.platform))

    @display(description="Labels")
    def labels_shown(self, bot: Bot) -> SafeString | str:
        return bot_cells.labels(bot)

    @display(description="Last event", ordering="connection__last_event_at")
    def last_event_shown(self, bot: Any) -> SafeString:
        return bot.cells.place("last_event", bot)

    @display(description="Queue")
    def queue_shown(self, bot: Any) -> SafeString:
        return bot.cells.place("queue", bot)

    @display(description="Per minute")
    def rate_shown(self, bot: Any) -> SafeString:
        return bot.cells.place("rate", bot)
