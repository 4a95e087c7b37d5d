"""A running process that works or holds connections, as its heartbeat tells."""

from __future__ import annotations

from django.db import models


class Process(models.Model):
    name = models.CharField(max_length=100, unique=True)
    seen_at = models.DateTimeField()
    worked_at = models.DateTimeField(null=True)  # when it last ran a task
    connections = models.PositiveIntegerField(default=0)  # how many it may hold
    held = models.PositiveIntegerField(default=0)  # how many it holds

    class Meta:
        verbose_name_plural = "processes"

    def __str__(self) -> str:
        return self.name
