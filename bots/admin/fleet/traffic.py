"""What is going on: messages in and out over the last day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.utils import timezone

from bots.admin.fleet.scope import Scope
from bots.tallies import Rate, Span

OF_LATE = 2  # spans: the one that is not over yet may have just begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    begins_at: datetime
    heard: int
    sent: int


def found(scope: Scope) -> dict[str, Any]:
    spans = list(scope.history())
    heard, sent = sum(span.heard for span in spans), sum(span.sent for span in spans)
    return {
        "late": _together(spans[-OF_LATE:]),
        "heard": heard,
        "sent": sent,
        "heard_shown": f"{heard:,}",
        "sent_shown": f"{sent:,}",
        "hours": list(_hours(spans)),
        "chart": {
            "labels": [f"{timezone.localtime(span.begins_at):%H:%M}" for span in spans],
            "heard": [round(span.rate.heard, 2) for span in spans],
            "sent": [round(span.rate.sent, 2) for span in spans],
        },
    }


def _together(spans: Sequence[Span]) -> Rate:
    minutes = sum((span.lasted for span in spans), timedelta()) / timedelta(minutes=1)
    return Rate(
        heard=sum(span.heard for span in spans) / minutes,
        sent=sum(span.sent for span in spans) / minutes,
    )


def _hours(spans: Sequence[Span]) -> list[Hour]:
    """The same as numbers to read, the newest first."""
    hours = []
    for begins_at, of_hour in groupby(spans, key=_hour):
        within = list(of_hour)
        hours.append(
            Hour(
                begins_at=begins_at,
                heard=sum(span.heard for span in within),
                sent=sum(span.sent for span in within),
            )
        )
    return hours[::-1]


def _hour(span: Span) -> datetime:
    return timezone.localtime(span.begins_at).replace(minute=0)
