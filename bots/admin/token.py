"""API tokens: made here, shown once, stored as a hash."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from bots import access
from bots.access import Actor
from bots.admin import looks
from bots.admin.base import ListAdmin, actor_of, plain
from bots.admin.untouched import UntouchedForm, offer_too
from bots.models import ApiToken, Bot, Scope
from spaces.api.fields import LAST_YEAR


class TokenForm(UntouchedForm):
    """Nobody gives a token more than they have themselves; what it has, it keeps until somebody
    takes it away."""

    actor: ClassVar[Actor]

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "all_bots", "bots", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            labels = dict(Scope.choices)
            offer_too(self.fields["scopes"], self.instance.scopes, "not yours to give", labels)

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if "expires_at" in self.changed_data and expires_at and expires_at <= timezone.now():
            raise forms.ValidationError("This time has passed.")
        if expires_at and expires_at.year > LAST_YEAR:
            raise forms.ValidationError("Leave it empty for a token that never expires.")
        return expires_at

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("all_bots") and not self.actor.sees_all:
            self.add_error("all_bots", "You do not see all bots yourself.")
        if "bots" in cleaned:
            cleaned["bots"] = [*cleaned["bots"], *self._bots_of_others()]
            if not cleaned["bots"] and not cleaned.get("all_bots"):
                self.add_error("bots", "Choose bots, or all of them.")
        return cleaned

    def _bots_of_others(self) -> list[Bot]:
        """Those it has that this person does not see, and so cannot have taken away."""
        if self.instance.pk is None:
            return []
        visible = access.bots(self.actor).values("pk")
        return list(self.instance.bots.exclude(pk__in=visible))


def form_for(actor: Actor) -> type[TokenForm]:
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.label) for scope in Scope if scope in actor.scopes],
        help_text="Read looks only; Send makes bots do things; Manage changes their settings.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    return type("TokenForm", (TokenForm,), {"scopes": scopes, "actor": actor})


@admin.register(ApiToken)
class ApiTokenAdmin(ListAdmin):
    list_display = ("name", "hint_shown", "scopes_shown", "bots_shown", "expires_shown", "used")
    search_fields = ("name", "hint")
    autocomplete_fields = ("bots",)
    empty_hint = "A program needs a token to use the REST API. Add one; it is shown once."
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens = super().get_queryset(request).annotate(bot_count=Count("bots"))
        actor = actor_of(request)
        return tokens if actor.sees_all else tokens.filter(created_by=actor.user)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = form_for(actor_of(request))
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        facts = ["hint_shown", "used", "created_shown"] if obj else []
        return [(None, {"fields": ["name", "scopes", "all_bots", "bots", "expires_at", *facts]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("hint_shown", "used", "created_shown")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = access.bots(actor_of(request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return plain(super().formfield_for_dbfield(db_field, request, **kwargs))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user
            obj.text = obj.set_text()  # for `response_add`; never stored
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Your new API token",
            "token": obj,
            "text": obj.text,
        }
        return TemplateResponse(request, "admin/bots/token_made.html", context)

    @display(description="Begins with")
    def hint_shown(self, token: ApiToken) -> str:
        return f"{token.hint}…"

    @display(description="Scopes")
    def scopes_shown(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @display(description="Bots")
    def bots_shown(self, token: Any) -> str:
        return "all" if token.all_bots else str(token.bot_count)

    @display(description="Expires", ordering="expires_at")
    def expires_shown(self, token: ApiToken) -> str:
        if token.expired:
            return looks.badge("expired", "danger")
        return looks.moment(token.expires_at) if token.expires_at else "never"

    @display(description="Last used", ordering="last_used_at")
    def used(self, token: ApiToken) -> str:
        return looks.moment(token.last_used_at)

    @display(description="Created")
    def created_shown(self, token: ApiToken) -> str:
        by = f" by {token.created_by.get_username()}" if token.created_by else ""
        return f"{looks.moment(token.created_at)}{by}"
