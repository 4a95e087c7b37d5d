"""Errors as `application/problem+json` (RFC 9457), whoever raised them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any

from django.core.exceptions import (
    NON_FIELD_ERRORS,
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, JsonResponse, UnreadablePostError
from rest_framework import exceptions, serializers
from rest_framework.fields import get_error_detail
from rest_framework.response import Response
from rest_framework.views import set_rollback

from bots.refusals import Busy, Refused
from bots.scrub import scrub
from spaces.platforms.errors import Misconfigured, PlatformError, RateLimited, Unavailable

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
CODES = {
    400: "invalid",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    411: "length_required",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "throttled",
    500: "internal_error",
    503: "unavailable",
    507: "no_room",
}
# What a file system says that has no room for a file, or not for one of that size.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WHOLE = "non_field_errors"  # what is wrong with the request as a whole


class ProblemSerializer(serializers.Serializer):
    """What went wrong (RFC 9457). `code` is stable; `errors` names the fields of a 400."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]  # a field called as DRF's attribute
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    status: int
    detail: str
    code: str = ""
    errors: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code or CODES.get(self.status, "error"),
        }
        return body | ({"errors": dict(self.errors)} if self.errors else {})

    def response(self) -> JsonResponse:
        """For those outside of REST framework's views."""
        return JsonResponse(
            self.body(), status=self.status, headers=self.headers, content_type=CONTENT_TYPE
        )


def handler(error: Exception, context: dict[str, Any]) -> Response:
    """REST framework's exception handler. What nobody expected is logged and tells nothing."""
    set_rollback()
    problem = of(error)
    if isinstance(error, IntegrityError) or (
        problem.status >= 500 and not isinstance(error, Unavailable | Busy)
    ):
        request = context["request"]
        log.error("%s %s failed", request.method, request.path, exc_info=error)
    response = Response(problem.body(), status=problem.status, headers=dict(problem.headers))
    renderer = getattr(context["request"], "accepted_renderer", None)
    if renderer is None or renderer.format == "json":
        response.content_type = CONTENT_TYPE
    return response


def of(error: Exception) -> Problem:
    match error:
        case Refused():
            errors = {error.field: [error.detail]} if error.field else {}
            return Problem(
                status=error.status,
                detail=error.detail,
                code=error.code,
                errors=errors,
                headers={"Retry-After": str(error.retry_after)} if error.retry_after else {},
            )
        case PlatformError() | Misconfigured():
            return _of_platform(error)
        case DjangoValidationError():
            return _invalid(get_error_detail(error))
        case exceptions.ValidationError():
            return _invalid(error.detail)
        case exceptions.APIException():
            return _of_framework(error)
        case Http404():
            return Problem(status=404, detail="There is nothing here, or not for you.")
        case PermissionDenied():
            return Problem(status=403, detail="You may not do this.")
        case RequestDataTooBig():
            return Problem(status=413, detail="The request is too large.")
        case BadRequest() | SuspiciousOperation() | UnreadablePostError():
            return Problem(status=400, detail="The request cannot be read.")
        case DataError():
            # Text or numbers that the database has no room for, past all our own checks.
            return Problem(status=400, detail="The request holds something that cannot be stored.")
        case IntegrityError():
            # Somebody was faster: it is not there any more, or there already.
            return Problem(
                status=409, detail="What this needs was removed or made meanwhile. Look again."
            )
        case OperationalError() | InterfaceError():
            return Problem(
                status=503, detail="The database is away or busy.", headers={"Retry-After": "5"}
            )
        case OSError(errno=number) if number in NO_ROOM:
            return Problem(
                status=507, detail="There is no room for files here; nothing was stored."
            )
    return Problem(status=500, detail="Something broke here; the operators' log has the details.")


def _of_platform(error: PlatformError | Misconfigured) -> Problem:
    detail = scrub(error.detail)
    if isinstance(error, RateLimited):
        wait = str(ceil(error.retry_after))
        return Problem(status=429, detail=detail, code=error.code, headers={"Retry-After": wait})
    status = 503 if isinstance(error, Unavailable) else 422
    return Problem(status=status, detail=detail, code=error.code)


def _of_framework(error: exceptions.APIException) -> Problem:
    headers = {}
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(auth_header)
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(ceil(wait))
    return Problem(status=error.status_code, detail=str(error.detail), headers=headers)


def _invalid(detail: Any) -> Problem:
    errors: dict[str, list[str]] = {}
    for name, text in _flat(detail):
        errors.setdefault(name or WHOLE, []).append(text)
    first_name, (first_text, *_) = next(iter(errors.items()))
    said = first_text if first_name == WHOLE else f"{first_name}: {first_text}"
    return Problem(status=400, detail=said, errors=errors)


def _flat(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested complaints as dotted paths: `messages.3.text`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name in (WHOLE, NON_FIELD_ERRORS) else str(name)
            yield from _flat(inner, ".".join(filter(None, [path, own])))
    elif isinstance(detail, list | tuple):
        for number, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            yield from _flat(inner, f"{path}.{number}".lstrip(".") if nested else path)
    else:
        yield path, str(detail)
