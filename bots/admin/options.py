"""Options as form fields: what a platform declares becomes fields, what is filled in becomes JSON.

A field left empty stays out of the JSON, so that the default, which may change, keeps applying.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
WORDS = {"true": "Yes", "false": "No"}


def option_fields(
    declared: Mapping[str, Option], inherited: Mapping[str, Any]
) -> dict[str, forms.Field]:
    """A field for each option by the field's name; `inherited` values win over defaults."""
    return {
        PREFIX + name: _field(option, inherited.get(name, option.default))
        for name, option in declared.items()
    }


def fieldsets(declared: Mapping[str, Option], look: Mapping[str, Any]) -> list[Any]:
    """All options for the page of a row: those of no group as `look` says, each group folded."""
    usual, *groups = _by_group(declared).items()
    return [
        ("Options", {**look, "fields": usual[1]}),
        *((name, {"fields": fields, "classes": ["collapse"]}) for name, fields in groups),
    ]


def shown(declared: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, str]:
    """The options that are set, for people to read."""
    return {
        _label(declared[name]): _text(declared[name], value)
        for name, value in values.items()
        if name in declared
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A group of options."""

    name: str
    fields: list[forms.BoundField]

    @property
    def is_open(self) -> bool:
        return any(field.errors for field in self.fields)


class OptionsForm(forms.ModelForm):
    """A form for a row with `options`, made for one platform by a subclass that adds the fields."""

    declared: ClassVar[Mapping[str, Option]] = {}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name, value in self.instance.options.items():
            choice = str(value).lower() if isinstance(value, bool) else value
            self.initial.setdefault(PREFIX + name, choice)

    def usual_options(self) -> list[forms.BoundField]:
        return [self[name] for name in _by_group(self.declared)[""]]

    def folds(self) -> list[Fold]:
        return [
            Fold(name=group, fields=[self[name] for name in names])
            for group, names in _by_group(self.declared).items()
            if group
        ]

    def opens_fold(self) -> bool:
        return any(fold.is_open for fold in self.folds())

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
    attrs = {"placeholder": _text(option, default)}
    match option.type:
        case "boolean":
            return forms.TypedChoiceField(
                choices=_choices(("true", "false"), default=str(default)),
                coerce=lambda value: value == "true",
                empty_value=None,
                widget=UnfoldAdminSelectWidget(),
                **common,
            )
        case "choice":
            return forms.ChoiceField(
                choices=_choices(option.choices, default=default),
                widget=UnfoldAdminSelectWidget(),
                **common,
            )
        case "integer":
            return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget(attrs), **common)
        case "number":
            attrs["step"] = "any"
            return forms.FloatField(widget=UnfoldAdminDecimalFieldWidget(attrs), **common)
    return forms.CharField(widget=UnfoldAdminTextInputWidget(attrs), **common)


def _by_group(declared: Mapping[str, Option]) -> dict[str, list[str]]:
    """The names of the fields; those of no group come first, under no name."""
    groups: dict[str, list[str]] = {"": []}
    for name, option in declared.items():
        groups.setdefault(option.group, []).append(PREFIX + name)
    return groups


def _choices(values: Iterable[str], *, default: str) -> list[tuple[str, str]]:
    """All values, that of the default too: it stays what was chosen when the default changes."""
    return [("", f"Default: {_words(default)}"), *((value, _words(value)) for value in values)]


def _label(option: Option) -> str:
    return f"{option.label} ({option.unit})" if option.unit else option.label


def _text(option: Option, value: Any) -> str:
    if isinstance(value, bool) or option.type == "choice":
        return _words(str(value))
    return str(value)


def _words(choice: str) -> str:
    return WORDS.get(choice.lower()) or choice.replace("_", " ").capitalize()
