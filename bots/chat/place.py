"""Which bot, room and message a request is about, and who asks. What somebody may not see does not
exist for them."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from bots import access, targets
from bots.access import Act
from bots.admin.base import actor_of, may
from bots.models import Bot, Message
from bots.targets import LARGEST_ID
from spaces.models import Channel


def require_reading(request: HttpRequest) -> None:
    if not may(request, Act.READ):
        raise PermissionDenied


def require_writing(request: HttpRequest) -> None:
    if not may_write(request):
        raise PermissionDenied


def may_write(request: HttpRequest) -> bool:
    return may(request, Act.SEND)


def bots_of(request: HttpRequest) -> QuerySet[Bot]:
    """Raises `PermissionDenied` for those who may see no bot at all."""
    require_reading(request)
    return access.bots(actor_of(request))


def bot_of(request: HttpRequest, slug: str) -> Bot:
    """Raises `Http404`, and `PermissionDenied` as `bots_of` does."""
    rows = bots_of(request).select_related("space", "connection", "person")
    return get_object_or_404(rows, slug=slug)


def room_of(bot: Bot, room_id: int) -> Channel:
    """A channel that the bot takes part in."""
    return get_object_or_404(targets.channels_of(bot), pk=_known(room_id))


def message_of(bot: Bot, room: Channel, message_id: int) -> Message:
    rows = Message.objects.select_related("sender", "channel")
    return get_object_or_404(rows, bot=bot, channel=room, pk=_known(message_id))


def _known(row_id: int) -> int:
    if row_id > LARGEST_ID:
        raise Http404
    return row_id
