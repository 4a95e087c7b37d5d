"""What all pages have in common: who sees what, buttons, and tables that grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db import DataError, transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, checkbox
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RelatedDropdownFilter,
    TextFilter,
)
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from bots import access, audit
from bots.access import Act, Actor
from bots.admin import history
from bots.admin.posting import looked_at
from bots.models import AuditEntry, Bot, BulkAction, Delivery, Subscription
from bots.refusals import Refused
from bots.targets import as_id
from spaces.models import Channel, Person, Space

ANY_ROW = "any-row"

VISIBLE: dict[type[Model], Callable[[Actor], QuerySet[Any]]] = {
    Bot: access.bots,
    Space: access.spaces,
    Channel: access.channels,
    Person: access.people,
    Subscription: access.subscriptions,
    Delivery: access.deliveries,
    AuditEntry: access.audit_entries,
    BulkAction: access.bulk_actions,
}


def actor_of(request: HttpRequest) -> Actor:
    """Who asks; the admin lets in nobody else. Raises `PermissionDenied` all the same."""
    actor = access.from_user(request.user)
    if actor is None:
        raise PermissionDenied
    return actor


def may(request: HttpRequest, act: Act) -> bool:
    actor = access.from_user(request.user)
    return actor is not None and access.may(actor, act)


def plain(field: Any) -> Any:
    """A form field without the buttons that add and change what it refers to."""
    if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
        field.widget = field.widget.widget
    return field


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A button that does something at once: one call to the core with the row."""

    label: str
    icon: str
    run: Callable[[HttpRequest, Any], str]  # returns what to tell, empty when it told itself
    offered: Callable[[Any], bool] = lambda row: True
    variant: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button as the templates show it; `why_not` is set when it cannot be pressed."""

    label: str
    icon: str
    url: str
    posts: bool
    variant: str = "default"
    why_not: str = ""
    attrs: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        attrs = {"disabled": "disabled", "title": self.why_not} if self.why_not else {}
        object.__setattr__(self, "attrs", attrs)


class Rows(ChangeList):
    """The rows of a list. Filters that no database can look for, typed by hand, are answered as
    Django answers those that make no sense."""

    is_dataset = False  # unfold's templates ask, and Django takes long to find that it is missing

    @cached_property
    def _query_strings(self) -> dict[str, str]:
        return {}

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Made once: unfold asks for those of the columns with each row."""
        asked = repr((new_params, remove))
        if asked not in self._query_strings:
            self._query_strings[asked] = super().get_query_string(new_params, remove)
        return self._query_strings[asked]

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        chosen: dict[str, Any] = super().get_filters_params(params)
        # PostgreSQL has no text with it; it would say so in the middle of a transaction.
        if any("\0" in value for values in chosen.values() for value in values):
            raise IncorrectLookupParameters
        return chosen

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
            len(self.result_list)  # read here, where nonsense can still be answered
        except (OverflowError, ValueError, DataError) as nonsense:
            raise IncorrectLookupParameters from nonsense


