"""Credentials as form fields: they go in here, and nothing on any page ever shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django import forms
from django.conf import settings
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from bots.admin import looks, platforms
from bots.models import Bot, Credential
from spaces.platforms.contract import Credential as Declared

PREFIX, REMOVE, EXPIRES = "credential_", "remove_", "expires_"


class DateWidget(UnfoldAdminTextInputWidget):
    """The browser's own calendar."""

    input_type = "date"


def known(bot: Bot | None) -> dict[str, Credential]:
    """The credentials of a bot by name, without their values."""
    if bot is None or bot.pk is None:
        return {}
    rows = bot.credentials.defer("value").select_related("changed_by")
    return {row.name: row for row in rows}


def missing(bot: Bot) -> list[str]:
    """Names of those that its platform must have and nobody set."""
    platform = platforms.find(bot.space.platform)
    stored = {row.name for row in bot.credentials.all()}
    declared = platform.credentials if platform else ()
    return [one.name for one in declared if one.required and one.name not in stored]


def credential_fields(
    declared: Sequence[Declared], stored: Mapping[str, Credential], *, adding: bool
) -> dict[str, forms.Field]:
    """Fields to set each declared credential, and until when it works; and one to remove each that
    is stored."""
    fields: dict[str, forms.Field] = {}
    for credential in declared:
        row = stored.get(credential.name)
        widget = UnfoldAdminPasswordWidget if credential.secret else UnfoldAdminTextInputWidget
        fields[PREFIX + credential.name] = forms.CharField(
            label=credential.label,
            required=credential.required and adding,
            strip=False,
            help_text=_help(credential, row),
            widget=widget({"autocomplete": "new-password"}),
        )
        if credential.secret:
            fields[EXPIRES + credential.name] = forms.DateField(
                label="It expires on",
                required=False,
                initial=row.expires_on if row else None,
                help_text="If it does: two weeks before, an incident tells so. "
                "A new value has no date until you enter one.",
                widget=DateWidget(),
            )
        if row is not None:
            fields[REMOVE + credential.name] = forms.BooleanField(
                label=f"Remove {credential.label}", required=False, widget=UnfoldBooleanWidget()
            )
    return fields


def chosen(cleaned: Mapping[str, Any]) -> dict[str, str]:
    """What to hand to `lifecycle.set_credentials`; an empty text removes."""
    removed = {
        name.removeprefix(REMOVE): ""
        for name, value in cleaned.items()
        if name.startswith(REMOVE) and value
    }
    entered = {
        name.removeprefix(PREFIX): value
        for name, value in cleaned.items()
        if name.startswith(PREFIX) and value
    }
    return removed | entered


def expiries(form: forms.BaseForm) -> dict[str, date | None]:
    """Dates that were changed, for `lifecycle.set_expiries`."""
    return {
        name.removeprefix(EXPIRES): form.cleaned_data[name]
        for name in form.changed_data
        if name.startswith(EXPIRES)
    }


def status(row: Credential | None) -> str:
    if row is None:
        return "Not set."
    by = f" by {row.changed_by.get_username()}" if row.changed_by else ""
    ends = f" Expires on {row.expires_on}." if row.expires_on else ""
    if row.reference:
        return f"Reference {row.reference}, set {looks.moment(row.changed_at)}{by}.{ends}"
    return f"Set {looks.moment(row.changed_at)}{by}.{ends}"


def _help(credential: Declared, row: Credential | None) -> SafeString:
    # The form's templates print help texts as they are.
    keep = "" if row is None else " Leave empty to keep it."
    return format_html(
        "<strong>{}</strong>{} {} Instead of the value: ${}… reads it from the environment, "
        "file:name from the secrets folder; netrc:host and netrc:host:login read password and "
        "login name from the netrc file there.",
        status(row),
        keep,
        conditional_escape(credential.help),
        settings.BOTADMIN_CREDENTIAL_VARIABLES[0],
    )
