"""What a benchmark reports: a figure a run, each beside its yardstick from the same run.

Absolute figures say something about a machine on one day. A ratio to a yardstick that was measured
a moment before or after, in the same way, says something about the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

RUNS = 5


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing that was measured. `values` and `yardstick_values` have one entry a run."""

    what: str
    unit: str
    values: list[float]
    yardstick: str
    yardstick_values: list[float]
    aim: str = ""

    def as_json(self) -> dict[str, Any]:
        pairs = zip(self.values, self.yardstick_values, strict=True)
        return {
            "what": self.what,
            "unit": self.unit,
            "median": _rounded(median(self.values)),
            "runs": [_rounded(value) for value in self.values],
            "aim": self.aim,
            "yardstick": {
                "what": self.yardstick,
                "median": _rounded(median(self.yardstick_values)),
                "runs": [_rounded(value) for value in self.yardstick_values],
            },
            "ratio": round(median(value / other for value, other in pairs), 3),
        }


def side_by_side(
    measure: Callable[[], float], yardstick: Callable[[], float], *, runs: int = RUNS
) -> dict[str, list[float]]:
    """Both in turn, so that a noisy neighbour disturbs both alike; the first round, which fills
    caches, does not count."""
    values, yardstick_values = [], []
    for _ in range(runs + 1):
        yardstick_values.append(yardstick())
        values.append(measure())
    return {"values": values[1:], "yardstick_values": yardstick_values[1:]}


def _rounded(value: float) -> float:
    """Four digits, which is more than any of them is good for."""
    return float(f"{value:.4g}")
