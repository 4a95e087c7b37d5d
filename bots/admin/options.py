"""Options as form fields: what a platform declares becomes fields, what is filled in becomes JSON.

A field left empty stays out of the JSON, so that the default, which may change, keeps applying. A
text that is to be empty all the same has a box to tick. What is stored and not offered any more, by
its name, its type or as a choice, stays until somebody chooses otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from django import forms
from django.utils.html import escape
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from bots.admin.untouched import UntouchedForm
from bots.audit import told_of_option
from spaces.platforms.contract import Option
from spaces.platforms.errors import Misconfigured

PREFIX = "option_"
NOTHING = "nothing_"  # the field of a text that is empty on purpose
AS_IT_IS = "="  # the choice of what is stored and not offered any more
NONE_STORED: Mapping[str, Any] = MappingProxyType({})
BOOLEANS = {"true": True, "false": False}
WORDS = {"true": "Yes", "false": "No"}


def option_fields(
    declared: Mapping[str, Option],
    inherited: Mapping[str, Any],
    stored: Mapping[str, Any] = NONE_STORED,
) -> dict[str, forms.Field]:
    """The fields for these options by name; `inherited` values win over defaults. Also for those
    that are `stored` and not declared any more."""
    fields: dict[str, forms.Field] = {}
    for name, option in declared.items():
        default = inherited.get(name, option.default)
        if name in stored and not _fits(option, stored[name]):
            fields[PREFIX + name] = _field_of_misfit(option, default, stored[name])
            continue
        fields[PREFIX + name] = field = _field(option, default)
        is_nothing = stored.get(name) == ""
        if is_nothing:
            field.widget.attrs["placeholder"] = ""
        if is_nothing or (option.type == "text" and default):
            fields[NOTHING + name] = _field_of_nothing(option, default)
    unknown = (name for name in stored if name not in declared)
    return fields | {PREFIX + name: _field_of_unknown(name, stored[name]) for name in unknown}


def fieldsets(
    declared: Mapping[str, Option], fields: Collection[str], look: Mapping[str, Any]
) -> list[Any]:
    """The fields of all options for the page of a row: those of no group as `look` says, each group
    folded, and then those that are not declared any more."""
    usual, *groups = _by_group(declared, fields).items()
    return [
        ("Options", {**look, "fields": usual[1]}),
        *((name, {"fields": names, "classes": ["collapse"]}) for name, names in groups),
        *_fieldset_of_unknown(_unknown(declared, fields)),
    ]


def _fieldset_of_unknown(names: list[str]) -> list[Any]:
    if not names:
        return []
    told = "The platform does not know these any more. They stay until you remove them."
    return [("Options of another version", {"fields": names, "description": told})]


def shown(declared: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, str]:
    """The options that are set, for people to read."""
    told = {
        _label(declared[name]): _text(declared[name], value) or "nothing at all"
        for name, value in values.items()
        if name in declared
    }
    unknown = (name for name in values if name not in declared)
    return told | {
        f"{name} (not known any more)": told_of_option(name, values[name]) for name in unknown
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A group of options."""

    name: str
    fields: list[forms.BoundField]

    @property
    def is_open(self) -> bool:
        return any(field.errors for field in self.fields)


