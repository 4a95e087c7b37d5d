"""What a row says, field by field, for people to read; and what differs between two times.

Secrets are compared and never shown: all that is told of one is that it was set, changed, removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.hashers import is_password_usable
from django.db.models import Field, ManyToManyField, Model
from django.utils import timezone

from bots.models import ApiToken, Bot, Permission, Scope, Subscription
from bots.scrub import scrub
from spaces.models import Space
from spaces.platforms import registry
from spaces.platforms.contract import Option, declared_options
from spaces.platforms.trace import SECRET_NAMES

SET, CHANGED, REMOVED = "set", "changed", "removed"
LONGEST = 1_000  # characters of a value that are told
MOST_NAMES = 50  # of many rows that belong to one

SECRET_FIELDS = frozenset({"password"})  # of accounts
# Written by the product as it goes, or said better by an action of its own.
NOT_TOLD = frozenset({"last_login", "date_joined", "ended"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A field as people call it, with what it said before and after; empty where nothing was."""

    field: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    raw: Any = None  # compared, never told
    shown: str = ""
    secret: bool = False


NOTHING = Value()


def state_of(row: Model, fields: Collection[str] | None = None) -> dict[str, Value]:
    """What these fields of a row say, all that people may change unless some are named."""
    told: dict[str, Value] = {}
    for field in (*row._meta.concrete_fields, *row._meta.many_to_many):
        if not (_is_told(field) if fields is None else field.name in fields):
            continue
        if field.name == "options" and isinstance(row, Space | Bot):
            told |= _options(row)
        else:
            told[_capital(str(field.verbose_name))] = _value(row, field)
    return told


def differences(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[Change]:
    return [
        _change(name, before.get(name, NOTHING), after.get(name, NOTHING))
        for name in dict.fromkeys((*before, *after))
        if before.get(name, NOTHING).raw != after.get(name, NOTHING).raw
    ]


def without_secrets(url: str) -> str:
    """A URL as far as it can be shown: neither a login nor what follows the path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    if not parts.netloc:
        return url
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return f"{shown}?…" if parts.query else shown


def _change(name: str, before: Value, after: Value) -> Change:
    if before.secret or after.secret:
        if not after.raw:
            return Change(field=name, before=SET, after=REMOVED)
        if not before.raw:
            return Change(field=name, after=SET)
        return Change(field=name, before=SET, after=CHANGED)
    if before.shown == after.shown:  # what differs is not for showing
        return Change(field=name, before=before.shown, after=f"{after.shown} ({CHANGED})".strip())
    return Change(field=name, before=before.shown, after=after.shown)


def _is_told(field: Field[Any, Any]) -> bool:
    if field.primary_key or field.name in NOT_TOLD:
        return False
    # Rows that belong to many others are only ever put there by people.
    return field.editable or isinstance(field, ManyToManyField)


def _value(row: Model, field: Field[Any, Any]) -> Value:
    name = field.name
    if isinstance(field, ManyToManyField):
        return _many(row, name)
    raw = field.value_from_object(row)
    if name in SECRET_FIELDS:
        return Value(raw=raw if raw and is_password_usable(raw) else None, secret=True)
    if show := SHOWN.get((type(row), name)):
        return Value(raw=raw, shown=_fit(show(raw)))
    if field.is_relation:
        return Value(raw=raw, shown=_fit(str(getattr(row, name) or "")))
    if field.flatchoices:
        raw = None if raw == "" else raw
        return Value(raw=raw, shown=_fit(str(dict(field.flatchoices).get(raw, raw) or "")))
    return Value(raw=None if raw in ("", [], {}) else raw, shown=_fit(_text(raw)))


def _many(row: Model, name: str) -> Value:
    names = {related.pk: str(related) for related in getattr(row, name).all()}
    shown = sorted(names.values())
    more = f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else ""
    return Value(raw=frozenset(names) or None, shown=_fit(", ".join(shown[:MOST_NAMES]) + more))


def _options(row: Space | Bot) -> dict[str, Value]:
    space, on = (row, "space") if isinstance(row, Space) else (row.space, "bot")
    platform = registry.platforms().get(space.platform)
    declared = declared_options(platform, on) if platform else {}  # type: ignore[arg-type]
    return {
        _option_label(declared.get(name), name): _option(declared.get(name), name, value)
        for name, value in row.options.items()
    }


def _option_label(option: Option | None, name: str) -> str:
    if option is None:
        return name
    return f"{option.label} ({option.unit})" if option.unit else option.label


def _option(option: Option | None, name: str, value: Any) -> Value:
    if (option is not None and option.secret) or _sounds_secret(name):
        return Value(raw=value, secret=True)
    return Value(raw=value, shown=told_of_option(name, value))


def told_of_option(name: str, value: Any) -> str:
    """What an option says, as far as it can be shown to anybody, also one that nobody declares."""
    if _sounds_secret(name):
        return SET
    return _fit(without_secrets(_text(value))) or "nothing at all"


def _sounds_secret(name: str) -> bool:
    return any(word in name.replace("_", "-") for word in SECRET_NAMES)


def _text(value: Any) -> str:
    match value:
        case None | "":
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S %Z")
        case list():
            return ", ".join(map(_text, value))
    return str(value)


def _fit(text: str) -> str:
    fit: str = scrub(text)
    return fit if len(fit) <= LONGEST else f"{fit[:LONGEST]} …"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _labels(choices: Any) -> Callable[[Any], str]:
    labels = dict(choices)
    return lambda values: ", ".join(str(labels.get(value, value)) for value in values)


def _host(url: str) -> str:
    """Of a webhook: whatever follows the host may be what lets somebody in."""
    parts = next(_split(url), None)
    return f"{parts[0]}://{parts[1]}/…" if parts else "…"


def _split(url: str) -> Iterator[tuple[str, str]]:
    scheme, _, rest = without_secrets(url).partition("://")
    if rest:
        yield scheme, rest.partition("/")[0]


# What a field says in words of its own.
SHOWN: dict[tuple[type[Model], str], Callable[[Any], str]] = {
    (Bot, "permissions"): _labels(Permission.choices),
    (ApiToken, "scopes"): _labels(Scope.choices),
    (Subscription, "url"): _host,
    (Subscription, "kinds"): lambda kinds: ", ".join(kinds) or "all",
}
