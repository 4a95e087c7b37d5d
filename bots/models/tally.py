"""Tallies: how many messages came and went, and what failed, in some minutes of the last day.

`bots.tallies` writes and reads them."""

from __future__ import annotations

from django.db import models

INSTALL = 0  # instead of a bot: all bots together


class Counted(models.TextChoices):
    HEARD = "heard"  # messages of people
    SENT = "sent"  # jobs that posted a message
    FAILED = "failed"  # jobs, by the code of their error


class Minutes(models.IntegerChoices):
    """How long a time one row stands for."""

    FEW = 5  # for rates; those of bots are kept for an hour
    MANY = 30  # for the last day: 5,000 busy bots have half a million of them


class Tally(models.Model):
    # Without a foreign key: counting must not fail because a bot is just being deleted, and what is
    # left of it is gone in a day.
    bot_id = models.BigIntegerField()
    minutes = models.PositiveSmallIntegerField(choices=Minutes.choices)
    at = models.DateTimeField()  # when they begin
    what = models.CharField(max_length=10, choices=Counted.choices)
    code = models.CharField(max_length=60, blank=True, default="")
    count = models.PositiveIntegerField()

    class Meta:
        verbose_name_plural = "tallies"
        constraints = [
            # One row to add to; also the way to those of some bots since a moment.
            models.UniqueConstraint(
                fields=["bot_id", "minutes", "at", "what", "code"], name="tally_once"
            ),
        ]
        indexes = [
            # Those that are too old.
            models.Index(fields=["minutes", "at"], name="tally_by_time"),
            # What failed, of many bots at once: little beside the messages.
            models.Index(
                fields=["minutes", "at"],
                name="tally_failed",
                condition=models.Q(what=str(Counted.FAILED)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.count} {self.what} of bot {self.bot_id} at {self.at}"


class TallyClock(models.Model):
    """Up to which number events were counted; one row. Whoever counts holds its lock."""

    position = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"counted up to {self.position}"
