"""What only those do who may write, and nobody by looking at its address."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from bots.admin.posting import looked_at
from bots.chat.place import bot_of, require_writing, room_of


def posted(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Whoever looks at it is led to the room, or the thread, that it belongs to."""

    @wraps(view)
    def answer(request: HttpRequest, slug: str, room_id: int, **rest: Any) -> HttpResponse:
        require_writing(request)
        if request.method == "POST":
            return view(request, slug, room_id, **rest)
        room = room_of(bot_of(request, slug), room_id)
        if "thread_id" in rest:
            return looked_at(
                request, reverse("chat:thread", args=[slug, room.pk, rest["thread_id"]])
            )
        return looked_at(request, reverse("chat:room", args=[slug, room.pk]))

    return answer
