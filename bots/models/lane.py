"""Lanes: lines in which work waits that must keep its order. `bots.lanes` is their only door."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from bots.models.bot import Bot
from bots.models.subscription import Subscription


class LaneKind(models.TextChoices):
    JOBS = "jobs"
    HANDLERS = "handlers"
    DELIVERIES = "deliveries"


class Priority(models.IntegerChoices):
    """A smaller number goes first."""

    INTERACTIVE = 0, "interactive"
    BULK = 1, "bulk"


class Lane(models.Model):
    """One line: all that one bot, or one subscription, has to do for one target."""

    kind = models.CharField(max_length=10, choices=LaneKind.choices)
    # Whose it is: one of the two.
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, null=True, related_name="lanes")
    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, null=True, related_name="lanes"
    )
    key = models.CharField(max_length=300)  # the target, say "channel:<remote id>"
    ordered = models.BooleanField(default=True)  # one that waits holds those behind it
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.INTERACTIVE)

    # When there is something to do, empty when there is not. `wakeups` counts what was put in:
    # whoever empties the lane clears `due_at` only if nothing came meanwhile.
    due_at = models.DateTimeField(null=True)
    wakeups = models.PositiveBigIntegerField(default=0)

    # The lease on the lane, as on a connection.
    holder = models.CharField(max_length=100, blank=True, default="")
    claimed_until = models.DateTimeField(null=True)
    fence = models.PositiveBigIntegerField(default=0)

    # An operator's word: nobody claims it until somebody resumes it.
    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "bot", "key"], name="lane_once_per_target"),
            models.UniqueConstraint(
                fields=["kind", "subscription", "key"], name="lane_once_per_subscription"
            ),
        ]
        indexes = [
            # The sweep, and whoever looks for urgent lanes first.
            models.Index(
                fields=["priority", "due_at"], name="lane_due", condition=Q(due_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.bot or self.subscription}"


class WorkState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


UNFINISHED = (WorkState.QUEUED, WorkState.RUNNING)
FINISHED = (WorkState.SUCCEEDED, WorkState.FAILED, WorkState.CANCELLED, WorkState.EXPIRED)


class Work(models.Model):
    """What waits in a lane, in the order of its ids unless `place_in_lane` names another field."""

    place_in_lane = "pk"
    # Whether one that was never tried and has to wait was put off by whoever asked for it: then it
    # holds nobody. Otherwise it waits for a next try, and holds its lane.
    may_be_scheduled = False

    lane = models.ForeignKey(Lane, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=10, choices=WorkState.choices, default=WorkState.QUEUED)
    not_before = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.TextField(blank=True)

    # Set by `bots.lanes.begin`: it was running already, and nobody wrote down how it ended.
    interrupted = False
    # Annotated by `bots.lanes.begin`: its time has come.
    due: bool

    class Meta:
        abstract = True
