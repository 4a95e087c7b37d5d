"""The front page: how the fleet is, who needs somebody, what is going on, what waits.

Its pieces follow by themselves (`bots.admin.live`); what each says is in `bots.admin.fleet`. The
number of queries is the same for ten bots and for thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from bots.access import Act
from bots.admin import live
from bots.admin.base import may
from bots.admin.fleet import attention, bots, running, traffic, work
from bots.admin.fleet.scope import Scope
from bots.admin.fleet.tour import tour
from bots.admin.live import Piece


def _now(scope: Scope) -> dict[str, Any]:
    figures, lines = bots.figures(scope), running.lines(scope)
    return {
        "troubles": [line for line in lines if line.next_step],
        "running": [line for line in lines if not line.next_step],
        "figures": figures,
        "total": sum(figure.count for figure in figures),
    }


PIECES: dict[str, Callable[[Scope], dict[str, Any]]] = {
    "tour": lambda scope: {"steps": tour(scope)},
    "now": _now,
    "attention": attention.found,
    "traffic": traffic.found,
    "work": work.found,
}


def front(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the template of the front page shows."""
    add_url = reverse("admin:bots_bot_add") if may(request, Act.ADD_BOT) else ""
    context |= {"title": "Fleet", "add_url": add_url}
    if not may(request, Act.READ):
        return context
    scope = Scope.of(request)
    names = list(PIECES) if scope.bots().exists() else _without_bots(scope)
    return context | {"pieces": {name: _piece(request, scope, name) for name in names}}


def _without_bots(scope: Scope) -> list[str]:
    """Nothing but zeros would be said by the others."""
    return ["tour", "now", *(["attention"] if scope.incidents().exists() else [])]


@admin.site.admin_view
def follow(request: HttpRequest, name: str) -> HttpResponse:
    """A piece as it is now, for a page that is open."""
    if name not in PIECES:
        raise Http404
    if not may(request, Act.READ):
        raise PermissionDenied
    return live.follow(request, _piece(request, Scope.of(request), name))


def _piece(request: HttpRequest, scope: Scope, name: str) -> Piece:
    template = f"admin/bots/fleet/{name}.html"
    url = reverse("fleet", args=[name])
    return live.piece(request, f"fleet-{name}", url, template, PIECES[name](scope))
