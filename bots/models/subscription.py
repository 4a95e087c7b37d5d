"""A subscription: who wants which events, how far it got, and how it is doing."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone

from bots.models.bot import Bot
from spaces.models import Channel


class Ended(models.TextChoices):
    """Why a subscription was switched off by somebody else than an operator."""

    NO = "", "no"
    GONE = "gone", "the receiver answered 410 Gone"
    FAILING = "failing", "it failed for days"


class SubscriptionState(models.TextChoices):
    """What is shown of one."""

    ACTIVE = "active"
    FAILING = "failing"  # since the last delivery that was taken, one was not
    OFF = "off"  # an operator's wish
    GONE = "gone"
    SWITCHED_OFF = "switched_off"  # by us, after days of failure


class Subscription(models.Model):
    name = models.CharField(max_length=100, blank=True)
    url = models.CharField(max_length=2_000)
    # An empty list of kinds is all of them. Bots and channels may be deleted, and nothing must turn
    # into everything by that, so that all of them is a flag of its own.
    kinds = models.JSONField(default=list, blank=True)
    all_bots = models.BooleanField(default=True, help_text="Also bots that are added later.")
    bots = models.ManyToManyField(Bot, blank=True, related_name="subscriptions")
    all_channels = models.BooleanField(default=True, help_text="And what happens in none.")
    channels = models.ManyToManyField(Channel, blank=True, related_name="+")
    ordered = models.BooleanField(
        default=False, help_text="One event of a channel at a time, and none before its turn."
    )
    enabled = models.BooleanField(default=True)
    ended = models.CharField(max_length=10, choices=Ended.choices, blank=True, default=Ended.NO)

    # Encrypted by `bots.secrets`, as credentials are; the old one signs too until then.
    secret = models.TextField(editable=False)
    old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False)

    # Up to this number, events were looked at and handed to the lanes. Events beyond both numbers
    # have no delivery: who hands them on relies on it.
    position = models.PositiveBigIntegerField(default=0, editable=False)
    # Up to this number, events may have been handed on before.
    replay_until = models.PositiveBigIntegerField(default=0, editable=False)

    # How the receiver is doing; `bots.receivers` tells what each means.
    failing_since = models.DateTimeField(null=True, editable=False)
    last_success_at = models.DateTimeField(null=True, editable=False)
    error_code = models.CharField(max_length=60, blank=True, editable=False)
    error_detail = models.TextField(blank=True, editable=False)
    away = models.PositiveIntegerField(default=0, editable=False)  # times in a row
    rest_until = models.DateTimeField(null=True, editable=False)
    asked_until = models.DateTimeField(null=True, editable=False)  # by its receiver

    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=200, blank=True, editable=False)  # as jobs name them
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False
    )

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name or f"subscription {self.pk}"

    @property
    def rests_until(self) -> datetime | None:
        """Until when no delivery is tried; None when any may be."""
        until = max((at for at in (self.rest_until, self.asked_until) if at), default=None)
        return until if until and until > timezone.now() else None

    @property
    def state(self) -> SubscriptionState:
        if self.enabled:
            return SubscriptionState.FAILING if self.failing_since else SubscriptionState.ACTIVE
        return {
            Ended.GONE: SubscriptionState.GONE,
            Ended.FAILING: SubscriptionState.SWITCHED_OFF,
        }.get(Ended(self.ended), SubscriptionState.OFF)
