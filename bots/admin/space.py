"""Spaces: choose a platform, then fill in what it declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from bots import access, lifecycle
from bots.admin import looks, platforms
from bots.admin.base import OperatorAdmin, actor_of
from bots.admin.bot_many import NAMED
from bots.admin.options import NONE_STORED, OptionsForm, fieldsets, option_fields, shown
from bots.models import Bot
from bots.refusals import Refused
from spaces.models import Space
from spaces.models.space import KEPT
from spaces.platforms import registry
from spaces.platforms.contract import Platform, declared_options

KEPT_FIELDSET = (
    "Retention",
    {
        "fields": KEPT,
        "classes": ["collapse"],  # which an error in it opens
        "description": "What is older is removed, little by little. What still waits, or is "
        "uncertain, stays however old it is.",
    },
)


class AddressInput(UnfoldAdminTextInputWidget):
    """The admin's own one repeats the address as a link beside the field."""

    input_type = "url"


class SpaceForm(OptionsForm):
    platform: ClassVar[type[Platform]]

    class Meta:
        model = Space
        fields = ("name", "slug", *KEPT)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.instance.platform = self.platform.name
        self.kept = [name for name in KEPT if name in self.fields]
        for name in self.kept:
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        for name in self.kept:
            if cleaned.get(name) is None and name not in self.errors:  # left empty: as it was
                cleaned[name] = self.get_initial_for_field(self.fields[name], name)
        return cleaned


def form_for(platform: type[Platform], stored: Mapping[str, Any] = NONE_STORED) -> type[SpaceForm]:
    """`stored` are the options of a space that is there."""
    declared = declared_options(platform, "space")
    return type(
        "SpaceForm",
        (SpaceForm,),
        {**option_fields(declared, {}, stored), "declared": declared, "platform": platform},
    )


@admin.register(Space)
class SpaceAdmin(OperatorAdmin):
    list_display = ("name", "slug", "platform_shown", "url", "bots_shown")
    ordering = ("name", "pk")
    search_fields = ("name", "slug", "url")
    # The form's own field for URLs would guess a scheme that is missing.
    formfield_overrides = {models.URLField: {"form_class": forms.CharField, "widget": AddressInput}}
    empty_hint = (
        "A space is one installation of a chat platform. Add the first one, then add a bot to it."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Space]:
        mine = Q(bots__in=access.bots(actor_of(request)))
        return super().get_queryset(request).annotate(bot_count=Count("bots", filter=mine))

    # What a space says goes for all its bots: only those who see all bots have a say in it.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and actor_of(request).sees_all

    def has_change_permission(self, request: HttpRequest, obj: Space | None = None) -> bool:
        # Nobody can say what is valid for a platform that is not here.
        installed = obj is None or platforms.find(obj.platform) is not None
        may_change = super().has_change_permission(request, obj) and actor_of(request).sees_all
        return installed and may_change

    def has_delete_permission(self, request: HttpRequest, obj: Space | None = None) -> bool:
        return super().has_delete_permission(request, obj) and actor_of(request).sees_all

    # Form ---------------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self._platform(request, None) is None and self.has_add_permission(request):
            return platforms.choose(
                request,
                self,
                title="Add space: which platform?",
                choices=[
                    platforms.Choice(
                        label=p.label,
                        detail="Needs the address of its server."
                        if p.needs_url
                        else "Needs no server.",
                        url=f"?platform={name}",
                    )
                    for name, p in sorted(registry.platforms().items())
                ],
                nothing="No platform is installed.",
            )
        return super().add_view(request, form_url, extra_context)

    def _platform(self, request: HttpRequest, obj: Space | None) -> type[Platform] | None:
        return platforms.find(obj.platform if obj else request.GET.get("platform", ""))

    def get_form(
        self, request: HttpRequest, obj: Space | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        platform = self._platform(request, obj)
        if platform is not None and not self._only_viewed(request, obj):
            kwargs["form"] = form_for(platform, obj.options if obj else NONE_STORED)
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Space | None = None) -> Any:
        platform = self._platform(request, obj)
        fields = ["platform_shown", "name", "slug"]
        if platform is None or platform.needs_url:
            fields.append("url")
        if platform is None or self._only_viewed(request, obj):
            return [(None, {"fields": [*fields, "options_shown"]}), KEPT_FIELDSET]
        declared = declared_options(platform, "space")
        return [
            (None, {"fields": fields}),
            *fieldsets(
                declared,
                option_fields(declared, {}, obj.options if obj else NONE_STORED),
                {
                    "classes": ["collapse"],
                    "description": "A field left empty follows the default, which it shows.",
                },
            ),
            KEPT_FIELDSET,
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Space | None = None) -> Any:
        return ("platform_shown", "options_shown", *(["slug"] if obj else []))

    def get_prepopulated_fields(
        self, request: HttpRequest, obj: Space | None = None
    ) -> dict[str, Any]:
        return {} if obj else {"slug": ("name",)}

    def _only_viewed(self, request: HttpRequest, obj: Space | None) -> bool:
        return obj is not None and not self.has_change_permission(request, obj)

    # Saving -------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Space, form: Any, change: bool) -> None:
        if change:
            lifecycle.space_changed(obj, fields=form.changed_fields())
        else:
            obj.save()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Not every single channel and message by name: a space may hold millions.
        spaces = list(objs)
        bots = Bot.objects.filter(space__in=spaces).order_by("name", "pk")
        named = [f"Bot {name}" for name in bots.values_list("name", flat=True)[:NAMED]]
        if more := bots.count() - len(named):
            named.append(f"and {more:,} more")
        told = [f"{space} with its channels and people" for space in spaces]
        return told, {self.opts.verbose_name_plural: len(spaces)}, set(), named

    def delete_model(self, request: HttpRequest, obj: Space) -> None:
        lifecycle.delete_space(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Space]) -> None:
        for space in queryset:
            try:
                lifecycle.delete_space(space)
            except Refused as refused:
                messages.error(request, refused.detail)

    # Columns ------------------------------------------------------------------------------------

    @display(description="Platform", ordering="platform")
    def platform_shown(self, space: Space) -> str:
        return platforms.label(space.platform)

    @display(description="Bots", ordering="bot_count")
    def bots_shown(self, space: Any) -> int:
        return int(space.bot_count)

    @display(description="Options")
    def options_shown(self, space: Space) -> str:
        platform = platforms.find(space.platform)
        if platform is None:
            return looks.pretty(space.options)
        return looks.pairs(shown(declared_options(platform, "space"), space.options))
