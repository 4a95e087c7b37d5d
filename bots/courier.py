"""The courier: deliveries are signed and posted. The step of delivery lanes.

What a receiver answers decides what happens next:

| answer | the delivery | the subscription |
| --- | --- | --- |
| 2xx | succeeded | is well: after an outage, what waited for its end is tried now |
| 410 | waits | has ended; `resume` begins anew |
| 429 | back in line, which costs no try | rests as long as `Retry-After` says, and not shorter |
| none, 502, 503, 504 | back in line | rests, longer each time; `Retry-After` counts |
| any other, redirects too | back in line | goes on |

A delivery has ten tries, spread over three days, and is then failed. A subscription of which
nothing was taken for three days is switched off: its position stays, and `resume` begins there.
`bots.receivers` keeps how a subscription is doing.

A worker that dies leaves deliveries running that may have arrived. They are posted again with the
same id, by which receivers tell.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from bots import audit, bulk, dispatch, lanes, outbound, receivers, sequence, signing, subscriptions
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
from bots.scrub import scrub
from bots.sequence import Wanted
from spaces.platforms.errors import Misconfigured

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 15.0
FLUSH_SECONDS = 1.0  # after it, outcomes are written when the call at hand ends, or with the batch
# Seconds until the next try, after each: nine of them, over three days.
MINUTE, HOUR = 60, 3600
DELAYS = (5, 5 * MINUTE, 30 * MINUTE, *(hours * HOUR for hours in (2, 5, 10, 14, 20, 20)))
JITTER = 0.1  # of a delay, more or less
# Nothing is given up sooner, though ends of outages may have used up its tries.
GIVEN_UP_AFTER = timedelta(seconds=0.8 * sum(DELAYS))

RATE_LIMITED, GONE = 429, 410


@lanes.step(LaneKind.DELIVERIES, Delivery)
def work(claim: Claim) -> None:
    """Deliver what is due in the claimed lane, for one turn."""
    subscription = claim.lane.subscription
    assert subscription is not None
    wanted = dispatch.all_wanted([subscription])[subscription.pk]
    while not claim.turn_over and not claim.resting:
        if not subscription.enabled:
            claim.park()
            return
        if until := subscription.rests_until:
            claim.rest_until(until)
            return
        deliveries = lanes.begin(claim, Delivery)
        if not deliveries:
            return
        _Batch(claim, subscription, wanted, deliveries).run()


class _Batch:
    """Deliveries marked as running, made one after the other until something makes them wait."""

    def __init__(
        self,
        claim: Claim,
        subscription: Subscription,
        wanted: Wanted,
        deliveries: Sequence[Delivery],
    ):
        self.claim = claim
        self.subscription = subscription
        self.wanted = wanted
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
            self._rest(error.code, error.detail)
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
                receivers.well(self.subscription)
        self.flush_at = time.monotonic() + FLUSH_SECONDS

    def _try(self, delivery: Delivery, entry: SequenceEntry | None, secrets: Sequence[str]) -> None:
        if entry is None or not self.wanted.has(entry):
            # The event was removed, and this soon will be; or it is not for them any more.
            _end(delivery, WorkState.CANCELLED)
            self.done.append(delivery)
            return
        attempt = DeliveryAttempt(delivery=delivery, number=delivery.attempts, at=timezone.now())
        started = time.monotonic()
        try:
            answer = _post(self.subscription, entry, secrets)
            attempt.status, attempt.answer = answer.status, scrub(answer.text)
            attempt.outcome = self._answered(delivery, answer)
        except CallFailed as error:
            attempt.outcome, attempt.answer = error.code, error.detail
            self._missed(delivery, error.code, error.detail)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # A fault of ours: this one must not stop those behind it, and everybody shall see it.
            log.exception("delivery %s broke", delivery.pk)
            attempt.outcome, attempt.answer = "internal_error", "See the log of the worker."
            self._again(delivery, attempt.outcome, attempt.answer)
        attempt.seconds = time.monotonic() - started
        self.done.append(delivery)
        self.attempts.append(attempt)

    def _answered(self, delivery: Delivery, answer: Answer) -> str:
        """Returns the outcome."""
        if answer.is_success:
            _end(delivery, WorkState.SUCCEEDED)
            return "succeeded"
        code, detail = f"status_{answer.status}", f"The receiver answered {answer.status}."
        if 300 <= answer.status < 400:
            code, detail = receivers.REDIRECTED, f"{detail} Redirects are not followed."
        if answer.status == GONE:
            self._wait(delivery, None, code, detail)
            receivers.end(self.subscription, Ended.GONE, code=code, detail=detail)
            self.claim.park()
        elif answer.status == RATE_LIMITED:
            delivery.attempts -= 1
            self._wait(delivery, None, code, detail)
            self._rest(code, detail, asked=_asked(answer))
        elif answer.status in receivers.NOBODY_AT_HOME:
            self._missed(delivery, code, detail, asked=_asked(answer))
        else:
            receivers.refused(self.subscription, code, detail)
            self._again(delivery, code, detail)
        return code

    def _missed(
        self, delivery: Delivery, code: str, detail: str, *, asked: datetime | None = None
    ) -> None:
        """Nobody was at home: all the other deliveries need not be tried now."""
        self._again(delivery, code, detail)
        self._rest(code, detail, asked=asked)

    def _rest(self, code: str, detail: str, *, asked: datetime | None = None) -> None:
        until = receivers.away(self.subscription, code, detail, asked=asked)
        self.claim.rest_until(until)

    def _again(self, delivery: Delivery, code: str, detail: str) -> None:
        now = timezone.now()
        tried_for = now - (delivery.started_at or now)
        if delivery.attempts > len(DELAYS) and tried_for >= GIVEN_UP_AFTER:
            _end(delivery, WorkState.FAILED, code, detail)
            return
        delay = DELAYS[min(delivery.attempts, len(DELAYS)) - 1]
        seconds = delay * random.uniform(1 - JITTER, 1 + JITTER)
        self._wait(delivery, now + timedelta(seconds=seconds), code, detail)

    def _wait(self, delivery: Delivery, until: datetime | None, code: str, detail: str) -> None:
        delivery.state, delivery.not_before = WorkState.QUEUED, until
        delivery.error_code, delivery.error_detail = code, detail
        if until and self.claim.lane.ordered:
            self.claim.rest_until(until)


def _end(delivery: Delivery, state: WorkState, code: str = "", detail: str = "") -> None:
    delivery.state, delivery.finished_at, delivery.not_before = state, timezone.now(), None
    delivery.error_code, delivery.error_detail = code, detail


def _post(subscription: Subscription, entry: SequenceEntry, secrets: Sequence[str]) -> Answer:
    return _send(subscription, f"evt_{entry.event_id}", body(entry), secrets)


def body(entry: SequenceEntry) -> dict[str, Any]:
    """What is posted of an event, as JSON."""
    told = sequence.as_json(entry)
    return {"type": told["kind"], "timestamp": told["occurred_at"], "data": told}


def ping(subscription: Subscription) -> Answer:
    """Post a message that is no event, at once, for somebody who waits for the answer, which nobody
    keeps. Raises `CallFailed`, and `Misconfigured` for a secret that cannot be read."""
    audit.record("subscription.tested", subscription)
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


def _asked(answer: Answer) -> datetime | None:
    """Until when the receiver wants to be left alone, by `Retry-After`: seconds or a date
    (RFC 9110, 10.2.3)."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return timezone.now() + timedelta(seconds=int(text[:9]))
    try:
        moment = parsedate_to_datetime(text)
        return moment if timezone.is_aware(moment) else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _write(claim: Claim, done: Sequence[Delivery], attempts: Sequence[DeliveryAttempt]) -> None:
    with transaction.atomic():
        claim.confirm()
        # Without those whose event went in this moment, with its bot.
        rows = Delivery.objects.filter(pk__in=[delivery.pk for delivery in done])
        there = set(rows.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
        bulk.update(
            [delivery for delivery in done if delivery.pk in there],
            ["state", "not_before", "attempts", "finished_at", "error_code", "error_detail"],
        )
        bulk.insert([attempt for attempt in attempts if attempt.delivery_id in there])
