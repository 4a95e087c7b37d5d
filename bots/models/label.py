"""A label: a word of the operators' own that they put on bots. `bots.labels` is its only door."""

from __future__ import annotations

from django.db import models


class Label(models.Model):
    name = models.CharField(max_length=50, unique=True)  # in small letters, without commas

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
