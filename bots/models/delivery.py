"""A delivery: one event on its way to one subscriber, and every try at it."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone

from bots.models.event import Event
from bots.models.lane import UNFINISHED, Work, WorkState
from bots.models.subscription import Subscription


class Delivery(Work):
    # A replay puts old events before newer ones.
    place_in_lane = "seq"

    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="deliveries"
    )
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries")
    seq = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "deliveries"
        constraints = [
            # An event goes to each subscriber once; a replay takes the same row.
            models.UniqueConstraint(fields=["subscription", "seq"], name="delivery_once"),
        ]
        indexes = [
            # Draining: the unfinished deliveries of a lane, in order.
            models.Index(
                fields=["lane", "seq"],
                name="delivery_unfinished_in_lane",
                condition=Q(state__in=[str(s) for s in UNFINISHED]),
            ),
            # How many are on their way to one subscriber.
            models.Index(
                fields=["subscription"],
                name="delivery_unfinished",
                condition=Q(state__in=[str(s) for s in UNFINISHED]),
            ),
            # Lists, newest first: of one subscription, of one state.
            models.Index(fields=["subscription", "-id"], name="delivery_by_subscription"),
            models.Index(fields=["state", "-id"], name="delivery_by_state"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk} of event {self.event_id}"

    @property
    def next_try_at(self) -> datetime | None:
        """When it may be tried next; None when it is due or over, or its subscription is off.

        While the subscription rests nothing is tried, and when its receiver is back then, what
        waited for longer is not kept waiting.
        """
        if self.state != WorkState.QUEUED or not self.subscription.enabled:
            return None
        if rests_until := self.subscription.rests_until:
            return rests_until
        is_due = self.not_before is None or self.not_before <= timezone.now()
        return None if is_due else self.not_before


class DeliveryAttempt(models.Model):
    """One try at a delivery: when, how long, and what the receiver answered."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempt_log")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    seconds = models.FloatField()
    outcome = models.CharField(max_length=60)  # succeeded, or an error's code
    status = models.PositiveSmallIntegerField(null=True)  # none where nobody answered
    answer = models.TextField(blank=True)  # the first kilobyte, or why there was none

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"attempt {self.number} at delivery {self.delivery_id}"
