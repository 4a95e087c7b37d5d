"""The front page: what needs a look first, then how things stand, then all the lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from bots import access, health
from bots.admin import incident as pages
from bots.admin import looks
from bots.admin.base import actor_of
from bots.connections import states
from bots.models import Bot, Incident, Job, State, WorkState
from bots.models.lane import UNFINISHED

SHOWN = 10  # incidents; the others are a click away
COUNTED = 10_000  # jobs; more are not counted
LISTS = {model: f"admin:bots_{model._meta.model_name}_changelist" for model in (Bot, Incident, Job)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An open incident as the page shows it."""

    badge: SafeString
    title: SafeString | str
    subject: SafeString | str
    detail: str
    next_step: str
    since: str
    lasted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    count: str
    what: SafeString | str
    url: str


def front(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds what the template of the front page shows above the lists."""
    listed = admin.site.get_model_admin(Incident)
    if not listed.has_view_permission(request):
        return context
    rows = listed.get_queryset(request).filter(closed_at=None)
    worst_first = rows.select_related("bot", "subscription").order_by("severity", "opened_at")
    actor = actor_of(request)
    return context | {
        "open_count": rows.count(),
        "incidents": [_line(row) for row in worst_first[:SHOWN]],
        "incidents_url": f"{reverse(LISTS[Incident])}?state=open",
        "closed_url": f"{reverse(LISTS[Incident])}?state=closed",
        "is_looked": bool(health.workers()),
        "figures": [*_bots(access.bots(actor)), *_jobs(access.bots(actor), actor.sees_all)],
    }


def _line(incident: Incident) -> Line:
    return Line(
        badge=pages.badge(incident),
        title=looks.link(incident, incident.get_code_display()),
        subject=pages.subject(incident),
        detail=incident.detail,
        next_step=incident.next_step,
        since=looks.moment(incident.opened_at),
        lasted=pages.lasted(incident.lasted),
    )


def _bots(bots: QuerySet[Bot]) -> list[Figure]:
    """How many are in each state: as their own pages say it, which no count in the database can."""
    rows = bots.select_related("connection").defer("connection__cursor", "identity")
    counted = Counter(states.shown(bot).state for bot in rows)
    url = reverse(LISTS[Bot])
    return [
        Figure(count=f"{counted[state]:,}", what=looks.state(state), url=url)
        for state in State
        if counted[state]
    ]


def _jobs(bots: QuerySet[Bot], all_of_them: bool) -> list[Figure]:
    jobs = Job.objects.order_by() if all_of_them else Job.objects.order_by().filter(bot__in=bots)
    figures = []
    for what, these in (
        ("waiting", jobs.filter(state__in=UNFINISHED)),
        ("uncertain", jobs.filter(state=WorkState.UNCERTAIN)),
    ):
        count = these[: COUNTED + 1].count()
        shown = f"{count:,}" if count <= COUNTED else f"{COUNTED:,}+"
        what = f"job{'' if count == 1 else 's'} {what}"
        figures.append(Figure(count=shown, what=what, url=reverse(LISTS[Job])))
    return figures