class ListAdmin(ModelAdmin):
    """What all lists have in common, also those of accounts and tokens.

    What their forms add, change and delete is told in the audit log, and nowhere else: Django's
    own log would be a second truth.
    """

    list_sections: Sequence[Any] = ()  # asked for with each row; else as `Rows.is_dataset`

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Rows

    def action_checkbox(self, obj: Any) -> SafeString:
        return SafeString(_checkbox().replace(ANY_ROW, str(obj.pk)))

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        # The last one, not the first: what cannot be taken back is nothing to slip into.
        if delete := actions.pop("delete_selected", None):
            actions["delete_selected"] = delete
        return actions

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        with ExitStack() as changes:
            if request.method == "POST":
                changes.enter_context(audit.together())
                row = self.get_object(request, unquote(object_id)) if object_id else None
                if row is not None and self.has_change_permission(request, row):
                    changes.enter_context(audit.changing(row))
            return super().changeform_view(request, object_id, form_url, extra_context)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        audit.created(obj)  # now that it has all that belongs to it

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Told by the form that changes it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Told when they go."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            audit.deleted(obj)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            for row in queryset:
                audit.deleted(row)
            super().delete_queryset(request, queryset)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What the audit log says of a row."""
        row = self.get_object(request, unquote(object_id))
        if row is None or not self.has_view_or_change_permission(request, row):
            return super().history_view(request, object_id, extra_context)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": row,
            "title": f"History: {row}",
            **history.shown(actor_of(request), *self.history_of(row)),
            "back": reverse(
                f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk]
            ),
        }
        return TemplateResponse(request, "admin/bots/audit/history.html", context)

    def history_of(self, row: Any) -> tuple[str, str]:
        """Kind and id of what the history of a row is about."""
        return audit.kind_of(row), str(row.pk)


class OperatorAdmin(ListAdmin):
    """Rows that belong to bots. What somebody may not see does not exist for them."""

    presses: ClassVar[dict[str, Press]] = {}
    empty_hint = ""  # what to do first when the list is empty
    list_filter_submit = True
    show_facets = None  # they would count the whole table
    change_form_outer_before_template = "admin/bots/buttons.html"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request, Act.READ)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, Act.SEND)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        actor = actor_of(request)
        if actor.sees_all:
            return rows
        if self.model in VISIBLE:
            return rows & VISIBLE[self.model](actor)
        # Asked for first: knowing how many they are, PostgreSQL reads the newest rows only, and not
        # all of these bots.
        return rows.filter(bot__among=set(access.bots(actor).values_list("pk", flat=True)))

    def visible(self, request: HttpRequest, pk: int) -> Any:
        """The row, for views of its page's pieces. Raises `PermissionDenied` and `Http404`."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(self.get_queryset(request), pk=pk)

    # Buttons ------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:pk>/do/<slug:name>/",
                self.admin_site.admin_view(self.press),
                name=self._url_name("do"),
            ),
            *super().get_urls(),
        ]

    def press(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """Do what a button says, and go back to where it says that it stands: without a word, on
        the page of the row."""
        row = get_object_or_404(self.get_queryset(request), pk=pk)
        button = self.presses.get(name)
        if button is None or not self.has_operate_permission(request, row):
            raise PermissionDenied
        if request.method != "POST":
            return looked_at(request, self.url("change", row.pk))
        try:
            told = button.run(request, row)
        except Refused as refused:
            messages.error(request, refused.detail)
        else:
            if told:
                messages.success(request, told)
        back = request.POST.get("next", "")
        # A bare word would be looked up as the name of a view.
        is_ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
        return redirect(back if is_ours else self.url("change", row.pk))

    def buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        if not self.has_operate_permission(request, row):
            return []
        return [
            Button(
                label=press.label,
                icon=press.icon,
                url=self.url("do", row.pk, name),
                posts=True,
                variant=press.variant,
            )
            for name, press in self.presses.items()
            if press.offered(row)
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if row := kwargs.get("obj"):
            context |= {"buttons": self.buttons(request, row), **self.beside(request, row)}
        return super().render_change_form(request, context, *args, **kwargs)

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the page of a row shows around its fields."""
        return {}

    def url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{self._url_name(name)}", args=args)

    def _url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    # Many at once -------------------------------------------------------------------------------

    def do_each(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        call: Callable[[Any], object],
        done: str,
    ) -> None:
        """Call the core for each row; count those that worked, name those that did not."""
        refusals: list[Refused] = []
        count = 0
        for row in rows:
            try:
                call(row)
                count += 1
            except Refused as refused:
                refusals.append(refused)
        if count or not refusals:
            messages.success(request, f"{done}: {count}.")
        for refusal in refusals:
            messages.warning(request, refusal.detail)


class ReadOnlyAdmin(OperatorAdmin):
    """Rows that the product writes and people read."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class GrowingAdmin(ReadOnlyAdmin):
    """A table of any size: newest first, page by page, never counted or sorted as a whole."""

    ordering = ["-pk"]
    sortable_by: Sequence[str] = ()
    paginator = InfinitePaginator
    show_full_result_count = False
    list_disable_select_all = True
    list_per_page = 50


class VisibleFilter(RelatedDropdownFilter):
    """Choose among subscriptions: those the actor may see."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[Any, str]]:
        visible = VISIBLE[field.related_model](actor_of(request))
        return list(
            field.get_choices(
                include_blank=False, limit_choices_to={"pk__in": visible.values("pk")}
            )
        )


class SearchedFilter(AutocompleteSelectFilter):
    """Choose among what there may be thousands of: looked up by name while somebody types."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if any(as_id(str(value)) is None for value in self.lookup_val or ()):
            raise IncorrectLookupParameters

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            # What is chosen is shown by its name, which only some may see.
            named = choice["form"].fields[self.lookup_kwarg]
            named.queryset = VISIBLE[self.field.related_model](actor_of(self.request))
            yield choice


class NamedBot(TextFilter):
    """Of one bot, by its short name; links name it by its id."""

    title = "bot (short name)"
    parameter_name = "bot"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (named := str(self.value() or "").strip()):
            return queryset
        wanted = Q(slug=named)
        if (bot_id := as_id(named)) is not None:
            wanted |= Q(pk=bot_id)
        return self.of(queryset, access.bots(actor_of(request)).filter(wanted))

    def of(self, rows: QuerySet[Any], bots: QuerySet[Bot]) -> QuerySet[Any]:
        raise NotImplementedError


@cache
def _checkbox() -> str:
    """Of whichever row: all of a page are alike but for the id."""
    return checkbox.render(ACTION_CHECKBOX_NAME, ANY_ROW)


class OfChannel(TextFilter):
    """What has to do with one channel, by its id."""

    title = "channel id"
    parameter_name = "channel"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        if (channel_id := as_id(str(self.value()))) is None:
            return queryset.none()
        channels = access.channels(actor_of(request)).filter(pk=channel_id)
        return self.of(queryset, channels)

    def of(self, rows: QuerySet[Any], channels: QuerySet[Channel]) -> QuerySet[Any]:
        raise NotImplementedError


STATE_FILTER = ("state", ChoicesDropdownFilter)
KIND_FILTER = ("kind", ChoicesDropdownFilter)
BOT_FILTER = ("bot", SearchedFilter)
CHANNEL_FILTER = ("channel", SearchedFilter)
SUBSCRIPTION_FILTER = ("subscription", VisibleFilter)
