"""How the receiver of a subscription is doing, as the courier finds out.

`failing_since` is when the first delivery failed after the last that was taken. While nobody is at
home, a subscription rests as a whole: `rest_until` is our own patience, longer each time, and ends
with the first success; `asked_until` is what the receiver asked for, and nobody shortens it.
Whichever is later counts, for every lane of the subscription: see `Subscription.rests_until`.

Written outside of the transactions of lanes: who hands on events locks the subscription first and
its lanes then.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from bots import backoff, lanes, wakeups
from bots.models import Delivery, Ended, Subscription, WorkState

FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 5.0, 300.0
LONGEST_ASKED = timedelta(days=1)
FAILING_FOR = timedelta(days=3)
NOTED = timedelta(seconds=10)  # how exactly we know when something was delivered last
# So many times in a row are an outage. Once may be the fault of that one delivery.
OUTAGE = 2

REDIRECTED = "redirected"
# Answers that say nothing about the delivery: there was nobody who could have taken any.
NOBODY_AT_HOME = frozenset({429, 502, 503, 504})
_REFUSED = Q(error_code__startswith="status_") | Q(error_code=REDIRECTED)
WAITS_FOR_SOMEBODY = ~_REFUSED | Q(error_code__in=[f"status_{n}" for n in NOBODY_AT_HOME])


def well(subscription: Subscription) -> None:
    """It took something."""
    now = timezone.now()
    known_at = subscription.last_success_at
    if subscription.failing_since is None and known_at and known_at > now - NOTED:
        return  # by what was read with the lane; if others failed since, the next one notes it
    with transaction.atomic():
        row = _locked(subscription)
        if row is None:
            return
        _mine(subscription).update(last_success_at=now)
        if row.failing_since is not None:
            _mine(subscription).update(
                failing_since=None, away=0, rest_until=None, error_code="", error_detail=""
            )
        if row.away >= OUTAGE:
            _try_now(subscription, Delivery.objects.filter(WAITS_FOR_SOMEBODY))
    subscription.failing_since, subscription.last_success_at = None, now


def refused(subscription: Subscription, code: str, detail: str) -> None:
    """It did not take one delivery, which says little about the others. One that has taken nothing
    for days is switched off."""
    now = timezone.now()
    _mine(subscription).update(
        failing_since=Coalesce("failing_since", now), error_code=code, error_detail=detail
    )
    if _mine(subscription).filter(failing_since__lt=now - FAILING_FOR).exists():
        end(subscription, Ended.FAILING, code=code, detail=detail)


def away(
    subscription: Subscription, code: str, detail: str, *, asked: datetime | None = None
) -> datetime:
    """Nobody was at home, or whoever was asked to be left alone until then. Returns until when
    nobody tries again."""
    refused(subscription, code, detail)
    now = timezone.now()
    # Several lanes may find out at the same time: it counts once.
    first = Q(rest_until=None) | Q(rest_until__lte=now)
    _mine(subscription).filter(first).update(away=F("away") + 1)
    times = _mine(subscription).values_list("away", flat=True).first() or 1
    seconds = backoff.steady_delay(times, first=FIRST_REST_SECONDS, longest=LONGEST_REST_SECONDS)
    rest = now + timedelta(seconds=seconds)
    _mine(subscription).update(rest_until=Greatest(Coalesce("rest_until", rest), rest))
    if asked is not None:
        asked = min(asked, now + LONGEST_ASKED)
        _mine(subscription).update(asked_until=Greatest(Coalesce("asked_until", asked), asked))
    fresh = _mine(subscription).first()
    return (fresh.rests_until if fresh else None) or rest


def end(subscription: Subscription, why: Ended, *, code: str, detail: str) -> None:
    """Switch it off because its receiver does not want it or is not to be had."""
    _mine(subscription).filter(enabled=True).update(
        enabled=False, ended=why, error_code=code, error_detail=detail
    )
    subscription.enabled, subscription.ended = False, why


def begin_anew(subscription: Subscription) -> bool:
    """Switch it on and try all that waits now, also what failed since it took nothing any more.
    False when it is on."""
    with transaction.atomic():
        row = _locked(subscription)
        if row is None or row.enabled:
            return False
        _mine(subscription).update(
            enabled=True,
            ended=Ended.NO,
            failing_since=None,
            away=0,
            rest_until=None,
            asked_until=None,
            error_code="",
            error_detail="",
        )
        tries = Delivery.objects.all()
        if row.failing_since is not None:
            missed = Q(state=WorkState.FAILED, finished_at__gte=row.failing_since)
            tries.filter(missed, subscription=subscription).update(**ANEW)
        _try_now(subscription, tries)
    return True


# What makes a delivery that has ended one that was never tried.
ANEW = {
    "state": WorkState.QUEUED,
    "attempts": 0,
    "not_before": None,
    "started_at": None,
    "finished_at": None,
    "error_code": "",
    "error_detail": "",
}


def _try_now(subscription: Subscription, waiting: QuerySet[Delivery]) -> None:
    """In a transaction that has locked the subscription. Lanes before deliveries, as whoever works
    on one locks them."""
    lanes.resume(subscription)
    waiting.filter(
        subscription=subscription, state=WorkState.QUEUED, not_before__isnull=False
    ).update(not_before=None)
    transaction.on_commit(wakeups.sort_soon, robust=True)


def _locked(subscription: Subscription) -> Subscription | None:
    return _mine(subscription).select_for_update(no_key=True).first()


def _mine(subscription: Subscription) -> QuerySet[Subscription]:
    return Subscription.objects.filter(pk=subscription.pk)
