"""Who may ask for a command, and where: what `who=` and `where=` mean.

Names are told from ids by how they are written, so that nobody can pass for somebody else by a name
that looks like an id. Nothing here counts for bots: they give no commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from bots import clients
from bots.handling import registry
from bots.handling.call import Call
from spaces.models import Channel
from spaces.platforms.contract import Ability
from spaces.platforms.messages import ChannelKind, Role

DIRECT, CHANNEL = "direct", "channel"  # kinds of places
NAME_MARKS = "#~"  # one of them stands before the name of a channel

Who = str | Callable[[Call], bool]
T = TypeVar("T")


def moderators(call: Call) -> bool:
    """Those who moderate the channel; for `who=`. The platform is asked at that moment, as most do
    not tell when it changes; on one that cannot say, nobody does. Raises what it raises."""
    if call.person.get("is_bot"):
        return False
    with clients.borrow(call.bot) as platform:
        if call.channel is None or Ability.LIST_PARTICIPANTS not in platform.abilities:
            return False
        return any(
            one.role == Role.MODERATOR and one.person.id == call.person.get("id")
            for one in platform.list_participants(call.channel.remote_id)
        )


def people(given: Who | Iterable[Who] | None) -> tuple[Who, ...]:
    """What `who=` names, as it is kept: empty for everybody. Raises `ValueError`."""
    if given is None:
        return ()
    several = (given,) if isinstance(given, str) or callable(given) else tuple(given)
    for one in _some("who", several):
        if callable(one):
            registry.refuse_unfinished(one)
        elif not isinstance(one, str) or not one.strip("@ ") or len(one.split()) > 1:
            raise ValueError(f"who={one!r}: write @username, an e-mail address, or an id")
    return tuple(one if callable(one) else one.strip() for one in several)


def places(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """What `where=` names, as it is kept: empty for anywhere. Raises `ValueError`."""
    if given is None:
        return ()
    several = (given,) if isinstance(given, str) else tuple(given)
    for one in _some("where", several):
        if not isinstance(one, str) or not one.strip(f"{NAME_MARKS} "):
            raise ValueError(f"where={one!r}: write #name, an id, {DIRECT!r} or {CHANNEL!r}")
    return tuple(one.strip() for one in several)


def _some(what: str, given: tuple[T, ...]) -> tuple[T, ...]:
    if not given:
        raise ValueError(f"{what} names nobody and nothing; leave it away if all are meant")
    return given


def is_person(who: Who, call: Call) -> bool:
    person = call.person
    if person.get("is_bot"):
        return False
    if not isinstance(who, str):
        allowed = who(call)
        registry.refuse_awaitable(who, allowed)
        return bool(allowed)
    if who.startswith("@"):
        # As it is written: on some platforms Alice is somebody else than alice.
        return who.removeprefix("@") == person.get("username")
    if "@" in who:
        return _same_case(who) == _same_case(str(person.get("email", "")))
    return who == person.get("id")


def _same_case(address: str) -> str:
    # Beyond ASCII several letters become one: somebody else's address could be made to fit.
    return address.lower() if address.isascii() else address


def is_place(channel: Channel | None, where: Iterable[str]) -> bool:
    """Whether one of these is the channel. Titles do not count: many can have the same."""
    if channel is None:
        return False
    kind = DIRECT if channel.kind == ChannelKind.DIRECT else CHANNEL
    marked = {f"{mark}{channel.name}" for mark in NAME_MARKS if channel.name}
    return not {kind, channel.remote_id, *marked}.isdisjoint(where)


def shown(place: str) -> str:
    if place == DIRECT:
        return "in a direct conversation"
    if place == CHANNEL:
        return "in a channel"
    return f"in #{place[1:]}" if place[0] in NAME_MARKS else f"in the channel {place}"
