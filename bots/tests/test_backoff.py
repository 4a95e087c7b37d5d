"""How long a connection or a lane waits, as the options about reconnecting say."""

from __future__ import annotations

import pytest

from bots import backoff

TRIES = 300


@pytest.mark.parametrize(
    ("failures", "window"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 20), (6, 20), (10_000, 20)]
)
def test_the_wait_doubles_from_the_first_to_the_longest(failures, window):
    waits = [backoff.delay(failures, first=2, longest=20) for _ in range(TRIES)]

    assert 0 <= min(waits) < window / 4
    assert window * 3 / 4 < max(waits) <= window


def test_the_longest_wait_limits_the_first_one_too():
    assert all(backoff.delay(1, first=60, longest=5) <= 5 for _ in range(TRIES))


def test_a_steady_wait_is_never_less_than_half_of_the_window():
    waits = [backoff.steady_delay(3, first=2, longest=20) for _ in range(TRIES)]

    assert min(waits) >= 4
    assert max(waits) <= 8
