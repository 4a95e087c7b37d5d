"""The one door for what platforms and plugins say: made fit for the database, and without secrets.

`clean` makes a value storable. `scrub` also removes every secret that this process has resolved or
decrypted, for texts that nobody chose with care: errors, tracebacks, what went over the wire.
Platforms quote their own URLs, and some carry their token in there.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

from spaces.platforms import trace
from spaces.storable import storable

DEEPEST = 100  # levels of a value that are kept

_known: set[str] = set()
_forms: tuple[str, ...] = ()  # of all that are known; replaced as a whole, so readers need no lock
_lock = threading.Lock()


def know(secret: str) -> None:
    """From now on `scrub` and the logs leave it out."""
    global _forms
    with _lock:
        if secret not in _known:
            _known.add(secret)
            _forms = trace.longest_first({*_forms, *trace.forms([secret])})


def clean(value: Any) -> Any:
    """JSON without what databases cannot hold: NUL characters, halves of surrogate pairs, NaN, and
    what somebody nested deeper than anybody would look."""
    return _each_text(value, storable)


def scrub(value: Any) -> Any:
    """As `clean`, and without secrets."""
    return _each_text(value, lambda text: trace.hide(storable(text), _forms))


def _each_text(value: Any, change: Callable[[str], str], levels: int = DEEPEST) -> Any:
    # Every event passes here with all it holds: `match` takes three times as long to tell that a
    # value is of none of the kinds.
    if isinstance(value, str):
        return change(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        if not levels:
            return None
        return {_each_text(k, change): _each_text(v, change, levels - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change, levels - 1) for item in value] if levels else None
    return value


class Formatter(logging.Formatter):
    """Log lines and their tracebacks without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return trace.hide(super().format(record), _forms)
