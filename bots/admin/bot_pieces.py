"""The page of a bot, put together: what stands on it, the pieces that follow by themselves, and the
buttons beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse

from bots.access import Act
from bots.admin import bot_history, bot_page, lane, live, platforms
from bots.admin.base import Button, OperatorAdmin, may
from bots.admin.live import Piece
from bots.admin.operations import OPERATIONS
from bots.admin.posting import looked_at
from bots.models import (
    Bot,
    Event,
    HandlerRun,
    Incident,
    Job,
    Lane,
    Message,
    Subscription,
)
from bots.refusals import NotSupported, Refused
from spaces.models import Channel

# Name of a piece → how often it is looked at, in seconds.
PIECES = {"state": 3.0, "history": 15.0, "work": 5.0}


class BotPieces(OperatorAdmin):
    """What `BotAdmin` shows around its form."""

    def get_urls(self) -> list[URLPattern]:
        views: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("<int:pk>/piece/<slug:name>/", "piece", self.piece),
            ("<int:pk>/lane/<int:lane_pk>/<slug:name>/", "lane", self.press_lane),
        )
        return [
            *(
                path(route, self.admin_site.admin_view(view), name=self._url_name(name))
                for route, name, view in views
            ),
            *super().get_urls(),
        ]

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        platform = platforms.find(row.space.platform)
        can_replace = may(request, Act.CHANGE_BOT) and platform and platform.credentials
        return {
            **{name: self._piece(request, row, name) for name in PIECES},
            **bot_page.around(row),
            "asks": self._asks(request, row),
            "replace_url": self.url("credentials", row.pk) if can_replace else "",
            "lists": _lists(row),
        }

    def buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        return [*super().buttons(request, row), *self._asks(request, row)]

    def _asks(self, request: HttpRequest, row: Any) -> list[Button]:
        """Buttons that lead to the form of an operation."""
        if not self.has_operate_permission(request, row):
            return []
        asks = []
        for name, operation in OPERATIONS.items():
            try:
                why_not = operation.why_not(row)
            except NotSupported:
                continue
            asks.append(
                Button(
                    label=operation.label,
                    icon=operation.icon,
                    url=self.url("ask", row.pk, name),
                    posts=False,
                    why_not=why_not,
                )
            )
        return asks

    # Pieces -------------------------------------------------------------------------------------

    def piece(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        if name not in PIECES:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        bot = get_object_or_404(self.get_queryset(request), pk=pk)
        return live.follow(request, self._piece(request, bot, name))

    def _piece(self, request: HttpRequest, bot: Bot, name: str) -> Piece:
        return live.piece(
            request,
            f"bot-{name}",
            self.url("piece", bot.pk, name),
            f"admin/bots/bot/{name}.html",
            getattr(self, f"_{name}_now")(request, bot),
            every=PIECES[name],
        )

    def _state_now(self, request: HttpRequest, bot: Bot) -> dict[str, Any]:
        presses = super().buttons(request, bot)
        return {
            **bot_page.connection(bot),
            "incidents": bot_page.incidents(bot),
            "presses": presses,
            "steps": {self.url("do", bot.pk, "test"): self.url("test", bot.pk)},
        }

    def _history_now(self, request: HttpRequest, bot: Bot) -> dict[str, Any]:
        return {"history": bot_history.of(bot), "lists": _lists(bot)}

    def _work_now(self, request: HttpRequest, bot: Bot) -> dict[str, Any]:
        work = bot_page.work(bot)
        may_steer = self.has_operate_permission(request, bot)
        lanes = [
            (one, self._lane_buttons(bot, one.lane) if may_steer else []) for one in work["lanes"]
        ]
        return {**work, "lanes": lanes, "lists": _lists(bot), "may_send": may_steer}

    # Lanes --------------------------------------------------------------------------------------

    def _lane_buttons(self, bot: Bot, row: Lane) -> list[Button]:
        return [
            Button(
                label=press.label,
                icon=press.icon,
                url=self.url("lane", bot.pk, row.pk, name),
                posts=True,
            )
            for name, press in lane.PRESSES.items()
            if press.offered(row)
        ]

    def press_lane(self, request: HttpRequest, pk: int, lane_pk: int, name: str) -> HttpResponse:
        """As the button on the page of the lane, and back to here."""
        bot = get_object_or_404(self.get_queryset(request), pk=pk)
        row = get_object_or_404(Lane.objects.select_related("bot"), pk=lane_pk, bot=bot)
        if name not in lane.PRESSES or not self.has_operate_permission(request, bot):
            raise PermissionDenied
        back = f"{self.url('change', bot.pk)}#bot-work"
        if request.method != "POST":
            return looked_at(request, back)
        try:
            messages.success(request, lane.PRESSES[name].run(request, row))
        except Refused as refused:
            messages.error(request, refused.detail)
        return redirect(back)


def _lists(bot: Bot) -> dict[str, str]:
    """Where it talks, and the other lists, of this bot only."""
    mine: tuple[tuple[str, type[Model]], ...] = (
        ("Messages", Message),
        ("Jobs", Job),
        ("Events", Event),
        ("Incidents", Incident),
        ("Handler runs", HandlerRun),
        ("Lanes", Lane),
    )
    return {
        "Chat": reverse("chat:rooms", args=[bot.slug]),
        "Channels": f"{_list(Channel)}?bot={bot.pk}",
        **{title: f"{_list(model)}?bot__id__exact={bot.pk}" for title, model in mine},
        "Subscriptions": f"{_list(Subscription)}?bot={bot.pk}",
    }


def _list(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
