"""An API token: shown once, stored as a hash."""

from __future__ import annotations

import hashlib
import secrets

from django.conf import settings
from django.db import models
from django.utils import timezone

from bots.models.bot import Bot


class Scope(models.TextChoices):
    READ = "read", "Read"
    SEND = "send", "Send"
    MANAGE = "manage", "Manage"


class ApiToken(models.Model):
    PREFIX = "ba_"

    name = models.CharField(max_length=100)
    hint = models.CharField(max_length=12, editable=False)  # its first letters, to tell it apart
    # SHA-256 is enough: a token is 256 random bits, there is nothing to guess from.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    all_bots = models.BooleanField(default=False, help_text="Also bots that are added later.")
    bots = models.ManyToManyField(Bot, blank=True, related_name="tokens")
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False
    )

    class Meta:
        ordering = ["name"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return self.name

    def set_text(self, text: str = "") -> str:
        """Give the token its text (a new random one by default) and return it, the only time."""
        text = text or self.PREFIX + secrets.token_urlsafe(32)
        self.hint = text[:7]
        self.digest = digest(text)
        return text

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def orphaned(self) -> bool:
        """Whether whoever made it may not log in any more."""
        return self.created_by is not None and not self.created_by.is_active


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
