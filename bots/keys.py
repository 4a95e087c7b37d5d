"""How we keep the ids of platforms: fit for the database, and no longer than its columns."""

from __future__ import annotations

import hashlib

from spaces.storable import storable

LENGTH = 255


def dedupe_key(text: str) -> str:
    """What an event is recognised by; longer ids become their digests, so that none are mixed."""
    key = storable(text)
    if len(key) <= LENGTH:
        return key
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def remote_id(text: str) -> str:
    return storable(text)[:LENGTH]
