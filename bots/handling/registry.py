"""Which handlers there are, and which events each is for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from types import FunctionType, MappingProxyType

from bots.handling.call import Call
from bots.models import Bot
from spaces.models import Channel
from spaces.platforms.messages import Kind

SECONDS = 60.0  # that a handler may take, unless it says otherwise
MOST_SECONDS = 900.0  # a lane whose worker was killed waits for as long

Function = Callable[..., object]

_UNFINISHED = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """`bots` and `channels` are names; empty: all."""

    name: str
    kinds: frozenset[Kind]
    function: Function
    bots: frozenset[str] = field(default_factory=frozenset)
    channels: frozenset[str] = field(default_factory=frozenset)
    timeout: float = SECONDS

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= MOST_SECONDS:
            raise ValueError(f"handler {self.name}: a timeout is up to {MOST_SECONDS:g} seconds")

    def is_for(self, bot: Bot, channel: Channel | None) -> bool:
        """Whether it is for this bot, and for what happens in this channel."""
        if self.bots and not {bot.slug, bot.name} & self.bots:
            return False
        return not self.channels or is_called(channel, self.channels)

    def run(self, call: Call) -> None:
        refuse_awaitable(self.function, self.function(call))


_handlers: dict[str, Handler] = {}
_built_in: dict[str, Handler] = {}  # given to bots by botadmin itself, not by their lists


def on(
    *kinds: str,
    name: str = "",
    bot: str | Iterable[str] = (),
    channel: str | Iterable[str] = (),
    timeout: float = SECONDS,
) -> Callable[[Function], Function]:
    """Register a function for events of these kinds, under its own name unless one is given.

    With `bot` (slugs or names) or `channel` (names, titles or ids), one or several, only for what
    happens to these and there. After `timeout` seconds it is given up.

    Raises `ValueError` for an unknown kind, a timeout that is none, a name that is taken, or a
    function that is async.
    """

    def decorate(function: Function) -> Function:
        handler = Handler(
            name=name or function.__name__,
            kinds=frozenset(Kind(kind) for kind in kinds),
            function=function,
            bots=names(bot),
            channels=channel_names(channel),
            timeout=timeout,
        )
        if not kinds:
            raise ValueError(f"handler {handler.name}: name the kinds of event it is for")
        register(handler)
        return function

    return decorate


def register(handler: Handler) -> None:
    """Raises `ValueError` for a name that is taken, and for a function that would not be done when
    it returns."""
    refuse_unfinished(handler.function)
    if handler.name in _built_in:
        raise ValueError(f"{handler.name} is built in: give yours another name")
    known = _handlers.get(handler.name, handler)
    if _made_of(known) != _made_of(handler):
        raise ValueError(f"two handlers are called {handler.name}: give one of them a name=")
    _handlers[handler.name] = handler


def _made_of(value: object) -> object:
    """What a handler is known by, also when its module is imported anew, which makes new functions
    of the same source."""
    if isinstance(value, Handler):
        return type(value), *(_made_of(getattr(value, one.name)) for one in fields(value))
    if isinstance(value, tuple):
        return tuple(map(_made_of, value))
    if isinstance(value, FunctionType) and value.__closure__ is None:
        return value.__module__, value.__qualname__, value.__code__
    return value


def refuse_unfinished(function: Callable[..., object]) -> None:
    """Raises `ValueError` for a function that, when it is called, has done nothing yet."""
    called = getattr(function, "__call__", function)  # noqa: B004 - of an object that is called
    if any(makes(one) for makes in _UNFINISHED for one in (function, called)):
        raise ValueError(f"{function!r} is async or a generator: calling it does nothing")


def refuse_awaitable(function: Callable[..., object], returned: object) -> None:
    """Raises `TypeError` for what `function` returned if that is something to await: what was asked
    of it is not done, and not to be taken for a yes."""
    if inspect.isawaitable(returned):
        raise TypeError(f"{function!r} returned something to await, and nothing awaits it")


def build_in(handler: Handler) -> None:
    """Make known one that no bot has to switch on."""
    _built_in[handler.name] = handler


def forget(name: str) -> None:
    """Undo the registration of a handler, say of one that a test made."""
    del _handlers[name]


def registered() -> MappingProxyType[str, Handler]:
    """All handlers that a bot may switch on, by name."""
    return MappingProxyType(_handlers)


def find(name: str) -> Handler | None:
    return _handlers.get(name) or _built_in.get(name)


def enabled(bot: Bot) -> list[Handler]:
    """Those that the bot switched on, in the order of its list."""
    # One whose package went away stays in the bot's list; it has nothing to run.
    return [_handlers[name] for name in dict.fromkeys(bot.handlers) if name in _handlers]


def names(given: str | Iterable[str]) -> frozenset[str]:
    """One or several."""
    return frozenset([given] if isinstance(given, str) else given)


def channel_names(given: str | Iterable[str]) -> frozenset[str]:
    return frozenset(name.strip().lstrip("#~") for name in names(given))


def is_called(channel: Channel | None, names: frozenset[str]) -> bool:
    """Whether one of these is the channel's id, ours or the platform's, its name or its title."""
    if channel is None:
        return False
    return bool({str(channel.pk), channel.remote_id, channel.name, channel.title} & names)
