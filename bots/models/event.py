"""An event: what a platform told us, in our words, with its own beside them. Never edited.

`bots.sequence` stores them, and gives each its number."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from bots.models.bot import Bot
from spaces.models import Channel
from spaces.platforms.messages import Kind


class Event(models.Model):
    # None for what concerns the install as a whole.
    bot = models.ForeignKey(
        Bot, on_delete=models.CASCADE, null=True, related_name="events", db_index=False
    )
    kind = models.CharField(max_length=30, choices=[(k.value, k.value) for k in Kind])
    # The platform's id for what happened: however often and by whatever way it is told.
    dedupe_key = models.CharField(max_length=255)
    channel = models.ForeignKey(Channel, on_delete=models.SET_NULL, null=True, related_name="+")
    occurred_at = models.DateTimeField()
    stored_at = models.DateTimeField(db_default=Now())
    catch_up = models.BooleanField(default=False)  # fetched after the fact
    data = models.JSONField(default=dict)
    raw = models.JSONField(default=dict)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # Nothing is stored twice, however often it is received.
            models.UniqueConstraint(fields=["bot", "dedupe_key"], name="event_once_per_bot"),
        ]
        indexes = [
            # One bot's events, newest first: all of them, and those of one kind.
            models.Index(fields=["bot", "-id"], name="event_by_bot"),
            models.Index(fields=["bot", "kind", "-id"], name="event_by_bot_and_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
