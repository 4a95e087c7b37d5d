"""The doors of the web: around each request, whoever made it is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from bots import who
from bots.access import Actor
from bots.who import By, Door


class Doors:
    """Says who is at work. Whoever that is, is looked up when something is changed, if ever: most
    requests only read."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        def find() -> By:
            return _by(request)

        with who.found_by(find):
            response = self.get_response(request)
        if _may_go_on(request, response):
            # What is told step by step may also be done step by step, after this.
            told = cast(Any, response)
            told.streaming_content = _step_by_step(told.streaming_content, find)
        return response


def _may_go_on(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether something may still be changed while the response is told: not by files, and not by
    the API, whose streams only read."""
    if isinstance(response, FileResponse) or _door(request) is Door.API:
        return False
    return isinstance(response, StreamingHttpResponse)


def _step_by_step(content: Iterable[bytes], find: Callable[[], By]) -> Iterator[bytes]:
    steps = iter(content)
    while True:
        with who.found_by(find):  # and in between the thread is nobody's
            step = next(steps, None)
        if step is None:
            return
        yield step


def _door(request: HttpRequest) -> Door:
    return Door.API if request.path_info.startswith("/api/") else Door.ADMIN


def _by(request: HttpRequest) -> By:
    actor: Actor | None = getattr(request, "actor", None)  # the API knows holders of tokens
    if actor is not None:
        return who.of(actor, _door(request))
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return who.ITSELF  # such as a platform that calls
    return By(label=user.get_username(), key=f"user:{user.pk}", door=_door(request))
