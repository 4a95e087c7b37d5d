"""The audit log: who changed what, before and after."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, TextFilter
from unfold.decorators import display

from bots import audit
from bots.admin import history, looks
from bots.admin.base import BOT_FILTER, GrowingAdmin
from bots.models import AuditEntry
from bots.targets import as_id

FIELDS_NAMED = 4  # of what was changed, in the list

# What the filter offers; each is `kind.what`, and a new one needs a line here to be offered.
ACTIONS = (
    *("bot.created", "bot.changed", "bot.deleted", "bot.started", "bot.stopped"),
    *("bot.reconnected", "bot.synced", "bot.tested", "bot.added_untested"),
    *("bot.credentials_not_used", "bot.written_to"),
    *("credential.set", "credential.replaced", "credential.removed", "credential.changed"),
    *("space.created", "space.changed", "space.deleted"),
    *("job_group.run", "job_group.retried", "job_group.cancelled", "job_group.undone"),
    *("lane.paused", "lane.resumed", "lane.drained", "lane.cancelled"),
    *("job.cancelled", "job.retried", "job.resolved"),
    *("handler_run.retried", "delivery.retried"),
    *("subscription.created", "subscription.changed", "subscription.deleted"),
    *("subscription.paused", "subscription.resumed", "subscription.replayed"),
    *("subscription.secret_rotated", "subscription.tested"),
    *("token.created", "token.changed", "token.deleted"),
    *("user.created", "user.changed", "user.deleted"),
    *("group.created", "group.changed", "group.deleted"),
)


class Who(TextFilter):
    title = "who"
    parameter_name = "who"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (name := (self.value() or "").strip()):
            return queryset
        return queryset.filter(Q(actor_label=name) | Q(actor_key=name))


class What(DropdownFilter):
    title = "what"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action, AuditEntry(action=action).action_shown) for action in sorted(ACTIONS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class Object(TextFilter):
    """`bot:12`, as links have it, or the name that it had."""

    title = "object"
    parameter_name = "object"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (text := (self.value() or "").strip()):
            return queryset
        kind, _, object_id = text.partition(":")
        if as_id(object_id) is None:
            return queryset.filter(label=text)
        return history.about(queryset, kind, object_id)


class Since(TextFilter):
    title = "earliest time, such as 2026-01-31 14:00"
    parameter_name = "since"
    lookup = "at__gte"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (text := (self.value() or "").strip()):
            return queryset
        return queryset.filter(**{self.lookup: _moment(text)})


class Until(Since):
    title = "latest time"
    parameter_name = "until"
    lookup = "at__lt"


def _moment(text: str) -> datetime:
    """In the time zone of the admin. Raises `IncorrectLookupParameters`."""
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)) is not None:
            moment = datetime(day.year, day.month, day.day)
        if moment is None:
            raise IncorrectLookupParameters(f"{text!r} is no time.")
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    except (ValueError, OverflowError) as nonsense:
        raise IncorrectLookupParameters from nonsense


@admin.register(AuditEntry)
class AuditEntryAdmin(GrowingAdmin):
    list_display = ("at_shown", "who", "what", "object_shown", "changed", "door")
    list_filter = (
        Who,
        What,
        Object,
        BOT_FILTER,
        ("door", ChoicesDropdownFilter),
        Since,
        Until,
    )
    search_fields = ("actor_label", "label", "action", "note")
    search_help_text = "A name, or a part of it."

    empty_hint = (
        "Nothing was changed yet, or nothing that you may see. Whatever people and programs change "
        "from now on is told here."
    )
    change_form_outer_after_template = "admin/bots/audit/after.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("at_shown", "door"),
                    ("who_linked", "what_linked"),
                    ("object_linked", "bot_linked"),
                    "note_shown",
                )
            },
        ),
    )

    class Media:
        css: ClassVar = {"all": ("bots/audit.css",)}

    def history_of(self, row: AuditEntry) -> tuple[str, str]:
        return row.kind, row.object_id

    def beside(self, request: HttpRequest, row: AuditEntry) -> dict[str, Any]:
        return {"changes": row.changes}

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        entry = super().get_object(request, object_id, from_field)
        if entry is not None:
            entry.subject = _still_there(request, entry)
        return entry

    @display(description="When")
    def at_shown(self, entry: AuditEntry) -> str:
        return looks.moment(entry.at)

    @display(description="Who")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor_label

    @display(description="What")
    def what(self, entry: AuditEntry) -> str:
        return entry.action_shown

    @display(description="Object")
    def object_shown(self, entry: AuditEntry) -> str:
        return entry.label

    @display(description="Changed")
    def changed(self, entry: AuditEntry) -> str:
        fields = [str(change["field"]) for change in entry.changes]
        more = " …" if len(fields) > FIELDS_NAMED else ""
        return ", ".join(fields[:FIELDS_NAMED]) + more or entry.note or looks.NOTHING

    @display(description="Who")
    def who_linked(self, entry: AuditEntry) -> SafeString:
        return _links((entry.actor_label, ""), ("All they did", _list(who=entry.actor_key)))

    @display(description="What")
    def what_linked(self, entry: AuditEntry) -> SafeString:
        return _links(
            (entry.action_shown, ""), ("Whenever it was done", _list(action=entry.action))
        )

    @display(description="Object")
    def object_linked(self, entry: Any) -> SafeString:
        history = _list(object=f"{entry.kind}:{entry.object_id}")
        return _links(
            (entry.label, _page(entry.subject)),
            ("" if entry.subject else "It is gone, or not for you.", ""),
            ("All that was done to it", history),
        )

    @display(description="Bot")
    def bot_linked(self, entry: AuditEntry) -> str:
        return looks.link(entry.bot)

    @display(description="Note")
    def note_shown(self, entry: AuditEntry) -> str:
        return entry.note or looks.NOTHING


def _still_there(request: HttpRequest, entry: AuditEntry) -> Model | None:
    """The row that it is about, if it has a page that is for this person."""
    for model, page in admin.site._registry.items():
        if audit.kind_of(model) == entry.kind:
            row: Model | None = page.get_object(request, entry.object_id)
            return row if row is not None and page.has_view_permission(request, row) else None
    return None


def _page(row: Model | None) -> str:
    if row is None:
        return ""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def _list(**chosen: str) -> str:
    return f"{reverse('admin:bots_auditentry_changelist')}?{urlencode(chosen)}"


def _links(*parts: tuple[str, str]) -> SafeString:
    """Texts, those with an address as links."""
    told = (
        format_html('<a href="{}" class="text-link">{}</a>', url, text) if url else text
        for text, url in parts
        if text
    )
    return format_html_join(" · ", "{}", ((part,) for part in told))
