"""How the list of bots is narrowed down."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter

from bots import access
from bots.admin import platforms
from bots.admin.base import OfChannel, SearchedFilter, actor_of
from bots.connections import states
from bots.models import Bot, Label, State
from spaces.models import Channel


class ShownState(DropdownFilter):
    """The state that the list shows: what is written may be older than what is known."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        values = (states.NEEDS_SOMEBODY, *State.values)
        return [(value, value.replace("_", " ")) for value in values]

    def queryset(self, request: HttpRequest, bots: QuerySet[Bot]) -> QuerySet[Bot]:
        if self.value() == states.NEEDS_SOMEBODY:
            return states.needing_somebody(bots)
        if self.value() not in State.values:
            return bots
        return states.annotated(bots).filter(shown_state=self.value())


class PlatformFilter(DropdownFilter):
    title = "platform"
    parameter_name = "platform"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        used = access.spaces(actor_of(request)).order_by("platform").values_list("platform")
        return [(name, platforms.label(name)) for (name,) in used.distinct()]

    def queryset(self, request: HttpRequest, bots: QuerySet[Bot]) -> QuerySet[Bot]:
        return bots.filter(space__platform=self.value()) if self.value() else bots


def visible_labels(request: HttpRequest) -> QuerySet[Label]:
    return Label.objects.filter(bots__in=access.bots(actor_of(request))).distinct()


class LabelFilter(DropdownFilter):
    title = "label"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(label.name, label.name) for label in visible_labels(request)]

    def queryset(self, request: HttpRequest, bots: QuerySet[Bot]) -> QuerySet[Bot]:
        return bots.filter(labels__name=self.value()) if self.value() else bots


class InChannel(OfChannel):
    def of(self, rows: QuerySet[Any], channels: QuerySet[Channel]) -> QuerySet[Any]:
        return rows.filter(person__participations__channel__in=channels)


FILTERS: tuple[Any, ...] = (
    ShownState,
    ("space", SearchedFilter),
    PlatformFilter,
    LabelFilter,
    ("receive", ChoicesDropdownFilter),
    "enabled",
    InChannel,
)
