"""The labels of a bot on its form: words with commas between them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from bots import labels
from bots.admin.options import OptionsForm
from bots.refusals import Refused


class LabelsWidget(UnfoldAdminTextInputWidget):
    """Suggests labels that other bots have."""

    class Media:
        js = ("bots/labels.js",)

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        # Not when the class is made: addresses are known once all pages are.
        known = reverse("admin:bots_bot_labels")
        return super().get_context(name, value, {**(attrs or {}), "data-labels": known})


class LabelsField(forms.CharField):
    """Cleaned to a list of labels."""

    widget = LabelsWidget({"autocomplete": "off"})

    def clean(self, value: Any) -> Any:
        try:
            return labels.parse(super().clean(value))
        except Refused as refused:
            raise forms.ValidationError(refused.detail) from refused

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return labels.parse(initial or "") != labels.parse(data or "")
        except Refused:
            return True


class LabelledForm(OptionsForm):
    """A form of a bot with its labels; whoever saves it puts them on the bot."""

    label_words = LabelsField(
        label="Labels",
        required=False,
        help_text="Words of your own, with commas between them, to find it by: emea, sales. "
        "Small letters and capitals are the same.",
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["label_words"] = ", ".join(map(str, self.instance.labels.all()))
