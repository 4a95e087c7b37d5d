"""Bulk actions: how far they are, and what became of them for each bot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from bots import access, bulk_actions
from bots.admin import live, looks
from bots.admin.base import GrowingAdmin, Rows, actor_of, may
from bots.admin.live import Piece
from bots.admin.posting import looked_at
from bots.admin.progress import Progress
from bots.models import BulkAction, BulkItem, BulkKind, ItemState
from bots.refusals import Refused

PER_PAGE = 100  # results on the page of one
TITLES = {
    BulkKind.START: "Start bots",
    BulkKind.STOP: "Stop bots",
    BulkKind.RECONNECT: "Reconnect bots",
    BulkKind.SYNC: "Sync bots",
    BulkKind.ROTATE: "New credentials",
}
COLOURS = {ItemState.DONE: "success", ItemState.FAILED: "danger", ItemState.RUNNING: "info"}
FAILED_FIRST = Case(
    When(state=ItemState.FAILED, then=Value(0)),
    When(state=ItemState.RUNNING, then=Value(1)),
    When(state=ItemState.WAITING, then=Value(2)),
    default=Value(3),
)


class BulkRows(Rows):
    """The actions of a page, with their progress."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: list[BulkAction] = list(self.result_list)
        progress = progress_of(self.result_list, request)
        for row in self.result_list:
            row.progress = progress[row.pk]  # type: ignore[attr-defined]  # columns get the row


def progress_of(rows: list[BulkAction], request: HttpRequest) -> Mapping[int, Progress]:
    """By the actions' ids; of the bots that who asks may see."""
    items = access.bulk_items(actor_of(request)).filter(action__in=[row.pk for row in rows])
    counted = items.order_by().values_list("action", "state").annotate(count=Count("pk"))
    counts: dict[int, dict[str, int]] = {row.pk: {} for row in rows}
    for action_id, state, count in counted:
        counts[action_id][state] = count
    return {pk: _progress(Counter(of_states)) for pk, of_states in counts.items()}


def _progress(counts: Counter[str]) -> Progress:
    return Progress(
        done=counts[ItemState.DONE],
        failed=counts[ItemState.FAILED],
        waiting=counts[ItemState.WAITING] + counts[ItemState.RUNNING],
    )


@admin.register(BulkAction)
class BulkActionAdmin(GrowingAdmin):
    change_form_outer_before_template = "admin/bots/bulkaction/before.html"
    list_display = (
        "title_shown",
        "count_shown",
        "progress_shown",
        "state_shown",
        "requested_by",
        "asked_shown",
    )
    list_filter = (("kind", ChoicesDropdownFilter),)
    search_fields = ("=id", "requested_by")
    empty_hint = "Choose bots in the list of bots, then what to do with all of them."

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return []  # all is said above them, and follows there

    def get_queryset(self, request: HttpRequest) -> QuerySet[BulkAction]:
        return super().get_queryset(request).select_related("retry_of")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BulkRows

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:pk>/follow/",
                self.admin_site.admin_view(require_GET(self.follow)),
                name=self._url_name("follow"),
            ),
            path(
                "<int:pk>/retry/",
                self.admin_site.admin_view(self.retry),
                name=self._url_name("retry"),
            ),
            *super().get_urls(),
        ]

    # The page -----------------------------------------------------------------------------------

    def beside(self, request: HttpRequest, row: BulkAction) -> dict[str, Any]:
        return {"live": self._piece(request, row)}

    def follow(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = self.visible(request, pk)
        return live.follow(request, self._piece(request, row))

    def _piece(self, request: HttpRequest, row: BulkAction) -> Piece:
        page = self._results(request, row)
        progress = progress_of([row], request)[row.pk]
        is_over = not progress.waiting
        again = self._again(request, row) if is_over and progress.failed else {}
        retries = access.bulk_actions(actor_of(request)).filter(retry_of=row)
        return live.piece(
            request,
            "bulk-action",
            f"{self.url('follow', row.pk)}?page={page.number}",
            "admin/bots/bulkaction/results.html",
            {
                "row": row,
                "title": TITLES[BulkKind(row.kind)],
                "progress": progress,
                "is_over": is_over,
                "page": page,
                "asked": looks.moment(row.created_at),
                "lines": [(item, _state(item)) for item in page],
                "retries": retries.order_by("pk")[:10],
                **again,
            },
            every=0 if is_over else live.SECONDS / 3,
        )

    def _results(self, request: HttpRequest, row: BulkAction) -> Page[BulkItem]:
        items = access.bulk_items(actor_of(request)).filter(action=row)
        failed_first: QuerySet[BulkItem] = items.order_by(FAILED_FIRST, "name", "pk")
        shown = failed_first.select_related("bot", "job").defer("values")
        return Paginator(shown, PER_PAGE).get_page(request.GET.get("page"))

    def _again(self, request: HttpRequest, row: BulkAction) -> dict[str, str]:
        """Where the button goes that tries once more, and which bots it takes along."""
        if not may(request, bulk_actions.ACTS[BulkKind(row.kind)]):
            return {}
        bots = bulk_actions.failed_bots(row, _user(request))
        if not bots:
            return {}
        if row.kind != BulkKind.ROTATE:
            return {"again_url": self.url("retry", row.pk)}
        return {
            "again_url": reverse("admin:bots_bot_rotate_many"),
            "again_bots": ",".join(str(bot.pk) for bot in bots),
        }

    def retry(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Once more with those that failed, as an action of its own."""
        row = get_object_or_404(self.get_queryset(request), pk=pk)
        if not may(request, bulk_actions.ACTS[BulkKind(row.kind)]):
            raise PermissionDenied
        if request.method != "POST":
            return looked_at(request, self.url("change", row.pk))
        try:
            begun = bulk_actions.retry(row, user=_user(request))
        except Refused as refused:
            messages.error(request, refused.detail)
            return redirect(self.url("change", row.pk))
        return redirect(self.url("change", begun.pk))

    # What is shown ------------------------------------------------------------------------------

    @display(description="What")
    def title_shown(self, row: BulkAction) -> str:
        return TITLES[BulkKind(row.kind)]

    @display(description="Bots")
    def count_shown(self, row: Any) -> str:
        return f"{row.progress.total:,}"

    @display(description="Outcome")
    def progress_shown(self, row: Any) -> str:
        return row.progress.words or looks.NOTHING

    @display(description="State")
    def state_shown(self, row: Any) -> SafeString:
        if row.progress.waiting:  # of the bots that the reader sees, as on its page
            return looks.badge("under way", "info")
        if row.progress.failed:
            return looks.badge("finished, some failed", "warning")
        return looks.badge("finished", "success")

    @display(description="Asked")
    def asked_shown(self, row: BulkAction) -> str:
        return looks.moment(row.created_at)


def _state(item: BulkItem) -> SafeString:
    return looks.badge(item.state, COLOURS.get(ItemState(item.state), ""))


def _user(request: HttpRequest) -> Any:
    """Whoever asks is logged in: the admin lets in nobody else."""
    return request.user
