"""A delivery: one event on its way to one subscriber, and every try at it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from bots.models.event import Event
from bots.models.lane import UNFINISHED, Work
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
