"""How far the removal of old rows has come in one table; the next run goes on from there."""

from __future__ import annotations

from django.db import models


class Pruning(models.Model):
    table = models.CharField(max_length=30, unique=True)
    reached = models.BigIntegerField(default=0)  # the last primary key that was looked at
    ended_at = models.DateTimeField(null=True)  # when all of the table had been looked at

    def __str__(self) -> str:
        return f"pruning of {self.table}"