class OptionsForm(UntouchedForm):
    """A form for a row with `options`, made for one platform by a subclass that adds the fields."""

    declared: ClassVar[Mapping[str, Option]] = {}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name, value in self.instance.options.items():
            option = self.declared.get(name)
            choice = str(value).lower() if isinstance(value, bool) else value
            fits = option is not None and _fits(option, value)
            self.initial.setdefault(PREFIX + name, choice if fits else AS_IT_IS)
            self.initial.setdefault(NOTHING + name, value == "")

    def usual_options(self) -> list[forms.BoundField]:
        return [self[name] for name in _by_group(self.declared, self.fields)[""]]

    def folds(self) -> list[Fold]:
        return [
            Fold(name=group, fields=[self[name] for name in names])
            for group, names in _by_group(self.declared, self.fields).items()
            if group
        ]

    def opens_fold(self) -> bool:
        return any(fold.is_open for fold in self.folds())

    def changed_fields(self) -> set[str]:
        """Names of the row's own fields that this form changes."""
        own = {field.name for field in self._meta.model._meta.concrete_fields}
        options = {"options" for name in self.changed_data if name.startswith((PREFIX, NOTHING))}
        return own & set(self.changed_data) | options

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        stored = self.instance.options
        options = {}
        for name in dict.fromkeys((*self.declared, *stored)):
            if {PREFIX + name, NOTHING + name}.isdisjoint(self.changed_data):
                if name in stored:
                    options[name] = stored[name]
            elif (value := self._entered(name)) is not None:
                options[name] = value
        self.instance.options = options
        return cleaned

    def _entered(self, name: str) -> Any:
        """The value of an option; None for one that is to follow the default, or has an error."""
        value = self.cleaned_data.get(PREFIX + name)
        is_nothing = bool(self.cleaned_data.get(NOTHING + name))
        if value is None or value == "":
            return "" if is_nothing else None
        if is_nothing:
            self.add_error(NOTHING + name, "Take the tick away, or empty the field above.")
            return None
        try:
            return self.declared[name].clean(value)
        except Misconfigured as error:
            self.add_error(PREFIX + name, error.detail)
            return None


def _fits(option: Option, value: Any) -> bool:
    """Whether the field for an option can hold a value. What is out of bounds can be seen, too."""
    match option.type:
        case "boolean":
            return isinstance(value, bool)
        case "choice":
            return value in option.choices
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


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
                choices=_choices(BOOLEANS, default=str(default)),
                coerce=BOOLEANS.__getitem__,
                empty_value=None,
                widget=UnfoldAdminSelectWidget(),
                **common,
            )
        case "choice":
            return forms.ChoiceField(
                choices=_choices(option.choices, default=str(default)),
                widget=UnfoldAdminSelectWidget(),
                **common,
            )
        case "integer":
            return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget(attrs), **common)
        case "number":
            attrs["step"] = "any"
            return forms.FloatField(widget=UnfoldAdminDecimalFieldWidget(attrs), **common)
    return forms.CharField(widget=UnfoldAdminTextInputWidget(attrs), **common)


def _field_of_nothing(option: Option, default: Any) -> forms.Field:
    # Templates print help texts as they are.
    instead = f"instead of “{escape(default)}”" if default else "whatever the default becomes"
    return forms.BooleanField(
        label=f"{option.label}: nothing at all",
        required=False,
        help_text=f"Tick it to have none, {instead}.",
        widget=UnfoldBooleanWidget(),
    )


def _field_of_misfit(option: Option, default: Any, value: Any) -> forms.Field:
    """For a stored value that cannot be entered any more: keep it, or choose what can be."""
    is_boolean = option.type == "boolean"
    told = told_of_option(option.name, value)
    choices = _choices(BOOLEANS if is_boolean else option.choices, default=str(default))
    why = "It was set before and cannot be chosen any more; it stays until you choose another."
    return forms.TypedChoiceField(
        label=_label(option),
        required=False,
        choices=[*choices, (AS_IT_IS, f"As it is: {told}")],
        coerce=lambda choice: BOOLEANS.get(choice, choice) if is_boolean else choice,
        help_text=f"{why} {option.help}".strip(),
        widget=UnfoldAdminSelectWidget(),
    )


def _field_of_unknown(name: str, value: Any) -> forms.Field:
    return forms.ChoiceField(
        label=name,
        required=False,
        choices=[(AS_IT_IS, f"Keep: {told_of_option(name, value)}"), ("", "Remove it")],
        widget=UnfoldAdminSelectWidget(),
    )


def _by_group(declared: Mapping[str, Option], fields: Collection[str]) -> dict[str, list[str]]:
    """The names of the fields; those of no group come first, under no name."""
    groups: dict[str, list[str]] = {"": []}
    for name, option in declared.items():
        names = groups.setdefault(option.group, [])
        names += [PREFIX + name, *([NOTHING + name] if NOTHING + name in fields else [])]
    return groups


def _unknown(declared: Mapping[str, Option], fields: Collection[str]) -> list[str]:
    names = (name for name in fields if name.startswith(PREFIX))
    return [name for name in names if name.removeprefix(PREFIX) not in declared]


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
