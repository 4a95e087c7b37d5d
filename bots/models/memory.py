"""What a platform keeps for a bot between two of its objects, such as the session of a login."""

from __future__ import annotations

from django.db import models

from bots.models.bot import Bot


class BotMemory(models.Model):
    """As a credential it goes in and never comes out: `bots.memory` is its only door."""

    bot = models.OneToOneField(
        Bot, on_delete=models.CASCADE, primary_key=True, related_name="memory"
    )
    value = models.TextField(editable=False)  # encrypted by bots.secrets
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "bot memories"

    def __str__(self) -> str:
        return f"memory of {self.bot_id}"
