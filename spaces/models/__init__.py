"""Where bots live: spaces with their channels and people, one model a file."""

from spaces.models.channel import Channel, Participant
from spaces.models.local import (
    LocalAccount,
    LocalClock,
    LocalEvent,
    LocalFile,
    LocalMember,
    LocalMessage,
    LocalReaction,
    LocalRoom,
)
from spaces.models.person import Person
from spaces.models.space import Space

__all__ = [
    "Channel",
    "LocalAccount",
    "LocalClock",
    "LocalEvent",
    "LocalFile",
    "LocalMember",
    "LocalMessage",
    "LocalReaction",
    "LocalRoom",
    "Participant",
    "Person",
    "Space",
]
