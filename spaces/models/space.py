"""A space: one installation or tenant of a platform that an operator configured."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models

from spaces.platforms import registry
from spaces.platforms.contract import clean_options
from spaces.platforms.errors import Misconfigured

MOST_DAYS = 36_500
# How long what its bots heard and did is kept. Nothing of a connection depends on these.
KEPT = ("keep_events_days", "keep_attempts_days", "keep_jobs_days", "keep_messages_days")


def _days(default: int, help_text: str) -> models.PositiveIntegerField[Any, Any]:
    return models.PositiveIntegerField(
        default=default,
        validators=[MaxValueValidator(MOST_DAYS)],
        help_text=f"{help_text} In days; 0 keeps them for ever.",
    )


class Space(models.Model):
    slug = models.SlugField(
        unique=True, help_text="Short name used by the API and in logs. Cannot be changed later."
    )
    name = models.CharField(max_length=100)
    # No choices here: platforms come and go with packages, and none of them needs a migration.
    platform = models.CharField(max_length=50)
    url = models.URLField(
        "URL",
        blank=True,
        max_length=500,
        help_text="Address of the server, with http:// or https://.",
    )
    options = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    keep_events_days = _days(90, "What the platform told and what became of jobs.")
    keep_attempts_days = _days(30, "Tries at jobs with requests and responses; handler runs.")
    keep_jobs_days = _days(90, "Jobs that have ended.")
    keep_messages_days = _days(0, "Messages as the pages of channels show them.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what the platform does not know, before it fails at three in the morning. Options
        that are stored may stay."""
        try:
            platform = registry.get(self.platform)
        except Misconfigured as error:
            raise ValidationError({"platform": error.detail}) from error
        if platform.needs_url and not self.url:
            raise ValidationError({"url": f"{platform.label} needs the address of its server."})
        if wrong := _wrong_with(self.url):
            raise ValidationError({"url": wrong})
        if not isinstance(self.options, dict):
            raise ValidationError({"options": "Options are a JSON object."})
        try:
            stored = Space.objects.filter(pk=self.pk).first() or Space()
            self.options = clean_options(platform, "space", self.options, stored=stored.options)
        except Misconfigured as error:
            raise ValidationError({"options": error.detail}) from error


def _wrong_with(url: str) -> str:
    """What keeps this from being the address of a server; empty when nothing does."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0  # reading the port checks it
    except ValueError as error:
        return f"This is no address: {error}."
    if not url:
        return ""
    if parts.scheme not in ("http", "https") or not is_whole:
        return "The address of a server starts with http:// or https:// and its name."
    if parts.username or parts.password:
        return "Names and passwords do not belong here, where they are shown: see the credentials."
    if parts.query or parts.fragment:
        return "The address ends with the path of the server, without ? and #."
    return ""
