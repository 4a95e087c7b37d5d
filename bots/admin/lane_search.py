"""Finding lanes by what they are called: by the names of channels and people."""

from __future__ import annotations

from collections import defaultdict

from django.db.models import Q

from bots import access, targets
from bots.access import Actor
from bots.handling import registry
from bots.models import LaneKind

MOST_FOUND = 50  # channels, and people, that a search looks for the lanes of


def called(text: str, actor: Actor) -> Q:
    """The lanes of channels and people with this in their names, of those whom the actor sees."""
    title = Q(name__icontains=text) | Q(title__icontains=text)
    channels = list(access.channels(actor).filter(title).order_by("-pk")[:MOST_FOUND])
    person = Q(name__icontains=text) | Q(username__icontains=text)
    people = list(access.people(actor).filter(person).order_by("-pk")[:MOST_FOUND])
    by_space: dict[int, list[str]] = defaultdict(list)
    for channel in channels:
        by_space[channel.space_id] += _keys(f"channel:{channel.remote_id}")
    for one in people:
        by_space[one.space_id] += _keys(f"person:{one.remote_id}")
    theirs = Q(pk__in=[])
    for space_id, keys in by_space.items():
        theirs |= Q(bot__space=space_id, key__in=keys)
    deliveries = [f"channel:{channel.pk}" for channel in channels]
    return theirs | Q(kind=LaneKind.DELIVERIES, key__in=deliveries)


def _keys(target: str) -> list[str]:
    """Of all lanes of a bot for one target."""
    handlers = (f"{handler} {target}"[:300] for handler in registry.registered())
    return [target, f"{targets.UNORDERED}:{target}", *handlers]
