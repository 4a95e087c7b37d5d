"""Dispatch: numbered events are handed to the lanes of the subscriptions that want them.

Each subscription has a position in the sequence. It moves in the transaction that stores its
deliveries, so that each event is handed on once, whoever dies in between; and a replay only sets it
back. While a receiver rests, or more wait for a slow one than `WINDOW`, the position waits, and the
sequence is the queue.

Whoever changes deliveries of a subscription that are not under way locks it first, then its lanes,
then them: so nobody waits for one another.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from bots import bulk, lanes, receivers, sequence
from bots.models import Delivery, Event, LaneKind, SequenceEntry, Subscription, WorkState
from bots.models.lane import FINISHED, UNFINISHED
from bots.sequence import Wanted

log = logging.getLogger(__name__)

CHUNK = 500  # events looked at per transaction, and at most; fewer where many want them
MOST_AT_ONCE = 2_000  # deliveries per transaction, by and large
WINDOW = 2_000  # deliveries of one subscription that are due in its lanes
MOST_WAITING = 20_000  # and those that wait for a next try, or behind one that does
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
    moved = [_try_to_hand_on(ids, position, last) for position, ids in sorted(behind.items())]
    return any(moved)


def _try_to_hand_on(ids: Sequence[int], position: int, last: int) -> bool:
    """As `_hand_on`; a subscription of which something is wrong stops nobody else."""
    try:
        return _hand_on(ids, position, last)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(ids) > 1:
            moved = [_try_to_hand_on([pk], position, last) for pk in ids]
            return any(moved)
        log.exception("subscription %s: events cannot be handed on", ids[0])
        detail = "Events cannot be handed on; see the log of the workers."
        receivers.refused(Subscription(pk=ids[0]), "internal_error", detail)
        return False


def _hand_on(ids: Sequence[int], position: int, last: int) -> bool:
    with transaction.atomic():
        at_it = Subscription.objects.filter(pk__in=ids, position=position, enabled=True)
        # Who does the same right now goes on alone. Deliveries may be stored meanwhile.
        locked = at_it.select_for_update(skip_locked=True, no_key=True).order_by("pk")
        subscriptions = _with_room(list(locked))
        if not subscriptions:
            return False
        limit = min(CHUNK, max(1, MOST_AT_ONCE // len(subscriptions)))
        entries = list(_whole().filter(seq__gt=position, seq__lte=last)[:limit])
        _deliver(subscriptions, entries)
        reached = entries[-1].seq if len(entries) == limit else last
        done = [subscription.pk for subscription in subscriptions]
        Subscription.objects.filter(pk__in=done).update(position=reached)
    return True


def _whole() -> QuerySet[SequenceEntry]:
    """Entries whose event is still there: one may be removed in the moment it gets its number."""
    return SequenceEntry.objects.filter(Exists(Event.objects.filter(pk=OuterRef("event_id"))))


def _with_room(subscriptions: Sequence[Subscription]) -> list[Subscription]:
    awake = [s for s in subscriptions if s.rests_until is None]
    waiting = Delivery.objects.filter(subscription__in=awake, state__in=UNFINISHED)
    is_due = lanes.DUE & Q(lane__due_at__lte=Now())
    numbers = (
        waiting.order_by()
        .values_list("subscription")
        .annotate(number=Count("pk"), number_due=Count("pk", filter=is_due))
    )
    full = {
        pk for pk, number, due in numbers if due > WINDOW - CHUNK or number > MOST_WAITING - CHUNK
    }
    return [s for s in awake if s.pk not in full]


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
    again(known)
    kept = {(row.subscription_id, row.seq) for row in known}
    lanes.put_for_many(
        LaneKind.DELIVERIES,
        [
            (subscription, _entry(subscription, entry))
            for subscription, entry in deliveries
            if (subscription.pk, entry.seq) not in kept
        ],
    )


def again(deliveries: Sequence[Delivery]) -> int:
    """Try these now: those that have ended once more, with all their tries. Returns how many; what
    is under way stays as it is. In a transaction that has locked their subscriptions."""
    lanes.put_again(*{row.lane_id for row in deliveries})
    rows = Delivery.objects.filter(pk__in=[row.pk for row in deliveries])
    hurried = rows.filter(state=WorkState.QUEUED).update(not_before=None)
    return hurried + rows.filter(state__in=FINISHED).update(**receivers.ANEW)


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
