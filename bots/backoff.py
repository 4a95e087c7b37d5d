"""How long to wait before the next try."""

from __future__ import annotations

import random


def delay(failures: int, *, first: float, longest: float) -> float:
    """Seconds to wait after `failures` (1 or more) in a row: exponential, with full jitter.

    Full jitter spreads the returns of many clients evenly over the window, so that a platform that
    comes back is not knocked over by all of them at once.
    """
    window = min(longest, first * 2 ** min(failures - 1, 30))
    return random.uniform(0, window)


def steady_delay(failures: int, *, first: float, longest: float) -> float:
    """As `delay`, but never less than half of the window: for the retries of a single lane."""
    window = min(longest, first * 2 ** min(failures - 1, 30))
    return random.uniform(window / 2, window)
