"""Moments as clients read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def rfc3339(moment: datetime) -> str: ...


@overload
def rfc3339(moment: None) -> None: ...


def rfc3339(moment: datetime | None) -> str | None:
    """In UTC, as `spaces.api.fields.Moment` tells it, and much faster."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z" if moment else None
