"""What a person says about a subscription, checked as by REST, and what that means in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from django import forms
from django.core.validators import MinValueValidator
from django.utils import timezone
from django.utils.text import get_text_list
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
)

from bots import access, guard, sequence, subscriptions
from bots.access import Actor
from bots.admin.untouched import UntouchedForm, offer_too
from bots.guard import UrlRefused
from bots.models import Subscription
from spaces.platforms.messages import Kind

NAMED = 3  # bots or kinds that a list names before it counts the others


class SubscriptionForm(UntouchedForm):
    """Nobody subscribes to what they do not see."""

    actor: ClassVar[Actor]

    kinds = forms.MultipleChoiceField(
        choices=[(kind.value, kind.value) for kind in Kind],
        required=False,
        help_text="None chosen: all kinds, also those that are invented later.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = Subscription
        fields = ("name", "url", "kinds", "all_bots", "bots", "all_channels", "channels", "ordered")
        labels = {"url": "URL"}
        help_texts = {
            "url": "Events are posted there, signed with the secret of the subscription.",
            "bots": "Whose events it gets, unless it gets those of all bots.",
            "channels": "Where they happened, unless it is all one.",
        }

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            self.initial["all_bots"] = self.actor.sees_all
        else:
            offer_too(self.fields["kinds"], self.instance.kinds, "not known any more")

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        if "url" in self.changed_data:
            try:
                guard.check_url(url)
            except UrlRefused as error:
                raise forms.ValidationError(f"{error.detail} {error.next_step}") from error
        return url

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("all_bots") and not self.actor.sees_all:
            self.add_error("all_bots", "Name the bots, since you do not see all of them.")
        for what in ("bots", "channels"):
            if what not in cleaned:
                continue  # it has an error already
            if cleaned.get(f"all_{what}"):
                cleaned[what] = []
            elif not cleaned[what] and self._was_chosen(what):
                self.add_error(what, f"Choose {what}, or all of them.")
        if "channels" in cleaned and not cleaned.get("all_channels"):
            cleaned["channels"] = [*cleaned["channels"], *self._channels_of_others()]
        return cleaned

    def _was_chosen(self, what: str) -> bool:
        # Where all it had were deleted, that is no reason to refuse another change.
        adding = self.instance.pk is None
        return adding or not {what, f"all_{what}"}.isdisjoint(self.changed_data)

    def _channels_of_others(self) -> list[Any]:
        """Those it has that this person does not see, and so cannot have taken away."""
        if self.instance.pk is None:
            return []
        visible = access.channels(self.actor).values("pk")
        return list(self.instance.channels.exclude(pk__in=visible))


def form_for(actor: Actor) -> type[SubscriptionForm]:
    return type("SubscriptionForm", (SubscriptionForm,), {"actor": actor})


def wanted(subscription: Any) -> str:
    """Which events it wants, in words; its bots are at hand, and `channel_count`."""
    kinds = _some(sorted(subscription.kinds)) if subscription.kinds else "all kinds"
    bots = "of all bots"
    if not subscription.all_bots:
        bots = f"of {_some([str(bot) for bot in subscription.bots.all()]) or 'no bot'}"
    channels = ""
    if not subscription.all_channels:
        count = subscription.channel_count
        channels = f" in {count} channel{'' if count == 1 else 's'}"
    return f"{kinds} {bots}{channels}"


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    shown = [*names[:NAMED], *([f"{more} more"] if more > 0 else [])]
    return str(get_text_list(shown, "and"))


class ReplayForm(forms.Form):
    """From where to deliver again: a number, or a time."""

    after = forms.IntegerField(
        required=False,
        min_value=0,
        label="After number",
        help_text="The sequence number of an event; what comes after it is delivered. 0: all.",
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    since = forms.DateTimeField(
        required=False,
        label="Or since",
        validators=[MinValueValidator(datetime(1970, 1, 1, tzinfo=UTC))],
        widget=UnfoldAdminTextInputWidget({"type": "datetime-local"}),
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.head = sequence.head()
        zone = timezone.get_current_timezone_name()
        self.fields["since"].help_text = f"When events were stored; the time in {zone}."

    def clean(self) -> dict[str, Any]:
        entered = super().clean() or self.cleaned_data
        if self.errors:
            return entered
        if (entered["after"] is None) == (entered["since"] is None):
            self.add_error(None, "Enter a number or a time, one of the two.")
        elif (entered["after"] or 0) > self.head:
            self.add_error("after", f"The last event has the number {self.head}.")
        elif entered["since"] is not None:
            entered["after"] = sequence.before(entered["since"] - subscriptions.A_MOMENT)
        return entered


def replay_told(subscription: Subscription, after: int, last: int) -> list[str]:
    """What a replay means, before it is done."""
    lie = f"{last - after:,} events lie after number {after:,}."
    if after > subscription.position:
        passed = after - subscription.position
        return [lie, f"It has not got there yet: {passed:,} events are passed over."]
    told = [lie, "Those that it wants are delivered, also where they were delivered before."]
    if not subscription.enabled:
        told.append("It is switched off: they wait until you press Resume.")
    return told
