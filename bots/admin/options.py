"""Options as form fields: what a platform declares becomes fields, what is filled in becomes JSON.

A field left empty stays out of the JSON, so that the default, which may change, keeps applying.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from spaces.platforms.contract import Option
from spaces.platforms.errors import Misconfigured

PREFIX = "option_"


def option_fields(
    declared: Mapping[str, Option], inherited: Mapping[str, Any]
) -> dict[str, forms.Field]:
    """A field for each option by the field's name; `inherited` values win over defaults."""
    return {
        PREFIX + name: _field(option, inherited.get(name, option.default))
        for name, option in declared.items()
    }


def shown(declared: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, str]:
    """The options that are set, for people to read."""
    return {
        _label(declared[name]): _text(value) for name, value in values.items() if name in declared
    }


class OptionsForm(forms.ModelForm):
    """A form for a row with `options`, made for one platform by a subclass that adds the fields."""

    declared: ClassVar[Mapping[str, Option]] = {}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name, value in self.instance.options.items():
            choice = str(value).lower() if isinstance(value, bool) else value
            self.initial.setdefault(PREFIX + name, choice)

    def changed_fields(self) -> set[str]:
        """Names of the row's own fields that this form changes."""
        own = {field.name for field in self._meta.model._meta.concrete_fields}
        options = {"options" for name in self.changed_data if name.startswith(PREFIX)}
        return own & set(self.changed_data) | options

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        options = {}
        for name, option in self.declared.items():
            value = cleaned.get(PREFIX + name)
            if value is None or value == "":
                continue
            try:
                options[name] = option.clean(value)
            except Misconfigured as error:
                self.add_error(PREFIX + name, error.detail)
        self.instance.options = options
        return cleaned


def _field(option: Option, default: Any) -> forms.Field:
    common: dict[str, Any] = {
        "label": _label(option),
        "help_text": option.help,
        "required": False,
    }
    attrs = {"placeholder": _text(default)}
    match option.type:
        case "boolean":
            return forms.TypedChoiceField(
                choices=[("", f"Default: {_text(default)}"), ("true", "yes"), ("false", "no")],
                coerce=lambda value: value == "true",
                empty_value=None,
                widget=UnfoldAdminSelectWidget(),
                **common,
            )
        case "choice":
            return forms.ChoiceField(
                choices=[("", f"Default: {_text(default)}"), *((c, c) for c in option.choices)],
                widget=UnfoldAdminSelectWidget(),
                **common,
            )
        case "integer":
            return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget(attrs), **common)
        case "number":
            attrs["step"] = "any"
            return forms.FloatField(widget=UnfoldAdminDecimalFieldWidget(attrs), **common)
    return forms.CharField(widget=UnfoldAdminTextInputWidget(attrs), **common)


def _label(option: Option) -> str:
    return f"{option.label} ({option.unit})" if option.unit else option.label


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
