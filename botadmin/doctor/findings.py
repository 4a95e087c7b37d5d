"""What a check finds: its level, a stable code, a sentence what is so, and one what to do."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from django.conf import settings

from spaces.platforms import trace
from spaces.platforms.messages import Finding


def ok(code: str, text: str) -> Finding:
    return Finding(level="ok", code=code, text=text)


def warning(code: str, text: str, remedy: str) -> Finding:
    return Finding(level="warning", code=code, text=text, remedy=remedy)


def error(code: str, text: str, remedy: str) -> Finding:
    return Finding(level="error", code=code, text=text, remedy=remedy)


def seconds(number: float) -> str:
    """For people: 40 s, 12 min, 3 h, 5 days."""
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if number >= 2 * size:
            return f"{number / size:.0f} {name}"
    return f"{number:.0f} s"


def first_line(error: BaseException) -> str:
    """What a driver says: it explains at length, and the first line says what it was. It may quote
    the address with the password in it."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    addresses = (settings.DATABASE_URL, settings.CELERY_BROKER_URL)
    passwords = [urlsplit(address).password or "" for address in addresses]
    return trace.hide(line, trace.forms([*passwords, *map(unquote, passwords)]))
