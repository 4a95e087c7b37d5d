"""Whether an actor may use a view at all. What they may see in it is decided by `bots.access`."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from bots import access
from bots.access import Act
from bots.api.authentication import actor_of


class MayAct(BasePermission):
    """Asks `bots.access` about reading, or about what the view says that its method needs."""

    def has_permission(self, request: Request, view: Any) -> bool:
        actor = actor_of(request)
        if actor is None:
            return False
        if request.method not in view.allowed_methods:
            return True  # it is answered with 405
        reading = request.method in ("GET", "HEAD")
        act = Act.READ if reading else view.needs.get(request.method, Act.SEND)
        if not access.may(actor, act):
            if actor.user is not None:
                raise PermissionDenied(f"This needs the permission {act.permission!r}.")
            raise PermissionDenied(f"This needs the scope {act.scope.value!r}.")
        return True
