"""How the bots are: how many in each state."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count
from django.utils.safestring import SafeString

from bots.admin import looks
from bots.admin.fleet.scope import Scope, listed
from bots.connections import states
from bots.models import Bot


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    count: int
    state: str
    badge: SafeString
    url: str
    tone: str
    share: float  # of all bots, in percent


def figures(scope: Scope) -> list[Figure]:
    """One for each state that a bot is in."""
    rows = states.annotated(scope.bots()).order_by().values_list("shown_state")
    counted: dict[str, int] = dict(rows.annotate(count=Count("pk")))
    total = sum(counted.values())
    return [
        Figure(
            count=counted[state],
            state=state,
            badge=looks.state(state),
            url=listed(Bot, state=state),
            tone=looks.TONES[state],
            share=100 * counted[state] / total,
        )
        for state in sorted(counted, key=list(looks.TONES).index)
    ]
