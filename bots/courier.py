"""The courier: deliveries are signed and posted. The step of delivery lanes.

What a receiver answers decides what happens next:

| answer | the delivery | the subscription |
| --- | --- | --- |
| 2xx | succeeded | is well: what waited because nobody was at home is tried now |
| 410 | waits | has ended; `resume` begins anew |
| 429 | back in line, which costs no try | rests as long as `Retry-After` says |
| none, 502, 503, 504 | back in line | rests, longer each time |
| any other, redirects too | back in line | goes on |

A delivery has ten tries within three days and is then failed. A subscription of which nothing was
taken for three days is switched off: its position stays, and `resume` begins there.

A worker that dies leaves deliveries running that may have arrived. They are posted again with the
same id, by which receivers tell.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from bots import backoff, bulk, lanes, outbound, sequence, signing, subscriptions
from bots.lanes import Claim
from bots.models import (
    Delivery,
    DeliveryAttempt,
    Ended,
    LaneKind,
    SequenceEntry,
    Subscription,
    WorkState,
)
from bots.moments import rfc3339
from bots.outbound import Answer, CallFailed
from bots.scrub import clean
from spaces.platforms.errors import Misconfigured

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 15.0
FLUSH_SECONDS = 1.0  # after it, outcomes are written when the call at hand ends, or with the batch
# Seconds until the next try, after each: nine of them, over three days.
MINUTE, HOUR = 60, 3600
DELAYS = (5, 5 * MINUTE, 30 * MINUTE, *(hours * HOUR for hours in (2, 5, 10, 14, 20, 20)))
JITTER = 0.1  # of a delay, more or less
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 5.0, 300.0
LONGEST_RETRY_AFTER = timedelta(days=1)
FAILING_FOR_DAYS = timedelta(days=3)
NOTED = timedelta(seconds=10)  # how exactly we know when something was delivered last

RATE_LIMITED, GONE = 429, 410


@lanes.step(LaneKind.DELIVERIES, Delivery)
def work(claim: Claim) -> None:
    """Deliver what is due in the claimed lane, for one turn."""
    subscription = claim.lane.subscription
    assert subscription is not None
    while not claim.turn_over and not claim.resting:
        if not subscription.enabled:
            claim.park()
            return
        if subscription.rest_until and subscription.rest_until > timezone.now():
            claim.rest_until(subscription.rest_until)
            return
        deliveries = lanes.begin(claim, Delivery)
        if not deliveries:
            return
        _Batch(claim, subscription, deliveries).run()


class _Batch:
    """Deliveries marked as running, made one after the other until something makes them wait."""

    def __init__(self, claim: Claim, subscription: Subscription, deliveries: Sequence[Delivery]):
        self.claim = claim
        self.subscription = subscription
        self.waiting = list(deliveries)
        self.done: list[Delivery] = []
        self.attempts: list[DeliveryAttempt] = []
        self.flush_at = time.monotonic() + FLUSH_SECONDS

    def run(self) -> None:
        try:
            entries = SequenceEntry.objects.select_related("event__bot").defer("event__raw")
            told = entries.in_bulk([delivery.seq for delivery in self.waiting])
            secrets = subscriptions.secrets(self.subscription)
            while self.waiting and self._may_go_on():
                self.claim.ensure(TIMEOUT_SECONDS)
                delivery = self.waiting.pop(0)
                self._try(delivery, told.get(delivery.seq), secrets)
                if time.monotonic() >= self.flush_at:
                    self._flush()
        except Misconfigured as error:
            self._rest(_note_away(self.subscription, error.code, error.detail))
        finally:
            self._flush()
            if self.waiting:
                lanes.put_back(self.claim, Delivery, self.waiting)

    def _may_go_on(self) -> bool:
        at_once = not self.claim.resting and not self.claim.turn_over
        return at_once and self.subscription.enabled

    def _flush(self) -> None:
        done, self.done = self.done, []
        attempts, self.attempts = self.attempts, []
        if done:
            lanes.write_patiently(self.claim, lambda: _write(self.claim, done, attempts))
            if any(delivery.state == WorkState.SUCCEEDED for delivery in done):
                _note_well(self.subscription)
        self.flush_at = time.monotonic() + FLUSH_SECONDS

    def _try(self, delivery: Delivery, entry: SequenceEntry | None, secrets: Sequence[str]) -> None:
        if entry is None:  # the event was removed, and this soon will be
            delivery.state, delivery.finished_at = WorkState.CANCELLED, timezone.now()
            self.done.append(delivery)
            return
        attempt = DeliveryAttempt(delivery=delivery, number=delivery.attempts, at=timezone.now())
        started = time.monotonic()
        try:
            answer = _post(self.subscription, entry, secrets)
        except CallFailed as error:
            attempt.outcome, attempt.answer = error.code, error.detail
            self._missed(delivery, error.code, error.detail)
        except Exception:
            # A fault of ours: this one must not stop those behind it, and everybody shall see it.
            log.exception("delivery %s broke", delivery.pk)
            attempt.outcome, attempt.answer = "internal_error", "See the log of the worker."
            self._again(delivery, attempt.outcome, attempt.answer)
        else:
            attempt.status, attempt.answer = answer.status, clean(answer.text)
            attempt.outcome = self._answered(delivery, answer)
        attempt.seconds = time.monotonic() - started
        self.done.append(delivery)
        self.attempts.append(attempt)

    def _answered(self, delivery: Delivery, answer: Answer) -> str:
        """Returns the outcome."""
        if answer.is_success:
            delivery.state, delivery.finished_at = WorkState.SUCCEEDED, timezone.now()
            delivery.error_code = delivery.error_detail = ""
            return "succeeded"
        code, detail = f"status_{answer.status}", f"The receiver answered {answer.status}."
        if 300 <= answer.status < 400:
            code, detail = subscriptions.REDIRECTED, f"{detail} Redirects are not followed."
        if answer.status == GONE:
            self._wait(delivery, timezone.now(), code, detail)
            subscriptions.end(self.subscription, Ended.GONE, code=code, detail=detail)
            self.claim.park()
        elif answer.status in subscriptions.NOBODY_AT_HOME:
            asked = _retry_after(answer)
            if answer.status == RATE_LIMITED:
                delivery.attempts -= 1
            self._missed(delivery, code, detail, not_before=asked)
        else:
            _note_failing(self.subscription, code, detail)
            self._again(delivery, code, detail)
        return code

    def _missed(
        self, delivery: Delivery, code: str, detail: str, *, not_before: datetime | None = None
    ) -> None:
        """Nobody was at home: all the other deliveries need not be tried now."""
        until = _note_away(self.subscription, code, detail, not_before=not_before)
        self._rest(until)
        if delivery.attempts and code != f"status_{RATE_LIMITED}":
            self._again(delivery, code, detail)
        else:
            self._wait(delivery, until, code, detail)

    def _again(self, delivery: Delivery, code: str, detail: str) -> None:
        if delivery.attempts > len(DELAYS):
            delivery.state, delivery.finished_at = WorkState.FAILED, timezone.now()
            delivery.not_before = None
            delivery.error_code, delivery.error_detail = code, detail
            return
        seconds = DELAYS[delivery.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        self._wait(delivery, timezone.now() + timedelta(seconds=seconds), code, detail)

    def _wait(self, delivery: Delivery, until: datetime, code: str, detail: str) -> None:
        delivery.state, delivery.not_before = WorkState.QUEUED, until
        delivery.error_code, delivery.error_detail = code, detail
        if self.claim.lane.ordered:
            self.claim.rest_until(until)

    def _rest(self, until: datetime) -> None:
        self.subscription.rest_until = until
        self.claim.rest_until(until)


def _post(subscription: Subscription, entry: SequenceEntry, secrets: Sequence[str]) -> Answer:
    return _send(subscription, f"evt_{entry.event_id}", body(entry), secrets)


def body(entry: SequenceEntry) -> dict[str, Any]:
    """What is posted of an event, as JSON."""
    told = sequence.as_json(entry)
    return {"type": told["kind"], "timestamp": told["occurred_at"], "data": told}


def ping(subscription: Subscription) -> Answer:
    """Post a message that is no event, at once, for somebody who waits for the answer; nothing is
    noted of it. Raises `CallFailed`, and `Misconfigured` for a secret that cannot be read."""
    message = {"type": "ping", "timestamp": rfc3339(timezone.now()), "data": {}}
    secrets = subscriptions.secrets(subscription)
    return _send(subscription, f"ping_{uuid4().hex}", message, secrets)


def _send(
    subscription: Subscription, message_id: str, message: dict[str, Any], secrets: Sequence[str]
) -> Answer:
    body = json.dumps(message).encode()
    headers = signing.headers(message_id, timezone.now(), body, secrets)
    headers["Content-Type"] = "application/json"
    return outbound.post(subscription.url, body, headers, seconds=TIMEOUT_SECONDS)


def _retry_after(answer: Answer) -> datetime | None:
    """What the receiver asks for, in seconds or as a date (RFC 9110, 10.2.3)."""
    text = answer.headers.get("Retry-After", "").strip()
    now = timezone.now()
    if text.isascii() and text.isdigit():
        return now + min(timedelta(seconds=int(text[:9])), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=timezone.get_default_timezone())
    return min(moment, now + LONGEST_RETRY_AFTER)


def _write(claim: Claim, done: Sequence[Delivery], attempts: Sequence[DeliveryAttempt]) -> None:
    with transaction.atomic():
        claim.confirm()
        bulk.update(
            done,
            ["state", "not_before", "attempts", "finished_at", "error_code", "error_detail"],
        )
        bulk.insert(attempts)


# How a receiver is doing. Outside of the lane's transaction: whoever hands on events locks the
# subscription first and its lanes then.


def _note_well(subscription: Subscription) -> None:
    now = timezone.now()
    known_at = subscription.last_success_at
    if subscription.failing_since is None and known_at and known_at > now - NOTED:
        return  # by what was read with the lane; if others failed since, the next one notes it
    mine = Subscription.objects.filter(pk=subscription.pk)
    was_failing = mine.filter(failing_since__isnull=False).update(
        failing_since=None,
        away=0,
        rest_until=None,
        error_code="",
        error_detail="",
        last_success_at=now,
    )
    if was_failing:
        subscriptions.recovered(subscription)
    else:
        mine.update(last_success_at=now)
    subscription.failing_since, subscription.last_success_at = None, now


def _note_failing(subscription: Subscription, code: str, detail: str) -> None:
    now = timezone.now()
    mine = Subscription.objects.filter(pk=subscription.pk)
    mine.update(failing_since=Coalesce("failing_since", now), error_code=code, error_detail=detail)
    if mine.filter(failing_since__lt=now - FAILING_FOR_DAYS).exists():
        subscriptions.end(subscription, Ended.FAILING, code=code, detail=detail)


def _note_away(
    subscription: Subscription, code: str, detail: str, *, not_before: datetime | None = None
) -> datetime:
    """Returns until when nobody tries again."""
    _note_failing(subscription, code, detail)
    now = timezone.now()
    mine = Subscription.objects.filter(pk=subscription.pk)
    # Several lanes may find out at the same time: it counts once.
    mine.filter(Q(rest_until=None) | Q(rest_until__lte=now)).update(away=F("away") + 1)
    away = max(1, mine.values_list("away", flat=True).first() or 1)
    seconds = backoff.steady_delay(away, first=FIRST_REST_SECONDS, longest=LONGEST_REST_SECONDS)
    until = not_before or now + timedelta(seconds=seconds)
    mine.update(rest_until=until)
    return until
