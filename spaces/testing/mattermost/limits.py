"""Rate limiting as the server does it: a bucket per address or user, in memory, off by default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .simulation import Simulation


@dataclass
class Bucket:
    """GCRA: `full_at` is when the last of the burst would be given back."""

    full_at: float = 0.0


@dataclass(frozen=True)
class Charge:
    """The outcome of one request against one bucket, with the headers that tell it."""

    allowed: bool
    headers: tuple[tuple[str, str], ...]


class RateLimiter:
    def __init__(self, simulation: Simulation):
        self._simulation = simulation
        self._buckets: dict[str, Bucket] = {}

    def clear(self) -> None:
        self._buckets.clear()

    def is_on(self) -> bool:
        return bool(self._simulation.setting("RateLimitSettings", "Enable"))

    def keys(self, *, address: str, token: str, user_id: str, header: str) -> list[str]:
        """The buckets a request is charged to."""
        settings = self._simulation.settings["RateLimitSettings"]
        if settings["VaryByUser"]:
            # Tokens nobody knows share one bucket.
            return [f"token:{token if user_id else ''}", f"user:{user_id}"]
        parts = [address] if settings["VaryByRemoteAddr"] else []
        parts += [header] if settings["VaryByHeader"] else []
        return ["|".join(parts)]

    def charge(self, key: str) -> Charge:
        settings = self._simulation.settings["RateLimitSettings"]
        return self._charge(key, float(settings["PerSec"]), int(settings["MaxBurst"]))

    def charge_login(self, login_id: str) -> Charge:
        return self._charge(f"login:{login_id}", 5.0, 10)

    def _charge(self, key: str, per_second: float, burst: int) -> Charge:
        now = self._simulation.clock.seconds()
        bucket = self._buckets.setdefault(key, Bucket())
        interval = 1 / per_second
        full_at = max(bucket.full_at, now) + interval
        excess = full_at - now - interval * (burst + 1)
        allowed = excess <= 1e-9
        if allowed:
            bucket.full_at = full_at
        left = (burst + 1) - math.ceil(max(0.0, bucket.full_at - now) / interval - 1e-9)
        headers = [
            ("X-RateLimit-Limit", str(burst + 1)),
            ("X-RateLimit-Remaining", str(max(0, left))),
            ("X-RateLimit-Reset", str(math.ceil(max(0.0, bucket.full_at - now)))),
        ]
        if not allowed:
            headers.append(("Retry-After", str(math.ceil(excess))))
        return Charge(allowed, tuple(headers))
