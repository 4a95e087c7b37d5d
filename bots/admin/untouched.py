"""Forms that leave alone what nobody touched.

REST, commands and older versions store what a page cannot hold to the letter: spaces at the ends of
a text, a choice that is not offered any more, a moment with parts of a second. Saving some other
field is no reason to change any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from django import forms
from django.forms.models import model_to_dict
from django.utils.functional import cached_property

UNNAMED: Mapping[str, str] = MappingProxyType({})


class UntouchedForm(forms.ModelForm):
    """A form of a row that is there, or of a new one."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        own = [field.name for field in self.instance._meta.concrete_fields]
        self.stored = {} if self.instance.pk is None else model_to_dict(self.instance, own)

    @cached_property
    def changed_data(self) -> list[str]:
        return [name for name in super().changed_data if not self._looks_the_same(name)]

    def _looks_the_same(self, name: str) -> bool:
        field = self[name]
        match field.field:
            case forms.MultipleChoiceField():
                return set(map(str, field.initial or ())) == set(field.data or ())
            case forms.CharField(widget=forms.TextInput()):
                return _in_a_field(field.initial) == _in_a_field(field.data)
        return False

    def _post_clean(self) -> None:
        for name in self.stored.keys() & self.cleaned_data.keys() - set(self.changed_data):
            self.cleaned_data[name] = self.stored[name]
        super()._post_clean()  # type: ignore[misc]  # the stubs leave it out


def offer_too(
    field: forms.Field, stored: Iterable[str], why: str, labels: Mapping[str, str] = UNNAMED
) -> None:
    """Let what is stored be chosen, too, where a field does not offer it, and say `why` it does
    not."""
    assert isinstance(field, forms.ChoiceField)
    offered = list(cast("Iterable[tuple[Any, Any]]", field.choices))
    known = {str(value) for value, _ in offered}
    missing = [one for one in dict.fromkeys(map(str, stored)) if one not in known]
    field.choices = offered + [(one, f"{labels.get(one, one)} ({why})") for one in missing]


def _in_a_field(text: Any) -> str:
    """As a browser's field of one line holds it, and gives it back."""
    return str(text or "").replace("\r", "").replace("\n", "").strip()
