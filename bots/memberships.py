"""Which channels there are and who is in them, as events let us know in passing.

Platforms often only name a channel by its id. It is written down at once, for its events to have a
place, and described soon after by a task. Whoever hears what happens in a channel is in it, so the
bot's own membership is written down as well.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from bots.models import Bot
from spaces import sync
from spaces.models import Channel
from spaces.platforms.messages import ChannelKind, Incoming, Kind, ParticipantInfo

if TYPE_CHECKING:
    from bots.inbox import Found, Received

log = logging.getLogger(__name__)

DESCRIBED_WITHIN_SECONDS = 600  # a task that no worker took by then is left to the next sync


def channel_of(incoming: Incoming) -> str:
    return incoming.channel.id if incoming.channel else incoming.channel_id


# Channels ---------------------------------------------------------------------------------------


def name_channels(
    new: Sequence[tuple[Received, Incoming]], channel_ids: dict[int, dict[str, int]]
) -> None:
    """Find the channels that were only named by id, and write down those nobody told us of; what
    kind they are of is then private, unless the event says otherwise."""
    kinds: dict[int, dict[str, ChannelKind | None]] = defaultdict(dict)
    heard_by: dict[tuple[int, str], int] = {}
    for received, incoming in new:
        space_id, remote_id = received.space_id, channel_of(incoming)
        if remote_id and remote_id not in channel_ids.get(space_id, {}):
            named = kinds[space_id]
            named[remote_id] = incoming.channel_kind or named.get(remote_id)
            heard_by[space_id, remote_id] = received.bot_id
    unknown: dict[int, list[int]] = defaultdict(list)  # by the bot that can ask about them
    for space_id, named in sorted(kinds.items()):
        ids = channel_ids.setdefault(space_id, {})
        known = Channel.objects.filter(space_id=space_id, remote_id__in=named)
        ids.update(known.values_list("remote_id", "pk"))
        missing = {remote_id: kind for remote_id, kind in named.items() if remote_id not in ids}
        ids.update(_write_down(space_id, missing))
        for remote_id in missing:
            unknown[heard_by[space_id, remote_id]].append(ids[remote_id])
    for bot_id, pks in unknown.items():
        transaction.on_commit(partial(describe_soon, bot_id, sorted(pks)), robust=True)


def _write_down(space_id: int, missing: Mapping[str, ChannelKind | None]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for kind in ChannelKind:
        of_kind = [r for r, told in missing.items() if (told or ChannelKind.PRIVATE) == kind]
        if of_kind:
            ids |= sync.named_channels(space_id, of_kind, kind=kind)
    return ids


def describe_soon(bot_id: int, channel_ids: Sequence[int], *, seconds: float = 0) -> None:
    """Have a worker ask the platform what these channels are called and who is in them. Where that
    does not happen, the next sync does it."""
    try:
        current_app.send_task(
            "bots.tasks.describe_channels",
            (bot_id, list(channel_ids)),
            countdown=seconds or None,
            expires=seconds + DESCRIBED_WITHIN_SECONDS,
            retry=False,
        )
    except (OperationalError, OSError):
        log.warning("the broker is away: %s new channels wait for a sync", len(channel_ids))


def _note_archived(found: Sequence[Found]) -> None:
    """What was told last of each channel counts, also when all of it came in one batch."""
    archived: dict[int, bool] = {}
    for f in found:
        if f.channel_id is None:
            continue
        if f.incoming.kind == Kind.CHANNEL_DELETED:
            archived[f.channel_id] = True
        elif f.incoming.channel is not None:
            archived[f.channel_id] = f.incoming.channel.archived
    if gone := [channel_id for channel_id, is_gone in archived.items() if is_gone]:
        Channel.objects.filter(pk__in=gone).update(archived=True)


# Who is in them ---------------------------------------------------------------------------------


def keep(found: Sequence[Found]) -> None:
    """Write down what events tell of channels and of who takes part in them."""
    _note_archived(found)
    for f in found:
        if f.channel_id is None:
            continue
        if f.incoming.kind == Kind.PARTICIPANT_JOINED:
            at = f.incoming.occurred_at
            people = [ParticipantInfo(person=p, joined_at=at) for p in f.incoming.people]
            sync.joined(f.channel_id, f.received.space_id, people)
        elif f.incoming.kind == Kind.PARTICIPANT_LEFT:
            sync.left(f.channel_id, f.received.space_id, f.incoming.people)
    _take_part(found)


def _take_part(found: Sequence[Found]) -> None:
    """Who hears what happens in a channel is in it, and so is the other one of a direct channel."""
    bots = Bot.objects.filter(pk__in={f.received.bot_id for f in found}).exclude(person=None)
    own: dict[int, tuple[int, str]] = {
        pk: (person_id, remote_id)
        for pk, person_id, remote_id in bots.values_list("pk", "person_id", "person__remote_id")
    }
    is_in: dict[tuple[int, int], bool] = {}
    for f in found:
        if f.channel_id is None:
            continue
        if f.peer_id is not None:
            is_in[f.channel_id, f.peer_id] = True
        if f.received.bot_id in own and _was_heard(f):
            person_id, remote_id = own[f.received.bot_id]
            is_in[f.channel_id, person_id] = not _tells_of_leaving(f.incoming, remote_id)
    if pairs := [pair for pair, still in is_in.items() if still]:
        sync.take_parts(pairs)


def _was_heard(f: Found) -> bool:
    """Whether the bot learned it by being in the channel. People may call a bot with a webhook from
    anywhere; and what the platform writes about somebody's leaving may come after they left."""
    incoming = f.incoming
    is_last_word = incoming.kind == Kind.CHANNEL_DELETED or incoming.system
    return f.received.fence is not None and not is_last_word


def _tells_of_leaving(incoming: Incoming, remote_id: str) -> bool:
    return incoming.kind == Kind.PARTICIPANT_LEFT and remote_id in {p.id for p in incoming.people}
