"""Participants of many channels at once: the dry run, how far it is, and what became of each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from bots import job_groups
from bots.admin import group_figures, group_results, live, looks
from bots.admin.base import BOT_FILTER, STATE_FILTER, Button, Press, actor_of
from bots.admin.group_figures import counts_in
from bots.admin.group_results import DRY, Wish
from bots.admin.live import Piece
from bots.admin.people_in import PeopleIn
from bots.job_groups import Counts
from bots.models import (
    Fate,
    Found,
    GroupChannel,
    GroupKind,
    GroupState,
    JobGroup,
    WorkState,
)
from bots.models.job_group import OPEN_GROUPS
from bots.refusals import Refused

FOLLOW_SECONDS = 1.5
UNCLEAR_SHOWN = 5  # jobs that wait for a person
CORRECTED = (GroupState.CHECKED, GroupState.STOPPED, GroupState.FINISHED)  # as a new dry run


def _run(request: HttpRequest, group: JobGroup) -> str:
    job_groups.run(group)
    return "It runs. This page follows it; it goes on without it, too."


def _leave_out(request: HttpRequest, group: JobGroup) -> str:
    return f"Left out: {job_groups.leave_out(group):,}."


def _check_again(request: HttpRequest, group: JobGroup) -> str:
    job_groups.check_again(group)
    return "It is checked again."


def _retry(request: HttpRequest, group: JobGroup) -> str:
    return f"Tried again: {job_groups.try_again(group, Fate.FAILED):,}."


def _take_up(request: HttpRequest, group: JobGroup) -> str:
    return f"Taken up again: {job_groups.try_again(group, Fate.CANCELLED):,}."


def _cancel(request: HttpRequest, group: JobGroup) -> str:
    job_groups.cancel(group)
    if group.state == GroupState.CHECKING:
        return "The dry run is stopped. Nothing was changed."
    return "What waits is being cancelled. What was done stays, and what is under way ends."


def _every(group: JobGroup) -> float:
    """How often its page looks, in seconds."""
    if group.state in OPEN_GROUPS:
        return FOLLOW_SECONDS
    # What was checked somebody else may run; and after a while it is too old to be run.
    return live.SECONDS if group.state == GroupState.CHECKED else 0


@admin.register(JobGroup)
class JobGroupAdmin(PeopleIn):
    list_display = ("shown", "state_shown", "bot", "requested_by", "created_shown")
    list_select_related = ("bot",)
    list_filter = (STATE_FILTER, ("kind", ChoicesDropdownFilter), BOT_FILTER)
    search_fields = ("=id", "requested_by")
    list_before_template = "admin/bots/buttons.html"
    empty_hint = (
        "Nobody was added to or removed from channels here yet. Press Add or remove people: you "
        "paste a list, choose channels, and see what would happen before anything does."
    )
    change_form_outer_before_template = "admin/bots/jobgroup/before.html"
    presses = {
        "run": Press(label="Run", icon="play_arrow", run=_run, variant="primary"),
        "leave-out": Press(label="Leave out", icon="block", run=_leave_out),
        "check-again": Press(label="Check again", icon="replay", run=_check_again),
        "retry": Press(label="Retry the failed", icon="replay", run=_retry),
        "take-up": Press(label="Take up again", icon="play_arrow", run=_take_up),
        "cancel": Press(label="Cancel", icon="cancel", run=_cancel),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobGroup]:
        return super().get_queryset(request).select_related("bot__space", "undoes", "undone_by")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        buttons = []
        if self.has_operate_permission(request):
            buttons.append(
                Button(
                    label="Add or remove people",
                    icon="group_add",
                    url=self.url("choose"),
                    posts=False,
                    variant="primary",
                )
            )
        return super().changelist_view(request, {**(extra_context or {}), "buttons": buttons})

    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("follow", require_GET(self.follow)),
            ("file", require_GET(self.file)),
            ("undo", self.undo),
        )
        return [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=self._url_name(name))
            for name, view in pages
        ] + super().get_urls()

    # The page -----------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: JobGroup | None = None) -> Any:
        return ()  # all is said above them, and follows there

    def beside(self, request: HttpRequest, row: JobGroup) -> dict[str, Any]:
        wish = Wish.parse(request.GET)
        channels: QuerySet[GroupChannel] = row.channels.select_related("channel")
        return {
            "now": self._now(request, row, wish),
            **self._results(row, wish),
            "wish": wish,
            "channels": list(channels),
            "buttons": [],
        }

    def follow(self, request: HttpRequest, pk: int) -> HttpResponse:
        group = self.visible(request, pk)
        wish = Wish.parse(request.GET)
        answer = live.follow(request, self._now(request, group, wish))
        if answer.status_code == HTTPStatus.OK:
            # The table is never older than its heading, and is read only when that is a new one.
            context = {**self._results(group, wish), "goes_along": True}
            answer.write(render_to_string("admin/bots/jobgroup/results.html", context, request))
        return answer

    def _now(self, request: HttpRequest, group: JobGroup, wish: Wish) -> Piece:
        """How far it is, and what can be done about it."""
        counts = job_groups.counts(group)
        doubles = group.people.filter(found=Found.DOUBLE)
        undone_by = getattr(group, "undone_by", None)
        unclear = []
        if group.state == GroupState.RUNNING:
            jobs = group.jobs.filter(state=WorkState.UNCERTAIN).order_by("pk")
            unclear = list(jobs.values_list("pk", flat=True)[:UNCLEAR_SHOWN])
        context = {
            "group": group,
            "what": group_figures.what(group),
            "state": group_figures.state(group),
            "asked": looks.moment(group.created_at),
            "checked": looks.moment(group.checked_at),
            "is_outdated": group.state == GroupState.CHECKED and job_groups.is_outdated(group),
            "progress": group_figures.progress(group, counts),
            "figures": group_figures.figures(group, counts, wish),
            "buttons": self._buttons(request, group, counts),
            "undone_by": undone_by,
            "undoing_state": group_figures.state(undone_by) if undone_by else "",
            "doubles": doubles.count() if group.state in DRY else 0,
            "will_change": counts_in(counts, Fate.PLANNED),
            "held": counts_in(counts, Fate.HELD),
            "cancelled": counts_in(counts, Fate.CANCELLED),
            "unclear": unclear,
            "unclear_people": group_figures.unclear(group),
            "correct_url": self._correct_url(request, group),
        }
        return live.piece(
            request,
            "group-now",
            f"{self.url('follow', group.pk)}{wish.query(page=wish.page)}",
            "admin/bots/jobgroup/now.html",
            context,
            every=_every(group),
        )

    def _results(self, group: JobGroup, wish: Wish) -> dict[str, Any]:
        return {
            "group": group,
            "results": group_results.results(group, wish),
            "file_url": f"{self.url('file', group.pk)}{wish.query()}",
            "is_checking": group.state == GroupState.CHECKING,
        }

    def _buttons(self, request: HttpRequest, group: JobGroup, counts: Counts) -> list[Button]:
        if not self.has_operate_permission(request, group):
            return []
        names: list[tuple[str, str]] = []
        undo = []
        held, failed = counts_in(counts, Fate.HELD), counts_in(counts, Fate.FAILED)
        cancelled = counts_in(counts, Fate.CANCELLED)
        match group.state:
            case GroupState.CHECKED:
                if not (held or job_groups.is_outdated(group)) and counts_in(counts, Fate.PLANNED):
                    names.append(("run", f"Run: {group_figures.will(group, counts)}"))
                if held:
                    names.append(("leave-out", f"Leave out the {held:,} that cannot be done"))
                names.append(("check-again", "Check again"))
            case GroupState.STOPPED if not group.undoes_id:
                names.append(("check-again", "Check again"))
            case GroupState.CHECKING:
                names.append(("cancel", "Stop the dry run"))
            case GroupState.STARTING | GroupState.RUNNING if not group.cancelled_at:
                names.append(("cancel", "Cancel what waits"))
            case GroupState.FINISHED:
                is_undone = hasattr(group, "undone_by")
                if failed and not is_undone:
                    names.append(("retry", f"Retry the {failed:,} that failed"))
                if cancelled and not is_undone:
                    names.append(("take-up", f"Take up the {cancelled:,} that were cancelled"))
                if group_figures.can_be_undone(group, counts):
                    undo.append(self._link("Undo", "undo", self.url("undo", group.pk)))
        posting = [self._posting(group, name, label) for name, label in names]
        if url := self._correct_url(request, group):
            undo.append(self._link("Correct the list", "edit", url))
        return posting + undo

    def _correct_url(self, request: HttpRequest, group: JobGroup) -> str:
        """Empty where it cannot be corrected, or not by who asks."""
        if group.state not in CORRECTED or group.undoes_id:
            return ""
        if not self.has_operate_permission(request, group):
            return ""
        return f"{self.url('people', group.bot_id)}?like={group.pk}"

    def _posting(self, group: JobGroup, name: str, label: str) -> Button:
        press = self.presses[name]
        danger = name == "run" and group.kind == GroupKind.REMOVE
        return Button(
            label=label,
            icon=press.icon,
            url=self.url("do", group.pk, name),
            posts=True,
            variant="danger" if danger else press.variant,
        )

    def _link(self, label: str, icon: str, url: str) -> Button:
        return Button(label=label, icon=icon, url=url, posts=False)

    # As a file, and back ------------------------------------------------------------------------

    def file(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        group = self.visible(request, pk)
        return StreamingHttpResponse(
            group_results.csv_lines(group, Wish.parse(request.GET)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="participants-{pk}.csv"'},
        )

    def undo(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, with the numbers; then take it back."""
        group = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_operate_permission(request, group):
            raise PermissionDenied
        if request.method == "POST":
            try:
                undoing = job_groups.undo(group, requested_by=actor_of(request).label)
            except Refused as refused:
                messages.error(request, refused.detail)
                return redirect(self.url("change", pk))
            return redirect(self.url("change", undoing.pk))
        counts = job_groups.counts(group)
        if group.state != GroupState.FINISHED or not group_figures.can_be_undone(group, counts):
            messages.info(request, "There is nothing to undo here now.")
            return redirect(self.url("change", pk))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": group,
            "title": f"Undo: {group_figures.what(group)}",
            "told": group_figures.undo_told(group, counts),
            "hidden": {},
            "action": "Take it back",
            "back": self.url("change", pk),
        }
        return TemplateResponse(request, "admin/bots/subscription/ask.html", context)

    # What is shown in the list ------------------------------------------------------------------

    @display(description="What")
    def shown(self, group: JobGroup) -> str:
        return group_figures.what(group)

    @display(description="State")
    def state_shown(self, group: JobGroup) -> SafeString:
        return group_figures.state(group)

    @display(description="Asked")
    def created_shown(self, group: JobGroup) -> str:
        return looks.moment(group.created_at)
