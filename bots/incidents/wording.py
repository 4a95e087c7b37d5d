"""Incidents in words, for people who are told of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta

from bots.models import Incident, News, Telling

MOST_LINES = 20
SIZES = ((86_400, "days"), (3_600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    title: str
    blocks: Sequence[tuple[str, Sequence[str]]]  # a heading, and lines below it
    more: int  # incidents that are left out


def words(tellings: Sequence[Telling]) -> Words:
    """One message for all of them; of each incident the latest is told."""
    latest = {one.incident_id: one for one in tellings}.values()
    opened = [one.incident for one in latest if one.news == News.OPENED]
    ended = [one.incident for one in latest if one.news == News.CLOSED]
    worst_first = sorted(opened, key=lambda incident: (incident.severity, incident.pk))
    first, rest = worst_first[:MOST_LINES], MOST_LINES - len(worst_first[:MOST_LINES])
    blocks = [
        (heading, lines)
        for heading, lines in (
            ("Opened", [_opened(incident) for incident in first]),
            ("Closed", [_closed(incident) for incident in ended[:rest]]),
        )
        if lines
    ]
    shown = sum(len(lines) for _, lines in blocks)
    return Words(
        title=_title(worst_first, ended),
        blocks=blocks,
        more=len(worst_first) + len(ended) - shown,
    )


def lasted(time: timedelta) -> str:
    """40 s, 12 min, 3 h, 5 days."""
    seconds = max(0.0, time.total_seconds())
    for size, name in SIZES:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _title(opened: Sequence[Incident], closed: Sequence[Incident]) -> str:
    if len(opened) + len(closed) == 1:
        return f"Opened: {opened[0]}" if opened else f"Closed: {closed[0]}"
    counts = ((len(opened), "opened"), (len(closed), "closed"))
    return "Incidents: " + ", ".join(f"{count} {what}" for count, what in counts if count)


def _opened(incident: Incident) -> str:
    since = incident.opened_at or incident.noticed_at
    told = f"{incident}, since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    return " ".join(filter(None, [told, incident.detail, incident.next_step]))


def _closed(incident: Incident) -> str:
    return f"{incident}, after {lasted(incident.lasted)}."
