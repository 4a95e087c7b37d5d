"""Whether an actor may use a view at all. What they may see in it is decided by `bots.access`."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from bots.api.authentication import actor_of
from bots.models import Scope


class HasScope(BasePermission):
    """Reading needs the scope `read`; everything else the view's `acting_scope`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        actor = actor_of(request)
        if actor is None:
            return False
        if request.method not in view.allowed_methods:
            return True  # it is answered with 405
        reading = request.method in ("GET", "HEAD")
        needed = Scope.READ if reading else Scope(view.acting_scope)
        if needed not in actor.scopes:
            raise PermissionDenied(f"This needs the scope {needed.value!r}.")
        return True
