"""The form of a bot: its own settings, and what the platform of its space declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from bots import handlers, lifecycle
from bots.admin import credentials
from bots.admin.bot_labels import LabelledForm
from bots.admin.options import NONE_STORED, option_fields
from bots.admin.untouched import offer_too
from bots.models import Bot, Permission, Receive
from bots.models.bot import RECEIVE_NEEDS, usual_permissions
from bots.refusals import Refused
from spaces.models import Space
from spaces.platforms.contract import Platform, declared_options


def _handler_choices() -> list[tuple[str, str]]:
    choices = []
    for name, handler in sorted(handlers.registered().items()):
        told = (handler.function.__doc__ or "").strip().partition("\n")[0]
        choices.append((name, f"{name}: {told}" if told else name))
    return choices


class BotForm(LabelledForm):
    """The form of a bot; `form_for` adds what its space's platform declares."""

    space: ClassVar[Space]
    offered: ClassVar[list[str]]  # ways to receive
    receipts_refused: ClassVar[str] = ""

    permissions = forms.MultipleChoiceField(
        choices=Permission.choices,
        initial=usual_permissions,
        required=False,
        help_text="What the bot may do here, whatever its platform would let it do.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    handlers = forms.MultipleChoiceField(
        choices=_handler_choices,
        required=False,
        help_text="What answers the events of this bot.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = Bot
        fields = ("name", "slug", "enabled", "receive", "permissions", "read_receipts", "handlers")

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.instance.space = self.space
        if self.instance.pk is not None:
            self._offer_what_is_stored()
        elif self.initial.get("receive") not in self.offered:
            self.initial["receive"] = self.offered[0]

    def _offer_what_is_stored(self) -> None:
        bot, fields = self.instance, self.fields
        ways = dict(Receive.choices)
        offer_too(fields["receive"], [bot.receive], "not offered here any more", ways)
        offer_too(fields["permissions"], bot.permissions, "not known any more")
        offer_too(fields["handlers"], bot.handlers, "not installed here")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        try:
            lifecycle.check_credentials(self.instance, credentials.chosen(cleaned))
        except Refused as refused:
            self.add_error(None, refused.detail)
        return cleaned

    def clean_handlers(self) -> list[str]:
        """In the order that they had."""
        chosen, had = self.cleaned_data["handlers"], self.instance.handlers
        return [*(one for one in had if one in chosen), *(one for one in chosen if one not in had)]

    def clean_read_receipts(self) -> bool:
        if self.receipts_refused:
            raise forms.ValidationError(self.receipts_refused)
        return bool(self.cleaned_data["read_receipts"])


def form_for(
    space: Space,
    platform: type[Platform],
    *,
    secrets: Mapping[str, forms.Field],
    stored: Mapping[str, Any] = NONE_STORED,
    receipts_refused: str = "",
) -> type[BotForm]:
    """`secrets` are fields for credentials; those of a bot that is there have their own page.
    `stored` are its options."""
    declared = declared_options(platform, "bot")
    offered = [r for r in Receive if RECEIVE_NEEDS.get(r) in {None, *platform.abilities}]
    receive = forms.ChoiceField(
        choices=[(way.value, way.label) for way in offered],
        help_text="How the bot hears what happens.",
        widget=UnfoldAdminSelectWidget(),
    )
    return type(
        "BotForm",
        (BotForm,),
        {
            **option_fields(declared, space.options, stored),
            **secrets,
            "receive": receive,
            "offered": offered,
            "declared": declared,
            "space": space,
            "receipts_refused": receipts_refused,
        },
    )
