"""How values look on every page: badges, times, links, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db.models import Model
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil

from bots.models import State, WorkState

NOTHING = "–"

# How a state looks in bands and figures: what is well first, then what is on its way there, then
# what is not.
TONES: dict[str, str] = {
    State.LIVE: "ok",
    State.CATCHING_UP: "busy",
    State.STARTING: "busy",
    State.RECONNECTING: "warn",
    State.STALE: "warn",
    State.BAD_CREDENTIALS: "bad",
    State.MISCONFIGURED: "bad",
    State.OFF: "idle",
    WorkState.RUNNING: "busy",
    WorkState.SUCCEEDED: "ok",
    WorkState.FAILED: "bad",
    WorkState.UNCERTAIN: "warn",
}
# The colours of badges; what is not named in either is grey.
COLOURS = {"ok": "success", "busy": "info", "warn": "warning", "bad": "danger"}
BLOCK = "white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace"


def badge(text: str, colour: str = "") -> SafeString:
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colour})


@cache
def state(value: str) -> SafeString:
    """There are few of them, and a page has many."""
    return badge(value.replace("_", " "), COLOURS.get(TONES.get(value, ""), ""))


def moment(value: datetime | None) -> str:
    """Day and time, and how long that is from now."""
    if value is None:
        return NOTHING
    shown = formats.date_format(timezone.localtime(value), "j M Y, H:i:s")
    now = timezone.now()
    if abs(value - now) < timedelta(minutes=1):
        return f"{shown} (in\xa0a\xa0moment)" if value > now else f"{shown} (just\xa0now)"
    if value > now:
        return f"{shown} (in\xa0{timeuntil(value, depth=1)})"
    return f"{shown} ({timesince(value, depth=1)}\xa0ago)"


def yes(value: bool) -> str:
    """Yes or no without judging: a red cross beside "archived" looks like a fault."""
    return "yes" if value else "no"


def pretty(value: Any) -> SafeString | str:
    """JSON to read; what is in it is shown, never interpreted."""
    if value in (None, "", {}, []):
        return NOTHING
    return block(json.dumps(value, indent=2, ensure_ascii=False))


def block(text: str) -> SafeString | str:
    """Text as it is, line by line."""
    return format_html('<pre style="{}">{}</pre>', BLOCK, text) if text else NOTHING


def pairs(values: Mapping[str, Any]) -> SafeString | str:
    """Names and values, one line each."""
    lines = (
        (name.replace("_", " "), _plain(value))
        for name, value in values.items()
        if value not in (None, "", [], {})
    )
    return (
        format_html_join(
            "",
            '<div class="flex flex-row gap-4 mb-2"><span class="font-semibold min-w-32">{}</span>'
            '<span class="min-w-0" style="white-space: pre-wrap; overflow-wrap: anywhere">{}</span>'
            "</div>",
            lines,
        )
        or NOTHING
    )


def link(row: Model | None, text: str = "") -> SafeString | str:
    if row is None:
        return NOTHING
    meta = row._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}" class="text-link">{}</a>', url, text or str(row))


def table(headers: Iterable[str], rows: Iterable[Iterable[Any]]) -> dict[str, Any]:
    """What the table component of the templates takes."""
    return {"headers": list(headers), "rows": [list(row) for row in rows]}


def _plain(value: Any) -> Any:
    match value:
        case bool():
            return yes(value)
        case {"username": _, "id": _}:
            return value["username"] or value.get("email") or value["id"]
        case list():
            return "\n".join(str(_plain(item)) for item in value)
        case dict():
            return json.dumps(value, indent=2, ensure_ascii=False)
    return value
