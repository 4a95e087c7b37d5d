"""One thing done with many bots, and what became of it for each: see `bots.bulk_actions`."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from bots.models.bot import Bot
from bots.models.job import Job


class BulkKind(models.TextChoices):
    START = "start", "Start"
    STOP = "stop", "Stop"
    RECONNECT = "reconnect", "Reconnect"
    SYNC = "sync", "Sync"
    ROTATE = "rotate", "Rotate"


class ItemState(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"  # a job was made, and says how it ends
    DONE = "done"
    FAILED = "failed"


OPEN_ITEMS = (ItemState.WAITING, ItemState.RUNNING)


class BulkAction(models.Model):
    kind = models.CharField(max_length=10, choices=BulkKind.choices)
    # Who is asked for each bot, when its turn comes, whether they may.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    requested_by = models.CharField(max_length=200)
    retry_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="retries"
    )
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            # Who sweeps looks for the few that are not finished.
            models.Index(
                fields=["id"], name="bulk_action_open", condition=Q(finished_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class BulkItem(models.Model):
    """What becomes of it for one bot."""

    action = models.ForeignKey(BulkAction, on_delete=models.CASCADE, related_name="items")
    bot = models.ForeignKey(Bot, on_delete=models.SET_NULL, null=True, related_name="+")
    name = models.CharField(max_length=100)  # of the bot, also when that is gone
    state = models.CharField(max_length=10, choices=ItemState.choices, default=ItemState.WAITING)
    detail = models.TextField(blank=True)  # what happened, in a sentence
    next_step = models.TextField(blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    # Jobs are removed in great numbers once they are old, and nobody looks here for each of them.
    job = models.ForeignKey(
        Job, on_delete=models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )
    # New credentials by name, encrypted as one; emptied as soon as they were tried.
    values = models.TextField(blank=True, editable=False)
    claimed_until = models.DateTimeField(null=True)  # somebody is at it until then
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["action", "bot"], name="bulk_item_once_per_bot"),
        ]
        indexes = [
            # What waits, and how many are in which state.
            models.Index(fields=["action", "state"], name="bulk_item_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.name} in {self.action_id}"
