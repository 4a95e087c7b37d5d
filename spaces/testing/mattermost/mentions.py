"""Who and which channels a text names."""

from __future__ import annotations

import re

from .state import Channel, World

EVERYONE = frozenset(["@channel", "@all", "@here"])
TRAILING = ".-:_"


def mentioned(world: World, channel: Channel, text: str, *, everyone: bool) -> set[str]:
    """Ids of the members a text names; `everyone` lets @channel, @all and @here count."""
    names = {
        world.users[user_id].username: user_id
        for user_id in world.members[channel.id]
        if not world.users[user_id].delete_at
    }
    found: set[str] = set()
    for word in re.findall(r"[\w:.@-]+", text):
        word = word.lower()
        if word.rstrip(TRAILING) in EVERYONE:
            found |= set(names.values()) if everyone else set()
        elif word.startswith("@"):
            found |= _named(names, word[1:])
    return found


def _named(names: dict[str, str], name: str) -> set[str]:
    while name:
        if name in names:
            return {names[name]}
        if name[-1] not in TRAILING:
            break
        name = name[:-1]
    return set()


def names_everyone(text: str) -> bool:
    words = re.findall(r"@[\w:.@-]+", text.lower())
    return any(word.rstrip(TRAILING) in EVERYONE for word in words)


def channel_links(world: World, channel: Channel, text: str) -> dict[str, dict[str, str]]:
    """Public channels of the same team named as `~name`."""
    links = {}
    for name in re.findall(r"(?<!\w)~([a-z0-9][a-z0-9_-]*)", text):
        linked = world.channel_named(channel.team_id, name) if channel.team_id else None
        if linked and linked.type == "O":
            links[name] = {
                "display_name": linked.display_name,
                "team_name": world.teams[channel.team_id].name,
            }
    return links
