"""Dispatch: numbered events are handed to the lanes of the subscriptions that want them.

Each subscription has a position in the sequence. It moves in the transaction that stores its
deliveries, so that each event is handed on once, whoever dies in between; and a replay only sets it
back. Where a receiver is away or slow, no more than `WINDOW` deliveries wait: then the position
waits, and the sequence is the queue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import Count, Model, QuerySet

from bots import bulk, lanes, sequence
from bots.models import (
    Delivery,
    LaneKind,
    SequenceEntry,
    Subscription,
    WorkState,
)
from bots.models.lane import FINISHED, UNFINISHED
from bots.sequence import Wanted

CHUNK = 500  # events looked at per transaction, and at most; fewer where many want them
MOST_AT_ONCE = 2_000  # deliveries per transaction, by and large
WINDOW = 2_000  # deliveries of one subscription that may wait in lanes
# Among so many lanes the deliveries of a subscription are dealt out that need no order, in runs: a
# few events take a turn of one worker and not several.
CONCURRENT_LANES, RUN = 8, 8


def dispatch() -> bool:
    """Hand on the next events to each subscription that has not got them; whether any position
    moved, so that there may be more."""
    last = sequence.head()
    behind: dict[int, list[int]] = defaultdict(list)
    rows = Subscription.objects.filter(enabled=True, position__lt=last)
    for pk, position in rows.values_list("pk", "position"):
        behind[position].append(pk)
    # Mostly they are all at one place, and go on together.
    moved = [_hand_on(ids, position, last) for position, ids in sorted(behind.items())]
    return any(moved)


def _hand_on(ids: Sequence[int], position: int, last: int) -> bool:
    with transaction.atomic():
        at_it = Subscription.objects.filter(pk__in=ids, position=position, enabled=True)
        # Who does the same right now goes on alone. Deliveries may be stored meanwhile.
        locked = at_it.select_for_update(skip_locked=True, no_key=True).order_by("pk")
        subscriptions = _with_room(list(locked))
        if not subscriptions:
            return False
        limit = min(CHUNK, max(1, MOST_AT_ONCE // len(subscriptions)))
        entries = list(SequenceEntry.objects.filter(seq__gt=position, seq__lte=last)[:limit])
        _deliver(subscriptions, entries)
        reached = entries[-1].seq if len(entries) == limit else last
        done = [subscription.pk for subscription in subscriptions]
        Subscription.objects.filter(pk__in=done).update(position=reached)
    return True


def _with_room(subscriptions: Sequence[Subscription]) -> list[Subscription]:
    waiting = Delivery.objects.filter(subscription__in=subscriptions, state__in=UNFINISHED)
    counted = waiting.order_by().values("subscription").annotate(n=Count("pk"))
    numbers = dict(counted.values_list("subscription", "n"))
    return [s for s in subscriptions if numbers.get(s.pk, 0) <= WINDOW - CHUNK]


def _deliver(subscriptions: Sequence[Subscription], entries: Sequence[SequenceEntry]) -> None:
    wanted = all_wanted(subscriptions)
    deliveries = [
        (subscription, entry)
        for entry in entries
        for subscription in subscriptions
        if wanted[subscription.pk].has(entry)
    ]
    replayed = [(s.pk, entry.seq) for s, entry in deliveries if entry.seq <= s.replay_until]
    known = bulk.find(Delivery, ["subscription_id", "seq"], replayed)
    again(Delivery.objects.filter(pk__in=[row.pk for row in known]))
    kept = {(row.subscription_id, row.seq) for row in known}
    lanes.put_for_many(
        LaneKind.DELIVERIES,
        [
            (subscription, _entry(subscription, entry))
            for subscription, entry in deliveries
            if (subscription.pk, entry.seq) not in kept
        ],
    )


def again(deliveries: QuerySet[Delivery]) -> int:
    """Queue deliveries that have ended anew, with all their tries; returns how many. Must run in a
    transaction."""
    ended = deliveries.filter(state__in=FINISHED).select_for_update(no_key=True)
    lane_of = dict(ended.order_by("pk").values_list("pk", "lane_id"))
    Delivery.objects.filter(pk__in=lane_of).update(
        state=WorkState.QUEUED,
        attempts=0,
        not_before=None,
        started_at=None,
        finished_at=None,
        error_code="",
        error_detail="",
    )
    lanes.put_again(*set(lane_of.values()))
    return len(lane_of)


def all_wanted(subscriptions: Iterable[Subscription]) -> dict[int, Wanted]:
    """What each of them wants, by their ids."""
    subscriptions = list(subscriptions)
    bots = _chosen(
        Subscription.bots.through, "bot_id", [s for s in subscriptions if not s.all_bots]
    )
    channels = _chosen(
        Subscription.channels.through,
        "channel_id",
        [s for s in subscriptions if not s.all_channels],
    )
    return {
        s.pk: Wanted(
            kinds=frozenset(s.kinds) or None,
            bots=None if s.all_bots else bots[s.pk],
            channels=None if s.all_channels else channels[s.pk],
        )
        for s in subscriptions
    }


def _chosen(
    through: type[Model], column: str, subscriptions: Sequence[Subscription]
) -> dict[int, set[int]]:
    chosen: dict[int, set[int]] = {s.pk: set() for s in subscriptions}
    if chosen:
        rows = through._default_manager.filter(subscription__in=chosen)
        for subscription_id, pk in rows.values_list("subscription_id", column):
            chosen[subscription_id].add(pk)
    return chosen


def _entry(subscription: Subscription, entry: SequenceEntry) -> lanes.Entry:
    work = Delivery(subscription=subscription, event_id=entry.event_id, seq=entry.seq)
    return lanes.Entry(key=_key(subscription, entry), work=work, ordered=subscription.ordered)


def _key(subscription: Subscription, entry: SequenceEntry) -> str:
    if not subscription.ordered:
        return f"any:{entry.seq // RUN % CONCURRENT_LANES}"
    if entry.channel_id is not None:
        return f"channel:{entry.channel_id}"
    return f"bot:{entry.bot_id}"
