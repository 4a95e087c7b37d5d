"""Messages from before the bot listened, read from the platform when somebody asks for them."""

from __future__ import annotations

from itertools import islice

from bots import clients, jobs
from bots.api import outside
from bots.inbox import keep_messages, message_from
from bots.models import Bot, Message
from spaces import sync
from spaces.models import Channel
from spaces.platforms.contract import Ability

MOST = 500  # newest messages of a room that are read


def read(bot: Bot, room: Channel) -> int:
    """Write down the newest messages of the room; returns how many of them we did not know.

    Raises `NotSupported`, `Busy`, and what the platform raises.
    """
    jobs.check_platform(bot, {Ability.HISTORY})
    with outside.place(), clients.borrow(bot) as platform:
        told = list(islice(platform.history(room.remote_id, quantity=MOST), MOST))
    people = sync.people(bot.space_id, [i.person for i in told if i.person])
    rows = [
        message_from(i, bot.pk, room.pk, people[i.person.id] if i.person else None) for i in told
    ]
    ids = {row.remote_id for row in rows}
    known = Message.objects.filter(bot=bot, remote_id__in=ids).count()
    keep_messages(rows)
    return len(ids) - known
