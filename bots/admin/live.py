"""Pieces of a page that follow by themselves.

A page holds `{% include "admin/bots/live.html" with live=piece %}`, and the view at `piece.url`
answers `follow(request, piece)`. The browser asks every few seconds while somebody looks, says
which version it has, and is sent a new one only when there is one. What somebody has focused stays
focused, and a `<details>` with an id stays open. What the template marks with `data-news` is read
out to those who do not see the page, whenever its words are new: a state, an end, not each figure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

SECONDS = 3.0  # between two looks
TOKEN = re.compile(r'(?<="csrfmiddlewaretoken" value=")[^"]*')  # another one each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one view shows of a page, as it is now."""

    name: str  # of the element, unique on the page
    url: str
    html: SafeString
    every: float = SECONDS  # 0: nothing will change any more

    @property
    def mark(self) -> str:
        html = TOKEN.sub("", self.html)
        return blake2b(f"{self.every} {html}".encode(), digest_size=8).hexdigest()


def piece(
    request: HttpRequest,
    name: str,
    url: str,
    template: str,
    context: dict[str, Any],
    *,
    every: float = SECONDS,
) -> Piece:
    html = render_to_string(template, context, request)
    return Piece(name=name, url=url, html=html, every=every)


def follow(request: HttpRequest, now: Piece) -> HttpResponse:
    """Answers the browser: 204 while it has this version, else the piece anew."""
    if request.headers.get("X-Mark") == now.mark:
        answer = HttpResponse(status=204)
    else:
        answer = HttpResponse(render_to_string("admin/bots/live.html", {"live": now}, request))
    answer["X-Mark"] = now.mark
    answer["Cache-Control"] = "no-store"
    return answer
