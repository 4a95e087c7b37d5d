"""The OpenAPI document: what every operation has in common."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework.request import Request

from bots.api.problems import CONTENT_TYPE, ProblemSerializer

EVERYWHERE = (400, 401, 403, 404, 405, 406, 500, 503)
ASKING = (422, 429)
WITH_BODY = (409, 411, 413, 415, 422, 429)


class Schema(AutoSchema):
    """Adds the problems that an operation can answer with."""

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if not self.view.authentication_classes:
            return bodies
        reading = ASKING if getattr(self.view, "asks_platform", False) else ()
        statuses = EVERYWHERE + (reading if self.method == "GET" else WITH_BODY)
        for status in statuses:
            bodies.setdefault(str(status), self._problem(status))
        return dict(sorted(bodies.items()))

    def _problem(self, status: int) -> dict[str, Any]:
        component = self.resolve_serializer(ProblemSerializer, "response")
        return {
            "description": HTTPStatus(status).phrase,
            "content": {CONTENT_TYPE: {"schema": component.ref}},
        }


class Generator(SchemaGenerator):
    """Made once per process: the document is the same for everybody, and takes a second."""

    def get_schema(self, request: Request | None = None, public: bool = False) -> Any:
        return _document()


@cache
def _document() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)
