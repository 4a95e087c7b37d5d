"""An incident: something is not as it should be, from when it was noticed to when it was over.

`bots.incidents` opens and closes them, and tells those who want to know.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone

from bots.models.bot import Bot
from bots.models.subscription import Subscription
from spaces.models import Space


class IncidentCode(models.TextChoices):
    """What is wrong. The codes stay; the labels are for people."""

    CONNECTION_DOWN = "connection_down", "Not connected"
    CREDENTIALS_REFUSED = "credentials_refused", "Credentials refused"
    CREDENTIALS_EXPIRING = "credentials_expiring", "Credentials expire"
    MISCONFIGURED = "misconfigured", "Misconfigured"
    LANE_LATE = "lane_late", "Work is late"
    LANE_GROWING = "lane_growing", "A lane grows"
    RATE_LIMITED = "rate_limited", "Rate-limited for long"
    JOBS_UNCERTAIN = "jobs_uncertain", "Jobs are uncertain"
    SUBSCRIPTION_FAILING = "subscription_failing", "Subscriber fails"
    SUBSCRIPTION_ENDED = "subscription_ended", "Subscription ended"


class Severity(models.TextChoices):
    """In the order of the alphabet, the worse goes first."""

    ERROR = "error"
    WARNING = "warning"


class Incident(models.Model):
    code = models.CharField(max_length=30, choices=IncidentCode.choices)
    severity = models.CharField(max_length=10, choices=Severity.choices)
    key = models.CharField(max_length=200)  # what it is about, for programs: `bot:12`
    subject = models.CharField(max_length=200)  # the same, for people
    detail = models.TextField(blank=True)
    next_step = models.TextField(blank=True)

    # What it is about, as far as it has a row. That it closed is told also where the row is gone.
    bot = models.ForeignKey(Bot, on_delete=models.SET_NULL, null=True, related_name="incidents")
    subscription = models.ForeignKey(
        Subscription, on_delete=models.SET_NULL, null=True, related_name="incidents"
    )
    space = models.ForeignKey(Space, on_delete=models.SET_NULL, null=True, related_name="+")

    # What is noticed opens when it lasts; until then nobody is shown it.
    noticed_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    times = models.PositiveIntegerField(default=1)  # it opened, soon after it was closed

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # Whoever looks sees to it; this holds whatever they do.
            models.UniqueConstraint(
                fields=["code", "key"], condition=Q(closed_at=None), name="incident_open_once"
            ),
        ]
        indexes = [
            # Those that are open, those that were closed a moment ago, and those that may go.
            models.Index(fields=["closed_at"], name="incident_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.get_code_display()}: {self.subject}"

    @property
    def lasted(self) -> timedelta:
        """From its first opening to its end, or to now."""
        return (self.closed_at or timezone.now()) - (self.opened_at or self.noticed_at)


class IncidentClock(models.Model):
    """How often somebody changed what is open; one row. Whoever changes it holds its lock."""

    changes = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.changes} changes"


class Way(models.TextChoices):
    MAIL = "mail"
    BOT = "bot"


class News(models.TextChoices):
    OPENED = "opened"
    CLOSED = "closed"


class Telling(models.Model):
    """One piece of news that is to be told in one way: stored with what it tells, so that no crash
    loses it."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="tellings")
    way = models.CharField(max_length=10, choices=Way.choices)
    news = models.CharField(max_length=10, choices=News.choices)
    not_before = models.DateTimeField()  # it may prove to be nothing new until then
    try_at = models.DateTimeField(null=True)  # somebody is at it, or it did not work
    told_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        indexes = [
            # Whoever looks for what is left to be told.
            models.Index(
                fields=["way", "not_before"], name="telling_due", condition=Q(told_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.incident_id} {self.news} by {self.way}"
