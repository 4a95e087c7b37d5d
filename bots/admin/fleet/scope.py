"""Whose figures somebody sees: those of all bots, or of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Self

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from bots import access, tallies
from bots.access import Act, Actor
from bots.admin.base import actor_of
from bots.models import Bot, Incident, Job
from bots.models.lane import WorkState
from bots.tallies import Span


@dataclass(frozen=True, slots=True)
class Scope:
    actor: Actor
    # Ids of the bots, None for those who see all. Read first: of a list the database knows how long
    # it is, and finds what belongs to these bots; with a question instead it read a million jobs.
    mine: Collection[int] | None
    # Whether there are no other bots now: then nothing has to be looked for by bot.
    is_whole: bool

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        actor = actor_of(request)
        if actor.sees_all:
            return cls(actor, None, True)
        mine = frozenset(access.bots(actor).order_by().values_list("pk", flat=True))
        return cls(actor, mine, len(mine) == Bot.objects.count())

    def may(self, act: Act) -> bool:
        return access.may(self.actor, act)

    def bots(self) -> QuerySet[Bot]:
        return Bot.objects.all() if self.mine is None else Bot.objects.filter(pk__among=self.mine)

    def incidents(self) -> QuerySet[Incident]:
        """Those that are open."""
        rows = Incident.objects.filter(closed_at=None, opened_at__isnull=False)
        return rows if self.actor.sees_all else rows.filter(bot__in=access.bots(self.actor))

    def history(self) -> Iterator[Span]:
        if self.mine is None:
            return tallies.history_of_install()
        return tallies.history_of_bots(self.mine)

    def failures(self) -> list[tuple[str, int]]:
        if self.mine is None:
            return tallies.failures_of_install()
        return tallies.failures_of_bots(self.mine)

    def jobs(self, state: WorkState) -> QuerySet[Job]:
        """Those in one state, the oldest first."""
        # Said so that only the index by state has this order: PostgreSQL thought that the oldest
        # jobs are in all states alike, and read all that are done to find the first that waits.
        rows = Job.objects.filter(state__gte=state, state__lte=state).order_by("-state", "pk")
        return self._of_bots(rows)

    def queued(self) -> QuerySet[Job]:
        """Those that wait: first those for a certain time, as an index has them, the earliest
        first; then the others, the oldest first."""
        rows = Job.objects.filter(state=WorkState.QUEUED).order_by("not_before", "pk")
        return self._of_bots(rows)

    def _of_bots(self, rows: QuerySet[Job]) -> QuerySet[Job]:
        return rows if self.is_whole else rows.filter(bot__among=self.mine or ())


def listed(model: type[Model], **filters: str) -> str:
    """Where the rows of a model are listed, and which of them."""
    meta = model._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return f"{url}?{query}" if query else url
