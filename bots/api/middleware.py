"""What REST framework never gets to see, below /api/, told in the same words as all else."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.response import Response

from bots.api.problems import CONTENT_TYPE, Problem

DETAILS = {
    400: "The request cannot be read.",
    403: "You may not do this.",
    404: "There is nothing here. Paths of this API end with a slash.",
    405: "This method is not offered here.",
    500: "Something broke here; the operators' log has the details.",
}
KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")


class Problems:
    """Refuses bodies that are too large before they are read, and turns Django's own error pages
    into problems: unknown paths, foreign hosts, and what breaks outside of a view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith("/api/"):
            return self.get_response(request)
        if problem := _refused_body(request):
            return problem.response()
        response = self.get_response(request)
        if response.status_code < 400 or _told(response):
            return response
        detail = DETAILS.get(response.status_code, "The request failed.")
        headers = {name: response[name] for name in KEPT_HEADERS if response.has_header(name)}
        return Problem(status=response.status_code, detail=detail, headers=headers).response()


def _told(response: HttpResponseBase) -> bool:
    return isinstance(response, Response) or (
        isinstance(response, HttpResponse)
        and response.headers.get("Content-Type", "") == CONTENT_TYPE
    )


def _refused_body(request: HttpRequest) -> Problem | None:
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text and request.META.get("HTTP_TRANSFER_ENCODING"):
        # Django reads exactly Content-Length bytes: without one the body would seem to be empty.
        return Problem(status=411, detail="Send a Content-Length instead of chunks.")
    if text and not (text.isascii() and text.isdigit()):
        return Problem(status=400, detail="Content-Length is not a number.")
    most = settings.BOTADMIN_MAX_BODY_BYTES
    if len(text) > 18 or int(text or 0) > most:
        return Problem(status=413, detail=f"A request may have {most} bytes.")
    return None
