"""How many of a group are how far. Written down by whoever changes it: a group may have 200,000
people and channels, and pages that follow it ask every other second."""

from __future__ import annotations

from collections import Counter

from django.db.models import Count

from bots.models import Fate, JobGroup, Plan

Counts = Counter[tuple[Plan, Fate]]


def count(group: JobGroup) -> None:
    """Write it down anew."""
    rows = group.items.order_by().values_list("plan", "state").annotate(count=Count("pk"))
    JobGroup.objects.filter(pk=group.pk).update(figures=[list(row) for row in rows])


def counts(group: JobGroup) -> Counts:
    """As of the last time; while a group runs that is a moment ago."""
    return Counter({(Plan(plan), Fate(state)): number for plan, state, number in group.figures})
