"""The form of a new space on the way to a bot: its name and where it is; the rest is folded."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.forms import modelform_factory
from django.utils.text import slugify
from unfold.widgets import UnfoldAdminTextInputWidget

from bots.admin.space import AddressInput, SpaceForm, form_for
from spaces.models import Space
from spaces.platforms.contract import Platform

SLUG_HELP = (
    "Short name used by the API and in logs: small letters, digits, hyphens. Cannot be changed "
    "later. Left empty, it is made from the name."
)


PLAIN = ("name", "slug", "url")


class SlugFromName(forms.ModelForm):
    """A form whose slug follows from the name where none was entered."""

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"] or slugify(self.cleaned_data.get("name", ""))[:50]
        if not slug and "name" not in self.errors:
            raise forms.ValidationError(
                "The name has no letters that it could be made of: enter one."
            )
        return slug

    def free_slug(self) -> None:
        """Leave the slug to the name."""
        field = self.fields["slug"]
        field.required = False
        field.help_text = SLUG_HELP
        field.widget.attrs |= {"data-from": self["name"].auto_id, "autocomplete": "off"}


class NewSpaceForm(SlugFromName, SpaceForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.free_slug()
        self.fields["name"].help_text = "What people here call it: Head Office, Support chat."
        if "url" in self.fields:
            self.fields["url"].required = True
            self.fields[
                "url"
            ].help_text = (
                f"The address at which people open {self.platform.label}, with https:// or http://."
            )

    def plain(self) -> list[forms.BoundField]:
        return [self[name] for name in PLAIN if name in self.fields]

    def folded(self) -> list[forms.BoundField]:
        return self.usual_options()

    def opens_fold(self) -> bool:
        return super().opens_fold() or any(field.errors for field in self.folded())


def new_space_form(platform: type[Platform]) -> type[NewSpaceForm]:
    base = type("NewSpace", (NewSpaceForm, form_for(platform)), {})
    made: Any = modelform_factory(
        Space,
        form=base,
        fields=("name", "slug", *(("url",) if platform.needs_url else ())),
        # The form's own field for URLs would guess a scheme that is missing.
        field_classes={"url": forms.CharField},
        widgets={
            "name": UnfoldAdminTextInputWidget({"autocomplete": "off"}),
            "slug": UnfoldAdminTextInputWidget(),
            "url": AddressInput({"placeholder": "https://chat.example.org"}),
        },
    )
    return cast(type[NewSpaceForm], made)
