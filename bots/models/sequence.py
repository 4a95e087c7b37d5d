"""The one order of all events that readers can trust. `bots.sequence` is its only door.

Both tables are written for each event. They go without the database's own check that it exists, for
they are written with it or from it.
"""

from __future__ import annotations

from django.db import models

from bots.models.event import Event


class SequenceClock(models.Model):
    """The last number that was given; one row. Whoever gives numbers holds its lock."""

    last_seq = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"sequence at {self.last_seq}"


class Unnumbered(models.Model):
    """An event that has no number yet; stored with it, in one transaction."""

    event = models.OneToOneField(
        Event, on_delete=models.CASCADE, primary_key=True, related_name="+", db_constraint=False
    )

    def __str__(self) -> str:
        return f"event {self.event_id} without a number"


class SequenceEntry(models.Model):
    """An event in its place, with what readers choose by, so that they read few whole events."""

    seq = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(
        Event, on_delete=models.CASCADE, related_name="entry", db_constraint=False
    )
    bot_id = models.BigIntegerField(null=True)
    channel_id = models.BigIntegerField(null=True)
    kind = models.CharField(max_length=30)

    class Meta:
        ordering = ["seq"]

    def __str__(self) -> str:
        return f"event {self.event_id} at {self.seq}"
