"""Incidents: what is wrong now, and what was."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from bots.admin import looks
from bots.admin.base import BOT_FILTER, GrowingAdmin
from bots.incidents.wording import lasted
from bots.models import Incident, Severity

COLOURS = {Severity.ERROR: "danger", Severity.WARNING: "warning"}


def badge(incident: Incident) -> SafeString:
    return looks.badge(incident.severity, COLOURS.get(Severity(incident.severity), ""))


def subject(incident: Incident) -> SafeString | str:
    """What it is about, as a link where that has a page."""
    row = incident.bot or incident.subscription
    if row is None or not admin.site.is_registered(type(row)):
        return incident.subject
    return looks.link(row, incident.subject)


class Open(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("closed", "closed")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Incident]) -> QuerySet[Incident]:
        if self.value() in ("open", "closed"):
            return rows.filter(closed_at__isnull=self.value() == "open")
        return rows


@admin.register(Incident)
class IncidentAdmin(GrowingAdmin):
    list_display = (
        "title_shown",
        "state_shown",
        "severity_shown",
        "subject_shown",
        "opened_shown",
        "lasted_shown",
        "times",
    )
    list_select_related = ("bot", "subscription")
    list_filter = (Open, ("code", ChoicesDropdownFilter), BOT_FILTER)
    search_fields = ("=id", "subject", "detail")
    empty_hint = "All is well, and was: incidents open and close by themselves."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "title_shown",
                    "state_shown",
                    "severity_shown",
                    "subject_shown",
                    "detail",
                    "next_step",
                    "opened_shown",
                    "closed_shown",
                    "lasted_shown",
                    "times",
                    "code_shown",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        # Those without a bot are for who sees everything; what did not last is for nobody.
        return super().get_queryset(request).filter(opened_at__isnull=False)

    @display(description="Incident")
    def title_shown(self, incident: Incident) -> str:
        return incident.get_code_display()

    @display(description="Code")
    def code_shown(self, incident: Incident) -> str:
        return incident.code

    @display(description="State")
    def state_shown(self, incident: Incident) -> SafeString:
        return looks.badge("closed" if incident.closed_at else "open")

    @display(description="Severity")
    def severity_shown(self, incident: Incident) -> SafeString:
        return badge(incident)

    @display(description="About")
    def subject_shown(self, incident: Incident) -> SafeString | str:
        return subject(incident)

    @display(description="Opened")
    def opened_shown(self, incident: Incident) -> str:
        return looks.moment(incident.opened_at)

    @display(description="Closed")
    def closed_shown(self, incident: Incident) -> str:
        return looks.moment(incident.closed_at)

    @display(description="Lasted")
    def lasted_shown(self, incident: Incident) -> str:
        """Until it was closed, or so far."""
        return lasted(incident.lasted)
