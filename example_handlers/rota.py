"""Whose turn it is, from a JSON file that people edit:

    {"ops": {"people": ["alice", "bob"], "since": "2026-01-05", "days": 7}}

Each team takes turns of so many days, the first of which began on that day. The file is `rota.json`
in the data directory, unless `EXAMPLE_ROTA` names another. It is read anew for each question.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from django.conf import settings


class Unusable(Exception):
    """There is no rota, or it makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Turns:
    """How a team takes turns."""

    people: tuple[str, ...]
    since: date
    days: int

    def at(self, day: date) -> str:
        """Whose turn it is on this day."""
        return self.people[(day - self.since).days // self.days % len(self.people)]


def read() -> dict[str, Turns]:
    """The turns of each team. Raises `Unusable`."""
    path = Path(os.environ.get("EXAMPLE_ROTA") or settings.BOTADMIN_DATA_DIR / "rota.json")
    try:
        teams = json.loads(path.read_text())
        return {str(name): _turns(team) for name, team in teams.items()}
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"{path}: {error!r}") from error


def _turns(team: dict[str, Any]) -> Turns:
    turns = Turns(
        people=tuple(map(str, team["people"])),
        since=date.fromisoformat(team["since"]),
        days=int(team.get("days", 7)),
    )
    if not turns.people or turns.days < 1:
        raise ValueError("a team needs people, and turns of at least a day")
    return turns
