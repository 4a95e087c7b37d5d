"""Messages from before the bot listened, read from the platform when somebody asks for them."""

from __future__ import annotations

from itertools import islice

from bots import clients, jobs
from bots.api import outside
from bots.keys import remote_id
from bots.models import Bot, Message
from bots.recording import write_down
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
    ids = {remote_id(i.message_id) for i in told}
    known = Message.objects.filter(bot=bot, remote_id__in=ids).count()
    return len(set(write_down(bot, room.pk, told))) - known
