"""A credential of a bot. It goes in and never comes out: no form, answer or log reads `value`."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from bots.models.bot import Bot


class Credential(models.Model):
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=50)
    # Encrypted by bots.secrets, or empty when `reference` says where the value is.
    value = models.TextField(blank=True, editable=False)
    # "$BOT_NAME" of the environment, "file:name" below the secrets folder or "netrc:host" of the
    # netrc file there; not a secret itself.
    reference = models.CharField(max_length=255, blank=True)
    # As its operator entered it: platforms do not say until when a token works.
    expires_on = models.DateField(null=True)
    changed_at = models.DateTimeField()
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bot", "name"], name="credential_once_per_bot"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.bot}"
