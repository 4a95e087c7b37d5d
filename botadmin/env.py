"""Typed readers for environment variables.

Each returns the value or the default, and raises `ImproperlyConfigured` with one line that names
the variable, what was given (never for secrets) and what is expected. An empty variable counts as
not set, because that is what `NAME= command` and empty lines in an env file mean.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def text(name: str, default: str) -> str:
    return os.environ.get(name, "").strip() or default


def integer(name: str, default: int, *, least: int, most: int) -> int:
    given = text(name, "")
    if not given:
        return default
    expected = f"a whole number from {least} to {most}"
    try:
        value = int(given)
    except ValueError:
        raise _refusal(name, given, expected) from None
    if not least <= value <= most:
        raise _refusal(name, given, expected)
    return value


def number(name: str, default: float, *, least: float, most: float) -> float:
    given = text(name, "")
    if not given:
        return default
    expected = f"a number from {least:g} to {most:g}"
    try:
        value = float(given)
    except ValueError:
        raise _refusal(name, given, expected) from None
    if not least <= value <= most:
        raise _refusal(name, given, expected)
    return value


def boolean(name: str, default: bool) -> bool:
    given = text(name, "").lower()
    if not given:
        return default
    if given not in TRUE + FALSE:
        raise _refusal(name, given, "on or off (also 1/0, true/false, yes/no)")
    return given in TRUE


def choice(name: str, default: str, choices: Sequence[str]) -> str:
    """One of `choices`, whatever its case."""
    given = text(name, default)
    for known in choices:
        if known.lower() == given.lower():
            return known
    raise _refusal(name, given, f"one of {', '.join(choices)}")


def url(name: str, default: str, *, schemes: Sequence[str]) -> str:
    """A URL with one of `schemes`. The refusal leaves the value out: URLs carry passwords."""
    given = text(name, default)
    scheme, separator, rest = given.partition("://")
    if scheme not in schemes or not separator or (scheme.startswith("http") and not rest):
        raise _refusal(name, "(a URL, not repeated here)", f"a URL like {schemes[0]}://…")
    try:
        _ = urlsplit(given).port
    except ValueError:
        raise _refusal(
            name, "(a URL, not repeated here)", "a URL with a port from 0 to 65535"
        ) from None
    return given


def strings(name: str, default: Sequence[str] = ()) -> list[str]:
    """Comma separated; blanks around an item and empty items are dropped."""
    return [item.strip() for item in text(name, "").split(",") if item.strip()] or list(default)


def apps(name: str) -> list[str]:
    """Comma separated import paths of packages that are installed."""
    given = strings(name)
    for item in given:
        try:
            found = find_spec(item) is not None
        except (ImportError, ValueError):
            found = False
        if not found:
            raise _refusal(name, item, "import paths of installed packages")
    return given


def origins(name: str) -> list[str]:
    """Comma separated `scheme://host[:port]`."""
    given = strings(name)
    for item in given:
        if urlsplit(item).scheme not in ("http", "https") or not urlsplit(item).netloc:
            raise _refusal(name, item, "origins like https://bots.example.com")
    return given


def networks(name: str) -> list[Network]:
    """Comma separated addresses or networks in CIDR notation."""
    found: list[Network] = []
    for item in strings(name):
        try:
            found.append(ipaddress.ip_network(item))
        except ValueError as error:
            raise _refusal(name, item, f"networks like 10.0.0.0/8 ({error})") from None
    return found


def folder(name: str, default: Path) -> Path:
    """An absolute path; whether it exists is not looked at, but it must not be a file."""
    path = Path(text(name, str(default))).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise _refusal(name, str(path), "a directory, but this is a file")
    return path


def time_zone(name: str, default: str) -> str:
    given = text(name, default)
    try:
        ZoneInfo(given)
    except (LookupError, ValueError, OSError):
        raise _refusal(name, given, "a time zone like Europe/Berlin") from None
    return given


def secret(name: str) -> str:
    """The value of NAME, or what stands in the file that NAME_FILE names; empty when neither."""
    value, path = text(name, ""), text(f"{name}_FILE", "")
    if value and path:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: set one of them.")
    if not path:
        return value
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise _refusal(f"{name}_FILE", path, f"a readable text file ({reason})") from None
    if not value:
        raise _refusal(f"{name}_FILE", path, "a file with the secret in it, this one is empty")
    return value


def secrets(name: str) -> list[str]:
    """Like `secret`, but several, separated by commas or lines."""
    return [item for item in secret(name).replace(",", "\n").split() if item]


def _refusal(name: str, given: str, expected: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is {given!r}, expected {expected}.")
