"""JSON from strangers, however deep it is nested.

Python reads a thousand levels, databases and everything that walks through values fewer, and some
servers pass on ten thousand that one of their users made up. What is down there means nothing to
us, but what surrounds it does.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 100  # levels that are kept

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def loads(text: str | bytes) -> Any:
    """As `json.loads`, but with null in place of what is nested too deep to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(_shallow(text.decode() if isinstance(text, bytes) else text))


def _shallow(text: str) -> str:
    kept, start, depth = [], 0, 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == DEEPEST:
                kept.append(text[start : found.start()] + "null")
        elif found[0] in "]}":
            if depth == DEEPEST:
                start = found.end()
            depth -= 1
    return "".join(kept) + (text[start:] if depth < DEEPEST else "")
