"""Answers kept for a day, so that a repeated request gets the first one again."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class IdempotencyKey(models.Model):
    scope = models.CharField(max_length=60)  # whose key it is, say "token:7"
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of what was asked
    answer = models.JSONField()  # a job's id, or an id or problem for each message of a bulk
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            # Of twenty requests at once with one key, one inserts and nineteen read its answer.
            models.UniqueConstraint(fields=["scope", "key"], name="idempotency_key_once"),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_key_age")]  # tidying

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"
