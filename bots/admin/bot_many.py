"""What is done with many bots at once: chosen in the list, done in the background.

What cannot be taken back asks first: a page that names the bots, whose form comes back here.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import action

from bots import bulk_actions
from bots.access import Act
from bots.admin.base import OperatorAdmin, may
from bots.admin.bot_rotation import RotationForm
from bots.admin.posting import looked_at
from bots.models import Bot, BulkAction, BulkKind
from bots.refusals import Invalid, Refused
from bots.targets import as_id

NAMED = 200  # bots that a page names; of the others it says how many they are
MOST = 10_000  # bots that a form may name


class ManyBots(OperatorAdmin):
    """The actions of the list of bots, and the pages that ask."""

    actions = (
        "start_chosen",
        "stop_chosen",
        "reconnect_chosen",
        "sync_chosen",
        "rotate_chosen",
    )

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return may(request, Act.CHANGE_BOT)

    @action(description="Start", permissions=["operate"])
    def start_chosen(self, request: HttpRequest, bots: QuerySet[Bot]) -> HttpResponse:
        return self._begin(request, BulkKind.START, bots)

    @action(description="Stop", permissions=["operate"])
    def stop_chosen(self, request: HttpRequest, bots: QuerySet[Bot]) -> HttpResponse:
        return self._ask_to_stop(request, bots)

    @action(description="Reconnect", permissions=["operate"])
    def reconnect_chosen(self, request: HttpRequest, bots: QuerySet[Bot]) -> HttpResponse:
        return self._begin(request, BulkKind.RECONNECT, bots)

    @action(description="Sync", permissions=["operate"])
    def sync_chosen(self, request: HttpRequest, bots: QuerySet[Bot]) -> HttpResponse:
        return self._begin(request, BulkKind.SYNC, bots)

    @action(description="Rotate: new credentials", permissions=["rotate"])
    def rotate_chosen(self, request: HttpRequest, bots: QuerySet[Bot]) -> HttpResponse:
        return self._ask_for_credentials(request, RotationForm(list(bots)))

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "many/stop/",
                self.admin_site.admin_view(self.stop_many),
                name=self._url_name("stop_many"),
            ),
            path(
                "many/rotate/",
                self.admin_site.admin_view(self.rotate_many),
                name=self._url_name("rotate_many"),
            ),
            *super().get_urls(),
        ]

    def stop_many(self, request: HttpRequest) -> HttpResponse:
        """What the page that asks whether to stop them says."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return looked_at(request, self.url("changelist"))
        try:
            bots = self._named(request)
        except Invalid as refused:
            return self._refused(request, refused)
        return self._begin(request, BulkKind.STOP, bots)

    @method_decorator(sensitive_post_parameters())
    def rotate_many(self, request: HttpRequest) -> HttpResponse:
        """The page for new credentials, asked for with some bots, or what was entered there."""
        if not self.has_rotate_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return looked_at(request, self.url("changelist"))
        try:
            bots = list(self._named(request))
        except Invalid as refused:
            return self._refused(request, refused)
        if "entered" not in request.POST:
            return self._ask_for_credentials(request, RotationForm(bots))
        form = RotationForm(bots, request.POST)
        if not form.is_valid():
            return self._ask_for_credentials(request, form)
        try:
            begun = bulk_actions.rotate(form.values, user=self._user(request))
        except Refused as refused:
            form.add_error(None, refused.detail)
            return self._ask_for_credentials(request, form)
        return self._page_of(begun)

    def _named(self, request: HttpRequest) -> QuerySet[Bot]:
        """The bots that a form names, as far as they are here and visible. Raises `Invalid` for
        more than a database may be asked for at once."""
        words = request.POST.get("bots", "").split(",")
        if len(words) > MOST:
            raise Invalid(f"At most {MOST:,} bots at once. Choose fewer, with a filter.")
        ids = {pk for word in words if (pk := as_id(word)) is not None}
        rows: QuerySet[Bot] = self.get_queryset(request).filter(pk__in=ids)
        return rows

    def _begin(
        self, request: HttpRequest, kind: BulkKind, bots: QuerySet[Bot]
    ) -> HttpResponseRedirect:
        try:
            return self._page_of(bulk_actions.ask(kind, bots, user=self._user(request)))
        except Refused as refused:
            return self._refused(request, refused)

    def _refused(self, request: HttpRequest, refused: Refused) -> HttpResponseRedirect:
        messages.error(request, refused.detail)
        return redirect(self.url("changelist"))

    def _page_of(self, begun: BulkAction) -> HttpResponseRedirect:
        return redirect("admin:bots_bulkaction_change", begun.pk)

    def _user(self, request: HttpRequest) -> Any:
        return request.user

    def _ask_to_stop(self, request: HttpRequest, bots: QuerySet[Bot]) -> HttpResponse:
        chosen = list(bots)
        on = [bot for bot in chosen if bot.enabled]
        return self._asking(
            request,
            "admin/bots/bot/stop_many.html",
            chosen,
            {
                "title": f"Stop {_counted(len(chosen))}?",
                "named": chosen[:NAMED],
                "not_named": max(0, len(chosen) - NAMED),
                "off": len(chosen) - len(on),
            },
        )

    def _ask_for_credentials(self, request: HttpRequest, form: RotationForm) -> HttpResponse:
        if not form.bots:
            messages.error(request, "There is no bot to do it with.")
            return redirect(self.url("changelist"))
        return self._asking(
            request,
            "admin/bots/bot/rotate_many.html",
            form.bots,
            {"title": f"New credentials for {_counted(len(form.bots))}", "form": form},
        )

    def _asking(
        self, request: HttpRequest, template: str, bots: list[Bot], context: dict[str, Any]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "bots": ",".join(str(bot.pk) for bot in bots),
            "back": self.url("changelist"),
            **context,
        }
        return TemplateResponse(request, template, context)


def _counted(number: int) -> str:
    return f"{number:,} bot{'' if number == 1 else 's'}"
