"""Platforms that fail on command, for tests of the parts that send.

All work as the local platform does, with its rooms and people, until a script says otherwise:

    faulty.script(faulty.after(OutcomeUnknown("sent, then silence")), faulty.ok())

They are registered when this module is imported, which only tests do.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partialmethod
from typing import Any

from spaces.platforms.contract import OPERATIONS, Ability, Platform
from spaces.platforms.local import Local
from spaces.platforms.messages import Outgoing, Sent
from spaces.platforms.registry import register

PATIENCE_SECONDS = 10  # how long a held call waits for its test


@dataclass(frozen=True)
class Call:
    """One call that reached the platform, whatever became of it. `bot` is the bot's slug."""

    bot: str
    operation: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


Do = Callable[[], Any]
Step = Callable[[Do], Any]

calls: list[Call] = []
_scripts: dict[str, deque[Step]] = defaultdict(deque)
_lock = threading.Lock()


def script(*steps: Step, operation: str = "post_message") -> None:
    """What the next calls of this operation meet, one step each; afterwards all goes well."""
    with _lock:
        _scripts[operation].extend(steps)


def reset() -> None:
    """Forget scripts and calls; belongs at the end of every test that used them."""
    with _lock:
        _scripts.clear()
        calls.clear()


def ok() -> Step:
    return lambda do: do()


def before(error: Exception) -> Step:
    """Raise instead of doing."""

    def step(do: Do) -> Any:
        raise error

    return step


def after(error: Exception) -> Step:
    """Do it, and raise all the same."""

    def step(do: Do) -> Any:
        do()
        raise error

    return step


def held(gate: threading.Event, started: threading.Event | None = None) -> Step:
    """Wait for the test to open the gate, then do it. `started` tells the test of the waiting."""

    def step(do: Do) -> Any:
        if started:
            started.set()
        if not gate.wait(PATIENCE_SECONDS):
            raise AssertionError("the test never opened the gate")
        return do()

    return step


def _played(self: Faulty, operation: str, *args: Any, **kwargs: Any) -> Any:
    with _lock:
        calls.append(Call(self.account.bot, operation, args, kwargs))
        steps = _scripts[operation]
        step = steps.popleft() if steps else ok()
    do = getattr(super(Faulty, self), operation)
    return step(lambda: do(*args, **kwargs))


class Faulty(Local):
    name = "faulty"
    label = "Faulty"


# Every operation that somebody calls; decoding is pure and cannot fail on command.
_operations = {name for ability in Local.abilities for name in OPERATIONS.get(ability, ())}
for _operation in {"connect", *_operations} - {"decode"}:
    setattr(Faulty, _operation, partialmethod(_played, _operation))
register(Faulty)


@register
class Forgetful(Faulty):
    """Knows no keys: posts a repeated message again, and cannot say what went out."""

    name = "forgetful"
    label = "Forgetful"
    abilities = Faulty.abilities - {Ability.FIND_SENT}
    find_sent = Platform.find_sent

    def post_message(self, message: Outgoing) -> Sent:
        return super().post_message(replace(message, key=""))


RARE = frozenset(
    {
        Ability.PIN,
        Ability.EPHEMERAL,
        Ability.RESTORE_CHANNEL,
        Ability.RENAME_CHANNEL,
        Ability.CHANNEL_PURPOSE,
        Ability.CONVERT_CHANNEL,
        Ability.CUSTOM_REQUEST,
    }
)


class Plain(Faulty):
    """Can nothing that only some platforms can."""

    name = "plain"
    label = "Plain"
    abilities = Faulty.abilities - RARE


for _operation in {name for ability in RARE for name in OPERATIONS.get(ability, ())}:
    setattr(Plain, _operation, getattr(Platform, _operation))
register(Plain)
