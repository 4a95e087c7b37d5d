"""Participants of many channels at once: the dry run, how far it is, and what became of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from bots import job_groups
from bots.admin import group_results, live, looks
from bots.admin.base import BOT_FILTER, STATE_FILTER, Button, Press, actor_of
from bots.admin.group_results import DRY, FATE_COLOURS, PLAN_COLOURS, Wish
from bots.admin.live import Piece
from bots.admin.people_in import PeopleIn
from bots.job_groups import Counts
from bots.models import Fate, Found, GroupChannel, GroupKind, GroupState, JobGroup, Plan
from bots.models.job_group import OPEN_GROUPS
from bots.refusals import Refused

FOLLOW_SECONDS = 1.5
DOING = (Fate.WAITING, Fate.PLANNED, Fate.DONE, Fate.FAILED, Fate.CANCELLED)
TONES = {"success": "ok", "info": "busy", "warning": "warn", "danger": "bad"}
STATES = {
    GroupState.CHECKING: ("dry run under way", "info"),
    GroupState.CHECKED: ("dry run: nothing is changed yet", "warning"),
    GroupState.STOPPED: ("stopped", "danger"),
    GroupState.STARTING: ("starting", "info"),
    GroupState.RUNNING: ("running", "info"),
    GroupState.FINISHED: ("finished", "success"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """How many there are of a kind, and where only those are shown."""

    count: int
    what: str
    tone: str
    query: str
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    done: int
    failed: int
    total: int

    @property
    def ended(self) -> int:
        return self.done + self.failed

    @property
    def done_percent(self) -> str:
        return f"{100 * self.done / self.total:.2f}" if self.total else "0"

    @property
    def failed_percent(self) -> str:
        return f"{100 * self.failed / self.total:.2f}" if self.total else "0"


def _run(request: HttpRequest, group: JobGroup) -> str:
    job_groups.run(group)
    return "It runs. This page follows it; it goes on without it, too."


def _leave_out(request: HttpRequest, group: JobGroup) -> str:
    return f"Left out: {job_groups.leave_out(group):,}."


def _check_again(request: HttpRequest, group: JobGroup) -> str:
    job_groups.check_again(group)
    return "It is checked again."


def _retry(request: HttpRequest, group: JobGroup) -> str:
    return f"Tried again: {job_groups.retry_failed(group):,}."


def _cancel(request: HttpRequest, group: JobGroup) -> str:
    job_groups.cancel(group)
    return "What waited is cancelled. What was done stays."


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
            ("results", require_GET(self.results)),
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
            "results": self._results(request, row, wish),
            "wish": wish,
            "channels": list(channels),
            "buttons": [],
        }

    def follow(self, request: HttpRequest, pk: int) -> HttpResponse:
        group = self.visible(request, pk)
        return live.follow(request, self._now(request, group, Wish.parse(request.GET)))

    def results(self, request: HttpRequest, pk: int) -> HttpResponse:
        group = self.visible(request, pk)
        return live.follow(request, self._results(request, group, Wish.parse(request.GET)))

    def _now(self, request: HttpRequest, group: JobGroup, wish: Wish) -> Piece:
        """How far it is, and what can be done about it."""
        counts = job_groups.counts(group)
        context = {
            "group": group,
            "what": what(group),
            "state": _state(group),
            "asked": looks.moment(group.created_at),
            "checked": looks.moment(group.checked_at),
            "is_outdated": group.state == GroupState.CHECKED and job_groups.is_outdated(group),
            "progress": _progress(group, counts),
            "figures": _figures(group, counts, wish),
            "buttons": self._buttons(request, group, counts),
            "undone_by": getattr(group, "undone_by", None),
            "doubles": group.people.filter(found=Found.DOUBLE).count() if _is_dry(group) else 0,
            "will_change": counts_in(counts, Fate.PLANNED),
            "held": counts_in(counts, Fate.HELD),
        }
        return live.piece(
            request,
            "group-now",
            f"{self.url('follow', group.pk)}{wish.query()}",
            "admin/bots/jobgroup/now.html",
            context,
            every=FOLLOW_SECONDS if group.state in OPEN_GROUPS else 0,
        )

    def _results(self, request: HttpRequest, group: JobGroup, wish: Wish) -> Piece:
        context = {
            "group": group,
            "results": group_results.results(group, wish),
            "file_url": f"{self.url('file', group.pk)}{wish.query()}",
            "is_checking": group.state == GroupState.CHECKING,
        }
        return live.piece(
            request,
            "group-results",
            f"{self.url('results', group.pk)}{wish.query(page=wish.page)}",
            "admin/bots/jobgroup/results.html",
            context,
            every=2 * live.SECONDS if group.state in OPEN_GROUPS else 0,
        )

    def _buttons(self, request: HttpRequest, group: JobGroup, counts: Counts) -> list[Button]:
        if not self.has_operate_permission(request, group):
            return []
        names: list[tuple[str, str]] = []
        undo = []
        held, failed = counts_in(counts, Fate.HELD), counts_in(counts, Fate.FAILED)
        match group.state:
            case GroupState.CHECKED:
                if not (held or job_groups.is_outdated(group)) and counts_in(counts, Fate.PLANNED):
                    names.append(("run", f"Run: {_will(group, counts)}"))
                if held:
                    names.append(("leave-out", f"Leave out the {held:,} that cannot be done"))
                names.append(("check-again", "Check again"))
            case GroupState.STOPPED if not group.undoes_id:
                names.append(("check-again", "Check again"))
            case GroupState.CHECKING:
                names.append(("cancel", "Stop the dry run"))
            case GroupState.STARTING | GroupState.RUNNING:
                names.append(("cancel", "Cancel what waits"))
            case GroupState.FINISHED:
                if failed:
                    names.append(("retry", f"Retry the {failed:,} that failed"))
                if _can_be_undone(group, counts):
                    undo.append(self._link("Undo", "undo", self.url("undo", group.pk)))
        posting = [self._posting(group, name, label) for name, label in names]
        if group.state in (GroupState.CHECKED, GroupState.STOPPED) and not group.undoes_id:
            url = f"{self.url('people', group.bot_id)}?like={group.pk}"
            undo.append(self._link("Correct the list", "edit", url))
        return posting + undo

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
        if group.state != GroupState.FINISHED or not _can_be_undone(group, counts):
            messages.info(request, "There is nothing to undo here now.")
            return redirect(self.url("change", pk))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": group,
            "title": f"Undo: {what(group)}",
            "told": _undo_told(group, counts),
            "hidden": {},
            "action": "Take it back",
            "back": self.url("change", pk),
        }
        return TemplateResponse(request, "admin/bots/subscription/ask.html", context)

    # What is shown in the list ------------------------------------------------------------------

    @display(description="What")
    def shown(self, group: JobGroup) -> str:
        return what(group)

    @display(description="State")
    def state_shown(self, group: JobGroup) -> SafeString:
        return _state(group)

    @display(description="Asked")
    def created_shown(self, group: JobGroup) -> str:
        return looks.moment(group.created_at)


def what(group: JobGroup) -> str:
    """What somebody asked for, in a sentence without its full stop."""
    adds = group.kind == GroupKind.ADD
    people = "person" if group.people_count == 1 else "people"
    channels = "channel" if group.channel_count == 1 else "channels"
    verb, where = ("Add", "to") if adds else ("Remove", "from")
    told = (
        f"{verb} {group.people_count:,} {people} {where} {group.channel_count:,} {channels}"
        f"{' as moderators' if group.moderator else ''}"
    )
    return f"Undo: {told[0].lower()}{told[1:]}" if group.undoes_id else told


def counts_in(counts: Counts, *fates: Fate) -> int:
    return sum(count for (_, fate), count in counts.items() if fate in fates)


def _is_dry(group: JobGroup) -> bool:
    return group.state in DRY


def _state(group: JobGroup) -> SafeString:
    if group.state == GroupState.FINISHED and group.failed_count:
        return looks.badge(f"finished, {group.failed_count:,} failed", "warning")
    if group.state == GroupState.FINISHED and group.cancelled_at:
        return looks.badge("cancelled", "warning")
    return looks.badge(*STATES[GroupState(group.state)])


def _progress(group: JobGroup, counts: Counts) -> Progress | None:
    if group.state == GroupState.CHECKING:
        read = group.channels.filter(is_read=True).count()
        unasked = group.people.filter(found=Found.UNASKED).count()
        done = read + group.people_count - unasked
        return Progress(done=done, failed=0, total=group.channel_count + group.people_count)
    if _is_dry(group):
        return None
    return Progress(
        done=counts_in(counts, Fate.DONE, Fate.CANCELLED),
        failed=counts_in(counts, Fate.FAILED),
        total=counts_in(counts, *DOING),
    )


def _figures(group: JobGroup, counts: Counts, wish: Wish) -> list[Figure]:
    if _is_dry(group):
        left_out = counts_in(counts, Fate.LEFT_OUT)
        plans: Counter[Plan] = Counter()
        for (plan, fate), count in counts.items():
            plans[plan] += 0 if fate == Fate.LEFT_OUT else count
        figures = [
            _figure(plans[plan], plan.label, PLAN_COLOURS.get(plan, ""), wish, plan=plan)
            for plan in Plan
            if plans[plan]
        ]
        if left_out:
            figures.append(_figure(left_out, "left out", "", wish, fate=Fate.LEFT_OUT))
        return figures
    return [
        _figure(count, fate.label, FATE_COLOURS.get(fate, ""), wish, fate=fate)
        for fate in Fate
        if (count := counts_in(counts, fate))
    ]


def _figure(
    count: int,
    label: str,
    colour: str,
    wish: Wish,
    *,
    plan: Plan | None = None,
    fate: Fate | None = None,
) -> Figure:
    is_on = (wish.plan, wish.fate) == (plan, fate)
    query = wish.query(
        plan=plan.name.lower() if plan is not None and not is_on else "",
        state=fate.name.lower() if fate is not None and not is_on else "",
    )
    return Figure(count=count, what=label, tone=TONES.get(colour, ""), query=query, is_on=is_on)


def _will(group: JobGroup, counts: Counts) -> str:
    """What pressing Run does."""
    parts = []
    for plan, verb in ((Plan.ADD, "add"), (Plan.PROMOTE, "promote"), (Plan.REMOVE, "remove")):
        if count := counts[plan, Fate.PLANNED]:
            parts.append(f"{verb} {count:,}")
    return ", ".join(parts)


def _can_be_undone(group: JobGroup, counts: Counts) -> bool:
    changed = counts[Plan.ADD, Fate.DONE] + counts[Plan.REMOVE, Fate.DONE]
    return bool(changed) and getattr(group, "undone_by", None) is None


def _undo_told(group: JobGroup, counts: Counts) -> list[str]:
    adds = group.kind == GroupKind.ADD
    plan = Plan.ADD if adds else Plan.REMOVE
    changed = counts[plan, Fate.DONE]
    before = counts[Plan.THERE, Fate.NOTHING] + counts[Plan.ABSENT, Fate.NOTHING]
    times = "membership" if changed == 1 else "memberships"
    told = [
        f"{changed:,} {times} that this change {'began will end' if adds else 'ended will begin'}"
        " again."
    ]
    if before:
        told.append(
            f"{before:,} stay as they are: they were {'members' if adds else 'no members'} before."
        )
    if promoted := counts[Plan.PROMOTE, Fate.DONE]:
        told.append(f"{promoted:,} who became moderators stay moderators.")
    if not adds:
        told.append("Who was a moderator becomes one again, where the platform can do that.")
    return told
