"""Writing as a person, which the local platform lets an operator do to try handlers.

On every other platform people write for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from bots import audit, naming
from bots.models import Bot, Message
from bots.refusals import Invalid
from spaces.models import Channel, Person
from spaces.platforms import local
from spaces.platforms.errors import CredentialsRefused, Misconfigured, PlatformError
from spaces.platforms.messages import ChannelKind, Outgoing, PersonRef

MOST = 200  # people to choose from


def is_offered(bot: Bot) -> bool:
    return bot.space.platform == local.Local.name


def people(room: Channel) -> Sequence[Person]:
    """Those of the room whom somebody may speak as."""
    return list(_people(room).order_by("username")[:MOST])


def _people(room: Channel) -> QuerySet[Person]:
    return Person.objects.filter(participations__channel=room, is_bot=False)


def say(bot: Bot, room: Channel, username: str, text: str, *, top: Message | None, key: str) -> str:
    """Say it, once for each `key`; returns where. Somebody new comes into the space, and into the
    room if it is a public one; where others are not let in, they write to the bot directly.

    The audit log keeps who did it: nothing else knows that it was not the person. In a transaction.
    Raises `Invalid`.
    """
    assert bot.person is not None  # it takes part in the room
    is_member = _people(room).filter(username=username).exists()
    where, joined = f"in {naming.name(bot, room)}", ""
    try:
        person = local.person(bot.space.slug, username)
        if not is_member and room.kind == ChannelKind.PUBLIC:
            person.join_channel(room.remote_id)
            is_member, joined = True, ", who joined for it"
        message = Outgoing(key=key, person=PersonRef(id=bot.person.remote_id), text=text)
        if is_member:
            thread = top.remote_id if top else ""
            message = Outgoing(key=key, channel=room.remote_id, text=text, thread=thread)
        person.post_message(message)
    except CredentialsRefused as error:
        told = f"{username} is a bot here. What it writes is written in its own chat."
        raise Invalid(told, field="newcomer") from error
    except (PlatformError, Misconfigured) as error:
        raise Invalid(f"{error.detail} {error.next_step}".strip(), code=error.code) from error
    told = where if is_member else "directly"
    audit.record("bot.written_to", bot, note=f"As {username}{joined}, {told}.")
    if is_member:
        return f"Said as {username}. It shows as soon as the bot hears it."
    return f"{username} wrote to {bot} directly: that is a room of its own."
