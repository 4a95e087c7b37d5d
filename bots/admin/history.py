"""What is behind History on the page of a row: what the audit log says of it."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from bots import access
from bots.access import Actor
from bots.admin import looks
from bots.models import AuditEntry

LATEST = 50


def about(entries: QuerySet[AuditEntry], kind: str, object_id: str) -> QuerySet[AuditEntry]:
    """Those about one object; about a bot also those about its credentials, jobs and lanes."""
    exactly = Q(kind=kind, object_id=object_id)
    return entries.filter(exactly | Q(bot=object_id) if kind == "bot" else exactly)


def shown(actor: Actor, kind: str, object_id: str) -> dict[str, Any]:
    """The latest of them, for `admin/bots/audit/history.html`."""
    found = about(access.audit_entries(actor), kind, object_id).order_by("-pk")
    entries: list[Any] = list(found[: LATEST + 1])
    for entry in entries:
        entry.moment = looks.moment(entry.at)
        entry.is_about_part = entry.kind != kind
    chosen = urlencode({"object": f"{kind}:{object_id}"})
    return {
        "entries": entries[:LATEST],
        "more": len(entries) > LATEST,
        "all_url": f"{reverse('admin:bots_auditentry_changelist')}?{chosen}",
    }
