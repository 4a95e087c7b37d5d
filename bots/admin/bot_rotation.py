"""The form for new credentials of many bots: a field for each one, or lines of all of them.

What is entered goes into the core, encrypted, and never back into a page: not even into one that
says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.db.models import Prefetch, prefetch_related_objects
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget

from bots import lifecycle
from bots.admin import platforms
from bots.models import Bot, Credential
from bots.refusals import Refused
from spaces.platforms.contract import Credential as Declared

PREFIX = "value_"
FIELDS = 50  # for more bots there are the lines
LONGEST = 1_000_000  # characters of all lines
MOST_WRONG = 20  # lines that are told; after that it is another file


class Forgetful(UnfoldAdminTextareaWidget):
    """A text that is not shown again."""

    def format_value(self, value: Any) -> str:
        return ""


class RotationForm(forms.Form):
    """`values` has what was entered, for the bots for which something was."""

    lines = forms.CharField(
        required=False,
        max_length=LONGEST,
        label="Or all at once, one bot per line",
        help_text="The slug of the bot, a space, the value. $NAME and file:name work here, too.",
        widget=Forgetful(
            {"rows": 6, "autocomplete": "off", "spellcheck": "false", "placeholder": "slug value"}
        ),
    )

    def __init__(self, bots: Sequence[Bot], data: Mapping[str, Any] | None = None):
        super().__init__(data)
        self.bots = list(bots)
        stored = Prefetch("credentials", Credential.objects.only("bot", "name"))
        prefetch_related_objects(self.bots, stored, "space")
        self._secrets = {bot: _secret(bot) for bot in self.bots}
        self.without = [bot for bot, secret in self._secrets.items() if secret is None]
        self.values: dict[Bot, dict[str, str]] = {}
        for bot in self.bots[:FIELDS]:
            if (secret := self._secrets[bot]) is not None:
                self.fields[f"{PREFIX}{bot.pk}"] = forms.CharField(
                    label=f"{bot.name} ({bot.slug})",
                    required=False,
                    strip=False,
                    help_text=secret.label,
                    widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
                )

    def of_bots(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(PREFIX)]

    @property
    def without_field(self) -> int:
        """How many bots have a secret, but no field here."""
        return len(self.bots) - len(self.without) - len(self.of_bots())

    def clean(self) -> dict[str, Any]:
        for bot in self.bots:
            if (value := self.cleaned_data.get(f"{PREFIX}{bot.pk}", "")).strip():
                self._take(bot, value, f"{PREFIX}{bot.pk}")
        by_slug = {bot.slug: bot for bot in self.bots}
        for number, line in enumerate(self.cleaned_data.get("lines", "").splitlines(), 1):
            if len(self.errors.get("lines", ())) >= MOST_WRONG:
                self.add_error("lines", f"Line {number} and those after it were not read.")
                break
            if line.strip():
                self._read(number, line, by_slug)
        if not self.values and not self.errors:
            raise forms.ValidationError(
                "Nothing was entered. Paste the new value beside at least one bot."
            )
        return self.cleaned_data

    def _read(self, number: int, line: str, by_slug: Mapping[str, Bot]) -> None:
        # Errors say which line, never what it holds: it may all be a secret.
        slug, _, value = line.strip().partition(" ")
        bot = by_slug.get(slug)
        if bot is None:
            self.add_error("lines", f"Line {number} does not begin with the slug of a chosen bot.")
        elif not value.strip():
            self.add_error("lines", f"Line {number} has no value after the slug.")
        elif bot in self.values:
            self.add_error("lines", f"Line {number} is about {slug}, which has a value already.")
        else:
            self._take(bot, value.strip(), "lines")

    def _take(self, bot: Bot, value: str, field: str) -> None:
        secret = self._secrets[bot]
        if secret is None:
            self.add_error(field, f"{bot.slug} has no secret to replace.")
            return
        try:
            lifecycle.check_credentials(bot, {secret.name: value})
        except Refused as refused:
            self.add_error(field, f"{bot.slug}: {refused.detail}")
            return
        self.values[bot] = {secret.name: value}


def _secret(bot: Bot) -> Declared | None:
    """The credential that is replaced: the first secret that the bot has, or that its platform
    wants; None where there is none."""
    platform = platforms.find(bot.space.platform)
    declared = [one for one in platform.credentials if one.secret] if platform else []
    stored = {credential.name for credential in bot.credentials.all()}
    return next((one for one in declared if one.name in stored), declared[0] if declared else None)
