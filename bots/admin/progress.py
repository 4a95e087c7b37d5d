"""How far something is that is done with many, as the bars on its page show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    done: int = 0
    failed: int = 0
    waiting: int = 0  # or under way
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.ended + self.waiting

    @property
    def ended(self) -> int:
        return self.done + self.failed + self.cancelled

    @property
    def done_percent(self) -> str:
        return self._percent(self.done)

    @property
    def failed_percent(self) -> str:
        return self._percent(self.failed)

    @property
    def words(self) -> str:
        """Of all that there are any of."""
        names = ("done", "failed", "cancelled", "waiting")
        counts = {name: getattr(self, name) for name in names}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)

    def _percent(self, count: int) -> str:
        return f"{100 * count / self.total:.2f}" if self.total else "0"
