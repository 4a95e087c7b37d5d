"""Which channels there are and who is in them, as events let us know in passing.

Platforms often only name a channel by its id. It is written down at once, for its events to have a
place, and described soon after by a task. Whoever hears what happens in a channel is in it, so the
bot's own membership is written down as well. Where a platform says only that something changed, it
is asked.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from bots.models import Bot, Event
from spaces import sync
from spaces.models import Channel
from spaces.platforms.messages import ChannelKind, Incoming, Kind, ParticipantInfo

if TYPE_CHECKING:
    from bots.inbox import Found, Received

log = logging.getLogger(__name__)

New = tuple["Received", Incoming]

ASKED_WITHIN_SECONDS = 600  # a task that no worker took by then is left to the next sync
SAME_CHANGE = timedelta(seconds=5)  # no more lies between the tellings of one change


def channel_of(incoming: Incoming) -> str:
    return incoming.channel.id if incoming.channel else incoming.channel_id


# Channels ---------------------------------------------------------------------------------------


def name_channels(new: Sequence[New], channel_ids: dict[int, dict[str, int]]) -> None:
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
    _ask_soon("describe_channels", bot_id, list(channel_ids), seconds=seconds)


def list_soon(bot_id: int, *, seconds: float = 0) -> None:
    """As `describe_soon`, which channels the bot is in at all."""
    _ask_soon("list_channels", bot_id, seconds=seconds)


def _ask_soon(task: str, *arguments: object, seconds: float) -> None:
    try:
        current_app.send_task(
            f"bots.tasks.{task}",
            arguments,
            countdown=seconds or None,
            expires=seconds + ASKED_WITHIN_SECONDS,
            retry=False,
        )
    except (OperationalError, OSError):
        log.warning("the broker is away: %s is left to the next sync", task)


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


def without_repeated_changes(new: Sequence[New]) -> list[New]:
    """Some platforms tell that a channel changed, and, in another way and under another id, into
    what. Only the first of the two is kept."""
    changes = [(r, one) for r, one in new if _may_be_repeated(r, one)]
    if not changes:
        return list(new)
    told = _changes_told(changes)
    kept: list[New] = []
    for received, incoming in new:
        if incoming.kind == Kind.CHANNEL_CHANGED:
            near = told[received.bot_id, channel_of(incoming)]
            change = (incoming.occurred_at, _tells_no_more_than_a_change(incoming))
            if _may_be_repeated(received, incoming) and any(_are_one(change, n) for n in near):
                continue
            near.append(change)
        kept.append((received, incoming))
    return kept


def _may_be_repeated(received: Received, incoming: Incoming) -> bool:
    is_change = incoming.kind == Kind.CHANNEL_CHANGED
    return is_change and (received.catch_up or _tells_no_more_than_a_change(incoming))


Change = tuple[datetime, bool]  # when a channel changed, and whether that is all that was told


def _changes_told(changes: Sequence[New]) -> dict[tuple[int, str], list[Change]]:
    """Those stored about the same time, by bot and channel."""
    times = [incoming.occurred_at for _, incoming in changes]
    rows = Event.objects.filter(
        bot_id__in={received.bot_id for received, _ in changes},
        kind=Kind.CHANNEL_CHANGED,
        channel__remote_id__in={channel_of(incoming) for _, incoming in changes},
        occurred_at__range=(min(times) - SAME_CHANGE, max(times) + SAME_CHANGE),
    ).values_list("bot_id", "channel__remote_id", "occurred_at", "data")
    told: dict[tuple[int, str], list[Change]] = defaultdict(list)
    for bot_id, channel_id, at, data in rows:
        told[bot_id, channel_id].append((at, "channel" not in data))
    return told


def _are_one(one: Change, other: Change) -> bool:
    return one[1] != other[1] and abs(one[0] - other[0]) <= SAME_CHANGE


def _ask_anew(found: Sequence[Found]) -> None:
    """Some platforms tell that a channel changed, and not into what."""
    changed: dict[int, set[int]] = defaultdict(set)  # by the bot that can ask about them
    for f in found:
        if f.channel_id is not None and _tells_no_more_than_a_change(f.incoming):
            changed[f.received.bot_id].add(f.channel_id)
    if changed:
        Channel.objects.filter(pk__in=set().union(*changed.values())).update(synced_at=None)
    for bot_id, pks in changed.items():
        transaction.on_commit(partial(describe_soon, bot_id, sorted(pks)), robust=True)


def _tells_no_more_than_a_change(incoming: Incoming) -> bool:
    # A direct channel has nothing that may change but its topic.
    is_direct = incoming.channel_kind is ChannelKind.DIRECT
    return incoming.kind == Kind.CHANNEL_CHANGED and incoming.channel is None and not is_direct


# Who is in them ---------------------------------------------------------------------------------


def keep(found: Sequence[Found]) -> None:
    """Write down what events tell of channels and of who takes part in them."""
    _note_archived(found)
    _ask_anew(found)
    _list_anew(found)
    # In the order in which all who write this do; within a channel as it happened.
    for f in sorted(found, key=lambda one: one.channel_id or 0):
        if f.channel_id is None:
            continue
        if f.incoming.kind == Kind.PARTICIPANT_JOINED:
            at = f.incoming.occurred_at
            people = [ParticipantInfo(person=p, joined_at=at) for p in f.incoming.people]
            sync.joined(f.channel_id, f.received.space_id, people)
        elif f.incoming.kind == Kind.PARTICIPANT_LEFT:
            sync.left(f.channel_id, f.received.space_id, f.incoming.people)
    _take_part(found)


def _list_anew(found: Sequence[Found]) -> None:
    """Somebody who is in or out of a whole team; which channels that means is asked for the bot."""
    moved: dict[int, set[str]] = defaultdict(set)  # by the bot that heard of it
    for f in found:
        kinds = (Kind.PARTICIPANT_JOINED, Kind.PARTICIPANT_LEFT)
        if f.channel_id is None and f.incoming.kind in kinds:
            moved[f.received.bot_id] |= {person.id for person in f.incoming.people}
    if not moved:
        return
    own = Bot.objects.filter(pk__in=moved).values_list("pk", "person__remote_id")
    for bot_id, remote_id in own:
        if remote_id in moved[bot_id]:
            transaction.on_commit(partial(list_soon, bot_id), robust=True)


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
    anywhere; what the platform writes about somebody's leaving may come after they left; a gap may
    be all that is known; and what becomes of a public channel is told to everybody who could join
    it."""
    proves_nothing = (Kind.CHANNEL_CHANGED, Kind.CHANNEL_DELETED, Kind.GAP)
    is_proof = not f.incoming.system and f.incoming.kind not in proves_nothing
    return f.received.fence is not None and is_proof


def _tells_of_leaving(incoming: Incoming, remote_id: str) -> bool:
    return incoming.kind == Kind.PARTICIPANT_LEFT and remote_id in {p.id for p in incoming.people}
