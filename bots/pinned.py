"""The pinned messages of a channel: nobody tells of them, so the platform is asked each time."""

from __future__ import annotations

from itertools import islice

from bots import clients, jobs
from bots.models import Bot, Message
from bots.recording import write_down
from spaces.models import Channel
from spaces.platforms.contract import Ability

MOST = 1_000


def read(bot: Bot, channel: Channel) -> list[Message]:
    """Newest first, at most `MOST`; older ones that we had not heard of are written down on the
    way, as by a sync, so that each has an id.

    Raises `NotSupported`, and what the platform raises.
    """
    jobs.check_platform(bot, {Ability.PIN})
    with clients.borrow(bot) as platform:
        told = list(islice(platform.list_pinned(channel.remote_id), MOST))
    remote_ids = write_down(bot, channel.pk, told)
    known = Message.objects.filter(bot=bot, remote_id__in=remote_ids)
    by_id = {row.remote_id: row for row in known.select_related("sender")}
    return [by_id[remote_id] for remote_id in remote_ids]
