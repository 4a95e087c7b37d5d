"""What went over the wire, for the attempts an operator reads. Secrets are removed on the way in.

A platform calls `record` around each of its calls; whoever wants to know opens `collect`. Outside
of a `collect` block recording costs nothing and keeps nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "[removed]"
SECRET_NAMES = ("authorization", "cookie", "password", "secret", "token", "signature", "api-key")
SHORTEST_SECRET = 4  # characters; anything shorter is part of every other word
LONGEST_TEXT = 4_000  # characters of one value; an attempt is for reading, not for replaying


@dataclass(slots=True)
class Trace:
    """The last exchange of a call: what was asked, and what came back, both JSON-ready."""

    secrets: tuple[str, ...] = field(default=(), repr=False)  # in all their `forms`
    request: Any = None
    response: Any = None


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextmanager
def collect(secrets: Mapping[str, str]) -> Iterator[Trace]:
    """Collect what is recorded inside the block. `secrets` are removed wherever they appear."""
    trace = Trace(secrets=forms(secrets.values()))
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def is_collected() -> bool:
    """Whether anybody will read what is recorded."""
    return _current.get() is not None


def record(*, request: Any = None, response: Any = None) -> None:
    """Note a request about to be made, or the response to the one noted last."""
    trace = _current.get()
    if trace is None:
        return
    if request is not None:
        trace.request, trace.response = redact(request, trace.secrets), None
    if response is not None:
        trace.response = redact(response, trace.secrets)


def redact(value: Any, secrets: tuple[str, ...] = (), *, longest: int = LONGEST_TEXT) -> Any:
    """A copy that JSON can hold, without `secrets`, given in all their forms, and without what a
    text has after its first `longest` characters."""
    match value:
        case Mapping():
            return {
                hide(str(k), secrets): HIDDEN
                if _is_secret_name(str(k))
                else redact(v, secrets, longest=longest)
                for k, v in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [redact(item, secrets, longest=longest) for item in value]
        case bytes():
            return f"[{len(value)} bytes]"
        case None | bool() | int() | float():
            return value
    text = hide(str(value), secrets)
    if len(text) > longest:
        return f"{text[:longest]} … [{len(text)} characters]"
    return text


def hide(text: str, secrets: Iterable[str]) -> str:
    """`text` without `secrets`, given in all their forms."""
    # One after the other: for few secrets as quick as a pattern of all, for many ten times quicker.
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """How secrets look in texts."""
    return longest_first({f for s in secrets if len(s) >= SHORTEST_SECRET for f in _forms(s)})


def longest_first(texts: Iterable[str]) -> tuple[str, ...]:
    """In the order in which `hide` leaves no part of one behind."""
    return tuple(sorted(texts, key=len, reverse=True))


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield from (quote(secret, safe="", errors="replace"), quote(secret, errors="replace"))
    yield quote_plus(secret, errors="replace")
    yield json.dumps(secret)[1:-1]
    data = secret.encode(errors="replace")
    for before in range(3):
        # As a part of a longer text: three ways to fall into groups of three bytes. The characters
        # at both ends that depend on the neighbours are left out.
        coded = base64.b64encode(bytes(before) + data).decode()
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        yield coded[first:last]
        yield coded[first:last].replace("+", "-").replace("/", "_")


def _is_secret_name(name: str) -> bool:
    lowered = name.lower().replace("_", "-")
    return any(word in lowered for word in SECRET_NAMES)
