"""The form of a new bot, in the order in which somebody needs it: who it is, how it gets in, what
answers for it, and, folded, all that has a default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from django import forms
from django.forms import modelform_factory
from django.utils.html import escape
from unfold.widgets import UnfoldAdminTextInputWidget

from bots.admin import credentials
from bots.admin.adding.spaces import SlugFromName
from bots.admin.bot_form import BotForm, form_for
from bots.admin.credentials import EXPIRES
from bots.admin.credentials import PREFIX as CREDENTIAL
from bots.models import Bot
from spaces.models import Space
from spaces.platforms.contract import Credential as Declared
from spaces.platforms.contract import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A credential to enter, and how to come by it."""

    field: forms.BoundField
    guide: tuple[str, ...]


class NewBotForm(SlugFromName, BotForm):
    declared_credentials: ClassVar[tuple[Declared, ...]]

    # They have their place on the bot's own page.
    permissions = None  # type: ignore[assignment]
    label_words = None  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.free_slug()
        self.fields["name"].help_text = "What people here call it."
        if not self.fields["handlers"].choices:  # type: ignore[attr-defined]
            del self.fields["handlers"]
        for one in self.declared_credentials:
            # Templates print help texts as they are.
            self.fields[CREDENTIAL + one.name].help_text = escape(one.help)

    def values(self) -> dict[str, str]:
        """The credentials, as they were entered."""
        return credentials.chosen(self.cleaned_data)

    # What the page shows, part by part ----------------------------------------------------------

    def identity(self) -> list[forms.BoundField]:
        return [self["name"], self["slug"]]

    def secrets(self) -> list[Secret]:
        return [self._secret(one) for one in self.declared_credentials if one.usual]

    def other_secrets(self) -> list[Secret]:
        return [self._secret(one) for one in self.declared_credentials if not one.usual]

    def answers(self) -> forms.BoundField | None:
        return self["handlers"] if "handlers" in self.fields else None

    def folded(self) -> list[forms.BoundField]:
        expiries = [self[name] for name in self.fields if name.startswith(EXPIRES)]
        return [self["receive"], *self.usual_options(), *expiries]

    def opens_fold(self) -> bool:
        return super().opens_fold() or any(field.errors for field in self.folded())

    def _secret(self, one: Declared) -> Secret:
        return Secret(field=self[CREDENTIAL + one.name], guide=one.guide)


def new_bot_form(space: Space, platform: type[Platform]) -> type[NewBotForm]:
    fields = credentials.credential_fields(platform.credentials, {}, adding=True)
    for one in platform.credentials:
        if one.secret:
            fields[EXPIRES + one.name].label = f"{one.label}: it expires on"
    base = type(
        "NewBot",
        (NewBotForm, form_for(space, platform, secrets=fields)),
        {"declared_credentials": platform.credentials},
    )
    made: Any = modelform_factory(
        Bot,
        form=base,
        fields=("name", "slug", "receive", "handlers"),
        widgets={
            "name": UnfoldAdminTextInputWidget({"autocomplete": "off"}),
            "slug": UnfoldAdminTextInputWidget(),
        },
    )
    return cast(type[NewBotForm], made)
