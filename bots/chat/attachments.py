"""Files of messages: fetched from the platform by the bot, each time somebody wants one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any, TypeVar

from django.http import FileResponse, Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from bots import clients, files
from bots.api import outside
from bots.models import Bot, Message
from spaces.platforms.errors import Rejected

LARGEST_IMAGE = 5 * 1024 * 1024  # bytes
# What a browser draws and never runs: no SVG.
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
CACHED_SECONDS = 3600  # by the browser of who looked; a file never changes

R = TypeVar("R", bound=HttpResponseBase)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFile:
    name: str
    size: int = 0  # bytes
    url: str = ""  # empty while the platform has not said how to fetch it, or has no way
    image_url: str = ""

    @classmethod
    def nameless(cls, count: int) -> ShownFile:
        """Files that are on their way."""
        return cls(name="1 file" if count == 1 else f"{count} files")


def shown_files(bot: Bot, message: Message, *, can_fetch: bool) -> list[ShownFile]:
    return [
        ShownFile(
            name=file["name"] or "file",
            size=file.get("size", 0),
            url=_url("file", bot, message, number) if can_fetch and file["id"] else "",
            image_url=_url("image", bot, message, number)
            if can_fetch and file["id"] and _is_image(file)
            else "",
        )
        for number, file in enumerate(message.files)
    ]


def download(bot: Bot, message: Message, number: int) -> FileResponse:
    """Raises `Http404`, `Busy`, and what the platform raises."""
    info = _info(message, number)
    # Never as what it claims to be: a page of somebody else's making would be one of ours.
    response = FileResponse(
        _content(bot, info["id"]),
        as_attachment=True,
        filename=files.safe_name(info["name"]),
        content_type="application/octet-stream",
    )
    return _guarded(response)


def image(bot: Bot, message: Message, number: int) -> HttpResponse:
    """Raises as `download` does, and `Http404` for what is not shown on the page."""
    info = _info(message, number)
    if not _is_image(info):
        raise Http404
    with _content(bot, info["id"]) as content:
        picture = content.read(LARGEST_IMAGE + 1)
    if len(picture) > LARGEST_IMAGE:
        raise Rejected("The picture is larger than it was said to be.", code="file_too_large")
    response = HttpResponse(picture, content_type=info["content_type"])
    response["Cache-Control"] = f"private, max-age={CACHED_SECONDS}"
    return _guarded(response)


def _guarded(response: R) -> R:
    """Whatever it holds, a browser takes it for nothing else and lets it do nothing."""
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _content(bot: Bot, file_id: str) -> IO[bytes]:
    # A browser asks for several pictures at once.
    with outside.place_soon(), clients.borrow(bot) as platform:
        return files.incoming(platform, file_id)


def _info(message: Message, number: int) -> dict[str, Any]:
    if message.deleted_at or number >= len(message.files) or not message.files[number]["id"]:
        raise Http404
    info: dict[str, Any] = message.files[number]
    return info


def _is_image(info: dict[str, Any]) -> bool:
    size = info.get("size", 0)  # 0: not told, so that it may be anything
    is_small = isinstance(size, int) and 0 < size <= LARGEST_IMAGE
    return info.get("content_type") in IMAGES and is_small


def _url(name: str, bot: Bot, message: Message, number: int) -> str:
    return reverse(f"chat:{name}", args=[bot.slug, message.channel_id, message.pk, number])
