"""Adding in two steps: first what it belongs to, then the fields that follow from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

from spaces.platforms import registry
from spaces.platforms.contract import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    label: str
    detail: str
    url: str


def find(name: str) -> type[Platform] | None:
    """The platform, or None for one whose package went away."""
    return registry.platforms().get(name)


def label(name: str) -> str:
    platform = find(name)
    return platform.label if platform else f"{name} (not installed)"


def choose(
    request: HttpRequest,
    page: Any,
    *,
    title: str,
    choices: Iterable[Choice],
    nothing: str,
    nothing_url: str = "",
) -> TemplateResponse:
    """The first step. `nothing` says what to do when there is nothing to choose from."""
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "title": title,
        "choices": list(choices),
        "nothing": nothing,
        "nothing_url": nothing_url,
    }
    return TemplateResponse(request, "admin/bots/choose.html", context)
