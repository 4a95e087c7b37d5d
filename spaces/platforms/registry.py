"""All platforms by name: the files of this folder, and those that installed packages bring.

A package adds one with an entry point in the group `botadmin.platforms`:

    [project.entry-points."botadmin.platforms"]
    irc = "botadmin_irc:Irc"

One that cannot be imported is left out and named by `problems()`; the others go on.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TypeVar

import spaces.platforms
from spaces.platforms.contract import Platform, mismatches
from spaces.platforms.errors import Misconfigured

log = logging.getLogger(__name__)
GROUP = "botadmin.platforms"
P = TypeVar("P", bound=type[Platform])

_registered: dict[str, type[Platform]] = {}


def register(platform: P) -> P:
    """Class decorator: make the platform known by its `name`. Raises `ValueError` when it lies
    about its abilities or takes a name that is taken."""
    if wrong := mismatches(platform):
        raise ValueError("; ".join(wrong))
    known = _registered.setdefault(platform.name, platform)
    if known.__qualname__ != platform.__qualname__ or known.__module__ != platform.__module__:
        raise ValueError(f"two platforms call themselves {platform.name}: {known} and {platform}")
    return platform


def platforms() -> MappingProxyType[str, type[Platform]]:
    """Every usable platform by name."""
    _load()
    return MappingProxyType(_registered)


def get(name: str) -> type[Platform]:
    """Raises `Misconfigured` when no platform has this name, say because a package went away."""
    try:
        return platforms()[name]
    except KeyError:
        known = ", ".join(sorted(platforms()))
        raise Misconfigured(
            f"There is no platform {name!r}; installed: {known}.",
            option="platform",
            next_step="Install the package that brings this platform, or choose another.",
        ) from None


def problems() -> tuple[str, ...]:
    """Why installed platforms could not be used, one line each."""
    return _load()


@cache
def _load() -> tuple[str, ...]:
    for module in pkgutil.iter_modules(spaces.platforms.__path__, "spaces.platforms."):
        importlib.import_module(module.name)
    found = []
    for entry in entry_points(group=GROUP):
        try:
            register(entry.load())
        except Exception as error:  # somebody else's code: whatever it raises, we go on without it
            log.exception("platform %s from %s cannot be used", entry.name, entry.value)
            found.append(f"{entry.name} ({entry.value}): {error}")
    return tuple(found)
