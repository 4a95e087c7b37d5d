"""How one bot receives: the lease on it, where reading goes on, and what state it is in."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from bots.models.bot import Bot


class State(models.TextChoices):
    OFF = "off"
    STARTING = "starting"
    CATCHING_UP = "catching_up"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    STALE = "stale"
    BAD_CREDENTIALS = "bad_credentials"
    MISCONFIGURED = "misconfigured"


class Connection(models.Model):
    bot = models.OneToOneField(Bot, on_delete=models.CASCADE, related_name="connection")

    # What the screen shows; written through bots.connections.states only.
    state = models.CharField(max_length=20, choices=State.choices, default=State.OFF)
    since = models.DateTimeField(db_default=Now())
    reason = models.TextField(blank=True, default="")
    next_step = models.TextField(blank=True, default="")
    attempts = models.PositiveIntegerField(default=0)  # failed ones since it was last live
    caught_up = models.PositiveIntegerField(default=0)  # events fetched by the last catch-up
    last_event_at = models.DateTimeField(null=True)  # when a stored event was received
    last_call_at = models.DateTimeField(null=True)  # when the platform last came by itself
    last_ok_at = models.DateTimeField(null=True)  # when the platform last proved that it is there

    # The lease: who may write events and the cursor. `fence` grows with every claim, and every
    # write names the fence it was made under, so that a holder that was frozen and thawed after
    # somebody else took over changes nothing.
    holder = models.CharField(max_length=100, blank=True, default="")
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveBigIntegerField(default=0)
    generation = models.PositiveIntegerField(default=0)  # of the bot, when last started
    not_before = models.DateTimeField(null=True)  # back-off, or the next poll

    # Everything up to here is stored. The names in it are the platform's; empty: never received.
    cursor = models.JSONField(default=dict)

    class Meta:
        indexes = [
            # Supervisors look for connections that nobody holds; pollers for those that are due.
            models.Index(fields=["lease_until", "not_before"], name="connection_free"),
            # A supervisor renews and lists its own.
            models.Index(fields=["holder"], name="connection_by_holder"),
        ]

    def __str__(self) -> str:
        return f"connection of {self.bot}"
