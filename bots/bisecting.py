"""Where a moment lies among rows that are numbered in the order in which they were stored, without
an index of their times: in some twenty looks at single rows, however many there are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet


def before(rows: QuerySet[Any], moment: datetime, *, number: str, stored_at: str) -> int:
    """A number after which every row is that was stored since `moment`; the fields are named."""
    newest = rows.order_by(f"-{number}").values_list(number, flat=True).first()
    first, last = 0, newest or 0
    while first < last:  # what is numbered later was stored later, by and large
        middle = (first + last) // 2
        between = rows.filter(**{f"{number}__gt": middle, f"{number}__lte": last}).order_by(number)
        found = between.values_list(number, stored_at).first()
        if found is None or found[1] >= moment:
            last = middle
        else:
            first = found[0]
    return first
