"""A secret that waits for somebody's next click. `bots.held` is its only door."""

from __future__ import annotations

from django.db import models


class HeldSecret(models.Model):
    token = models.CharField(max_length=43, unique=True)  # in the session of whoever entered it
    value = models.TextField(editable=False)  # encrypted by `bots.secrets`
    until = models.DateTimeField()  # not given out after it, and removed within a minute

    class Meta:
        indexes = [models.Index(fields=["until"], name="held_secret_until")]

    def __str__(self) -> str:
        return f"held until {self.until}"
