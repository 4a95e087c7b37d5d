"""What a job brought, in tables: for each person, and whatever else the platform answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bots.admin import looks
from bots.models import Job, JobKind

TOLD_BY_TRACE = ("messages", "parts")  # of what was posted
TOLD_IN_TABLE = ("people", "failed")


def tables(job: Job) -> list[dict[str, Any]]:
    told = TOLD_BY_TRACE if job.kind == JobKind.POST else ()
    rest = {name: value for name, value in job.result.items() if name not in told}
    return [*_people(rest), *_rest(rest)]


def partly(failed: Any, people: Any) -> str:
    """How many of them it failed for; empty where it worked for all, or for nobody."""
    count = len(people) if isinstance(people, list) else 0
    return f"{failed} of {count} failed" if failed and failed < count else ""


def _people(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The outcome for each person."""
    if not result.get("people"):
        return []
    rows = (
        (
            outcome["asked"],
            looks.badge("done", "success") if outcome["ok"] else looks.badge("failed", "danger"),
            outcome["code"] or looks.NOTHING,
            outcome["detail"] or looks.NOTHING,
        )
        for outcome in result["people"]
    )
    return [
        {
            "title": "Outcome for each person",
            "table": looks.table(("Person", "Outcome", "Code", "Detail"), rows),
        }
    ]


def _rest(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = {name: value for name, value in result.items() if name not in TOLD_IN_TABLE}
    if not told:
        return []
    rows = (
        (name.replace("_", " "), looks.pairs(value) if isinstance(value, dict) else str(value))
        for name, value in told.items()
    )
    return [{"title": "Result", "table": looks.table(("What", "Value"), rows)}]
