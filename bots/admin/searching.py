"""Searching tables of any size: by number at once, by words among the newest rows."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from bots.admin.base import GrowingAdmin
from bots.targets import as_id

NEWEST = 50_000  # rows that are looked through for words; more would take seconds


class SearchesNewest(GrowingAdmin):
    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if (pk := as_id(term)) is not None:
            return self.numbered(queryset, pk), False
        return super().get_search_results(request, newest(queryset), term)

    def numbered(self, rows: QuerySet[Any], number: int) -> QuerySet[Any]:
        """What somebody looks for who enters nothing but a number."""
        return rows.filter(pk=number)


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Those of `rows` that are among the newest of their table."""
    every = rows.model._default_manager.order_by("-pk")
    last = every.values_list("pk", flat=True).first() or 0
    return rows.filter(pk__gt=last - NEWEST)
