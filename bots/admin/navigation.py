"""The sidebar: what somebody may see, in the order in which they need it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from bots.access import Act
from bots.admin.base import may
from bots.models import (
    ApiToken,
    AuditEntry,
    Bot,
    BulkAction,
    Delivery,
    Event,
    HandlerRun,
    Incident,
    Job,
    JobGroup,
    Lane,
    Message,
    Process,
    Subscription,
)
from spaces.models import Channel, Person, Space

# Title of the group → models with their icons.
GROUPS: dict[str, tuple[tuple[type[Model], str], ...]] = {
    "Operate": (
        (Bot, "smart_toy"),
        (Channel, "forum"),
        (Message, "chat"),
        (JobGroup, "group_add"),
        (Job, "assignment"),
        (BulkAction, "checklist"),
        (Event, "bolt"),
        (Incident, "warning"),
        (Subscription, "webhook"),
        (Delivery, "outbox"),
    ),
    "Configure": (
        (Space, "hub"),
        (ApiToken, "key"),
        (Person, "contacts"),
        (User, "person"),
        (Group, "group"),
    ),
    "System": (
        (AuditEntry, "history"),
        (HandlerRun, "play_circle"),
        (Lane, "format_list_numbered"),
        (Process, "memory"),
    ),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    groups = (
        {"title": title, "items": [*_first(request, title), *_items(request, models)]}
        for title, models in GROUPS.items()
    )
    shown: list[dict[str, Any]] = [group for group in groups if group["items"]]
    for group in shown[1:]:
        group["separator"] = True
    return shown


def _first(request: HttpRequest, title: str) -> list[dict[str, Any]]:
    """Pages that are no list of rows, before those that are."""
    if title != "Operate" or not may(request, Act.READ):
        return []
    return [
        {"title": "Fleet", "icon": "dashboard", "link": reverse("admin:index")},
        {"title": "Chat", "icon": "chat_bubble", "link": reverse("chat:choose")},
    ]


def _items(
    request: HttpRequest, models: tuple[tuple[type[Model], str], ...]
) -> list[dict[str, Any]]:
    return [
        {
            "title": str(meta.verbose_name_plural)[:1].upper() + str(meta.verbose_name_plural)[1:],
            "icon": icon,
            "link": reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
        }
        for model, icon in models
        for meta in [model._meta]
        if admin.site.get_model_admin(model).has_view_or_change_permission(request)
    ]
