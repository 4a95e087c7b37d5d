"""Who is at work, and through which door: what the audit log says of each change.

Doors say so around all that happens behind them, and the core needs no argument for it. It is kept
for the thread (or task) that said it, so that nobody works in somebody else's name; where nobody
said anything, it is botadmin itself.

    with who.acting(who.By(label="alice", key="user:7", door=who.Door.ADMIN)):
        lifecycle.stop(bot)
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bots.access import Actor


class Door(StrEnum):
    ADMIN = "admin"
    API = "api"
    COMMAND = "command"
    ITSELF = "botadmin"


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    label: str  # for people: `alice`, `token ci`
    key: str  # for programs: `user:7`, `token:3`
    door: Door


ITSELF = By(label="botadmin", key="botadmin", door=Door.ITSELF)

_found: ContextVar[Callable[[], By]] = ContextVar("who", default=lambda: ITSELF)


def now() -> By:
    """Who is at work here and now."""
    return _found.get()()


def of(actor: Actor, door: Door) -> By:
    return By(label=actor.label, key=actor.key, door=door)


def command() -> By:
    """Whoever typed a command on this machine."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # containers run as numbers that have no name
        name = "somebody"
    return By(label=name, key=f"shell:{name}", door=Door.COMMAND)


@contextmanager
def acting(by: By) -> Iterator[None]:
    """Inside the block, this one is at work."""
    with found_by(lambda: by):
        yield


@contextmanager
def found_by(find: Callable[[], By]) -> Iterator[None]:
    """As `acting`, for doors that know it later: `find` is asked for each change."""
    token = _found.set(find)
    try:
        yield
    finally:
        _found.reset(token)
