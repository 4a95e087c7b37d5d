"""What went over the wire, for the attempts an operator reads. Secrets are removed on the way in.

A platform calls `record` around each of its calls; whoever wants to know opens `collect`. Outside
of a `collect` block recording costs nothing and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

HIDDEN = "[removed]"
SECRET_NAMES = ("authorization", "cookie", "password", "secret", "token", "signature", "api-key")
LONGEST_TEXT = 4_000  # characters of one value; an attempt is for reading, not for replaying


@dataclass(slots=True)
class Trace:
    """The last exchange of a call: what was asked, and what came back, both JSON-ready."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    request: Any = None
    response: Any = None


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextmanager
def collect(secrets: Mapping[str, str]) -> Iterator[Trace]:
    """Collect what is recorded inside the block. `secrets` are removed wherever they appear."""
    trace = Trace(secrets=tuple(s for s in secrets.values() if len(s) >= 4))
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def record(*, request: Any = None, response: Any = None) -> None:
    """Note a request about to be made, or the response to the one noted last."""
    trace = _current.get()
    if trace is None:
        return
    if request is not None:
        trace.request, trace.response = redact(request, trace.secrets), None
    if response is not None:
        trace.response = redact(response, trace.secrets)


def redact(value: Any, secrets: tuple[str, ...] = ()) -> Any:
    """A copy that JSON can hold, without secrets and without bulk."""
    match value:
        case Mapping():
            return {
                str(k): HIDDEN if _is_secret_name(str(k)) else redact(v, secrets)
                for k, v in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [redact(item, secrets) for item in value]
        case bytes():
            return f"[{len(value)} bytes]"
        case None | bool() | int() | float():
            return value
    text = str(value)
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    if len(text) > LONGEST_TEXT:
        return f"{text[:LONGEST_TEXT]} … [{len(text)} characters]"
    return text


def _is_secret_name(name: str) -> bool:
    lowered = name.lower().replace("_", "-")
    return any(word in lowered for word in SECRET_NAMES)
