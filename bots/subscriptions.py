"""Subscriptions: their secrets, how they begin and end, and replays.

`bots.dispatch` finds what they want, `bots.courier` brings it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bots import bulk, dispatch, lanes, sequence, signing, wakeups
from bots.models import Delivery, DeliveryAttempt, Ended, Subscription, WorkState
from bots.refusals import Conflict, Invalid
from bots.secrets import decrypt, encrypt

OLD_SECRET_SIGNS = timedelta(hours=24)
# What was stored within a moment may be numbered in another order than it was stored.
A_MOMENT = timedelta(seconds=10)
REMOVED_AT_ONCE = 5_000  # deliveries
REDIRECTED = "redirected"
# Answers that say nothing about the delivery: there was nobody who could have taken any.
NOBODY_AT_HOME = frozenset({429, 502, 503, 504})


# Secrets ----------------------------------------------------------------------------------------


def new_secret(subscription: Subscription) -> str:
    """Give it its first secret and return it, the only time; it is not saved."""
    secret = signing.new_secret()
    subscription.secret = encrypt(secret)
    return secret


def rotate_secret(subscription: Subscription) -> str:
    """Give it a new secret and return it, the only time. The old one signs, too, for a day."""
    subscription.old_secret = subscription.secret
    subscription.old_secret_until = timezone.now() + OLD_SECRET_SIGNS
    secret = new_secret(subscription)
    subscription.save(update_fields=["secret", "old_secret", "old_secret_until"])
    return secret


def secrets(subscription: Subscription) -> list[str]:
    """Those that sign, the newest first. Raises `Misconfigured`."""
    signing_now = [decrypt(subscription.secret)]
    if old_secret_signs(subscription):
        signing_now.append(decrypt(subscription.old_secret))
    return signing_now


def old_secret_signs(subscription: Subscription) -> bool:
    until = subscription.old_secret_until
    return bool(subscription.old_secret) and until is not None and until > timezone.now()


# Beginning and ending ---------------------------------------------------------------------------


def begin(subscription: Subscription) -> None:
    """Let a new one have what happens from now on; to be saved by the caller."""
    subscription.position = sequence.head()


def end(subscription: Subscription, why: Ended, *, code: str, detail: str) -> None:
    """Switch it off because its receiver does not want it or is not to be had."""
    Subscription.objects.filter(pk=subscription.pk, enabled=True).update(
        enabled=False, ended=why, error_code=code, error_detail=detail
    )
    subscription.enabled, subscription.ended = False, why


def resume(subscription: Subscription) -> None:
    """Switch it on. It goes on where it stopped, and what failed since it did not take anything
    any more is tried again. Raises `Conflict` when it is on."""
    with transaction.atomic():
        mine = Subscription.objects.select_for_update(no_key=True).filter(pk=subscription.pk)
        row = mine.filter(enabled=False).first()
        if row is None:
            raise Conflict(f"{subscription} is on.")
        mine.update(
            enabled=True,
            ended=Ended.NO,
            failing_since=None,
            away=0,
            rest_until=None,
            error_code="",
            error_detail="",
        )
    subscription.refresh_from_db()
    with transaction.atomic():
        if row.failing_since is not None:
            failed = Q(state=WorkState.FAILED, finished_at__gte=row.failing_since)
            dispatch.again(Delivery.objects.filter(failed, subscription=subscription))
    _hurry(subscription, Q())
    transaction.on_commit(wakeups.sort_soon, robust=True)


def pause(subscription: Subscription) -> None:
    """Switch it off. What it wants waits in the sequence."""
    Subscription.objects.filter(pk=subscription.pk, enabled=True).update(
        enabled=False, ended=Ended.NO
    )
    subscription.refresh_from_db()


def remove(subscription: Subscription) -> None:
    """Remove it with all its deliveries, a part at a time: there may be very many."""
    pause(subscription)
    deliveries = Delivery.objects.filter(subscription=subscription).order_by("pk")
    while ids := list(deliveries.values_list("pk", flat=True)[:REMOVED_AT_ONCE]):
        with transaction.atomic():
            DeliveryAttempt.objects.filter(delivery__in=ids).delete()
            bulk.delete(Delivery, ids)
    subscription.delete()


def recovered(subscription: Subscription) -> None:
    """Its receiver is there: try now what waits because it was not."""
    refused = Q(error_code__startswith="status_") | Q(error_code=REDIRECTED)
    away = Q(error_code__in=[f"status_{status}" for status in NOBODY_AT_HOME])
    _hurry(subscription, away | ~refused)


def _hurry(subscription: Subscription, these: Q) -> None:
    waiting = Delivery.objects.filter(
        these, subscription=subscription, state=WorkState.QUEUED, not_before__isnull=False
    )
    waiting.update(not_before=None)
    lanes.resume(subscription)


# Replay -----------------------------------------------------------------------------------------


def replay(
    subscription: Subscription, *, after: int | None = None, since: datetime | None = None
) -> int:
    """Deliver all that it wants after a number or since a time, once more if need be; returns the
    number after which it begins. Raises `Invalid`."""
    if (after is None) == (since is None):
        raise Invalid("Either `after` or `since`, and not both.")
    last = sequence.head()
    if since is not None:
        after = sequence.before(since - A_MOMENT)
    assert after is not None
    if not 0 <= after <= last:
        raise Invalid(f"A sequence number from 0 to {last}.", field="after")
    with transaction.atomic():
        mine = Subscription.objects.filter(pk=subscription.pk)
        row = mine.select_for_update(no_key=True).get()
        furthest = max(row.position, row.replay_until)
        mine.update(position=after, replay_until=furthest)
        transaction.on_commit(wakeups.sort_soon, robust=True)
    subscription.position, subscription.replay_until = after, furthest
    return after


def retry(delivery: Delivery) -> None:
    """Try a delivery now, whether it waits or has ended. Raises `Conflict` while it is under way.

    While its subscription rests or is switched off, it waits for that all the same.
    """
    with transaction.atomic():
        mine = Delivery.objects.filter(pk=delivery.pk)
        if mine.filter(state=WorkState.QUEUED).update(not_before=None):
            lanes.put_again(delivery.lane_id)
        elif not dispatch.again(mine):
            raise Conflict(f"Delivery {delivery.pk} is under way.")
    delivery.refresh_from_db()
