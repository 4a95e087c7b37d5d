"""A handler's turn at one event. In order per channel, retried, then left failed for people."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from bots.models.bot import Bot
from bots.models.event import Event
from bots.models.job import Job
from bots.models.lane import UNFINISHED, Work


class HandlerRun(Work):
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="handler_runs")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="handler_runs")
    handler = models.CharField(max_length=100)
    traceback = models.TextField(blank=True)  # of the last failure; for operators only

    # Until then a request of the platform waits for an answer; empty when none does.
    answer_until = models.DateTimeField(null=True)
    # What the handler answered: a job that the request may take until then, and that is done as
    # any other if it does not.
    answer = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # An event meets each handler once, however often it is received.
            models.UniqueConstraint(fields=["event", "handler"], name="handler_once_per_event"),
        ]
        indexes = [
            models.Index(
                fields=["lane", "id"],
                name="run_unfinished_in_lane",
                condition=Q(state__in=[str(s) for s in UNFINISHED]),
            ),
            models.Index(fields=["state", "-id"], name="run_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.handler} at event {self.event_id}"
