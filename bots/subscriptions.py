"""Subscriptions: their secrets, how they begin and end, and replays.

`bots.dispatch` finds what they want, `bots.courier` brings it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from bots import audit, bulk, dispatch, incidents, receivers, sequence, signing, wakeups
from bots.models import Delivery, DeliveryAttempt, Ended, Subscription
from bots.refusals import Conflict, Invalid
from bots.secrets import decrypt, encrypt

OLD_SECRET_SIGNS = timedelta(hours=24)
# What was stored within a moment may be numbered in another order than it was stored.
A_MOMENT = timedelta(seconds=10)
AT_ONCE = 5_000  # deliveries removed per transaction


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
    changed = audit.Change(field="Secret", before=audit.SET, after=audit.CHANGED)
    with transaction.atomic():
        subscription.save(update_fields=["secret", "old_secret", "old_secret_until"])
        audit.record("subscription.secret_rotated", subscription, [changed])
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


def resume(subscription: Subscription) -> None:
    """Switch it on. It goes on where it stopped, and what failed since it did not take anything
    any more is tried again. Raises `Conflict` when it is on."""
    with transaction.atomic():
        if not receivers.begin_anew(subscription):
            raise Conflict(f"{subscription} is on.")
        audit.record("subscription.resumed", subscription)
    subscription.refresh_from_db()


def pause(subscription: Subscription) -> None:
    """Switch it off. What it wants waits in the sequence."""
    with transaction.atomic():
        if _switch_off(subscription):
            audit.record("subscription.paused", subscription)
    subscription.refresh_from_db()


def remove(subscription: Subscription) -> None:
    """Remove it with all its deliveries, a part at a time: there may be very many."""
    _switch_off(subscription)
    deliveries = Delivery.objects.filter(subscription=subscription).order_by("pk")
    last = 0
    while ids := list(deliveries.filter(pk__gt=last).values_list("pk", flat=True)[:AT_ONCE]):
        with transaction.atomic():
            DeliveryAttempt.objects.filter(delivery__in=ids).delete()
            bulk.delete(Delivery, ids)
        last = ids[-1]
    with transaction.atomic():
        incidents.close(subscription)
        audit.deleted(subscription)
        subscription.delete()


def _switch_off(subscription: Subscription) -> bool:
    on = Subscription.objects.filter(pk=subscription.pk, enabled=True)
    return bool(on.update(enabled=False, ended=Ended.NO))


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
        row = _lock(subscription.pk)
        furthest = max(row.position, row.replay_until)
        Subscription.objects.filter(pk=row.pk).update(position=after, replay_until=furthest)
        transaction.on_commit(wakeups.sort_soon, robust=True)
        audit.record("subscription.replayed", subscription, note=f"After event {after}.")
    subscription.position, subscription.replay_until = after, furthest
    return after


def retry(delivery: Delivery) -> None:
    """Try a delivery now, whether it waits or has ended. Raises `Conflict` while it is under way.

    While its subscription rests or is switched off, it waits for that all the same.
    """
    with transaction.atomic():
        _lock(delivery.subscription_id)
        if not dispatch.again([delivery]):
            raise Conflict(f"Delivery {delivery.pk} is under way.")
        audit.record("delivery.retried", delivery)
    delivery.refresh_from_db()


def _lock(pk: int) -> Subscription:
    return Subscription.objects.select_for_update(no_key=True).get(pk=pk)
