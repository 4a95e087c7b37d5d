"""One message: what can be done with it, and its files; and which messages are pinned."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from bots import pinned
from bots.admin.base import actor_of
from bots.api import outside
from bots.chat import acts, attachments, emoji, fellows, waiting
from bots.chat.bubbles import Shower
from bots.chat.place import bot_of, bots_of, may_write, message_of, room_of
from bots.chat.posting import posted
from bots.chat.talk_views import bad_news, is_piece, told
from bots.chat.timeline import Scope
from bots.models import Bot, Message
from bots.refusals import Refused
from spaces.platforms.errors import Misconfigured, NotFound, PlatformError

PINNED = "pinned"  # in the address of a message that is
DONE = {
    "react": "adds the reaction",
    "unreact": "takes the reaction back",
    "edit": "changes the text",
    "delete": "deletes the message",
    "pin": "pins the message",
    "unpin": "unpins the message",
}


@require_safe
def sheet(request: HttpRequest, slug: str, room_id: int, message_id: int) -> HttpResponse:
    bot, message = _message(request, slug, room_id, message_id)
    return _sheet(request, bot, message, acts.ActForm(message))


@posted
def act(request: HttpRequest, slug: str, room_id: int, message_id: int, name: str) -> HttpResponse:
    bot, message = _message(request, slug, room_id, message_id)
    if name not in acts.ACTS:
        raise Http404
    form = acts.ActForm(message, request.POST)
    if form.is_valid():
        try:
            job_id = acts.submit(bot, message, name, form, actor_of(request))
        except Refused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.detail)
        else:
            back = reverse("chat:room", args=[slug, room_id])
            return told(request, waiting.told(job_id, DONE[name]), back)
    return _sheet(request, bot, message, form)


def _sheet(request: HttpRequest, bot: Bot, message: Message, form: acts.ActForm) -> HttpResponse:
    fellows.introduce([message.sender], bots_of(request))
    shower = Shower(Scope(bot=bot, room=message.channel), may_write=may_write(request))
    offers = acts.offers(bot, message) if may_write(request) else {}
    # Only who comes from the pinned ones was told by the platform how it is.
    known = {name: offer for name, offer in offers.items() if name != "pin"}
    context = {
        "bubble": shower.one(message),
        "bot": bot,
        "room": message.channel,
        "message": message,
        "form": form,
        "offers": known if PINNED in request.GET else offers,
        "common": emoji.COMMON,
        "thread_url": reverse("chat:thread", args=[bot.slug, message.channel_id, message.pk]),
    }
    return _shown(request, "chat/message.html", "Message", context)


@require_safe
def pinned_sheet(request: HttpRequest, slug: str, room_id: int) -> HttpResponse:
    """Nobody tells of pins, so the platform is asked each time."""
    bot = bot_of(request, slug)
    room = room_of(bot, room_id)
    shower = Shower(Scope(bot=bot, room=room), may_write=may_write(request))
    context: dict[str, Any] = {"bot": bot, "room": room}
    try:
        with outside.place():
            rows = pinned.read(bot, room)
    except Refused as refused:
        context["error"] = refused.detail
    except (PlatformError, Misconfigured) as error:
        context["error"] = bad_news(error)
    else:
        fellows.introduce((row.sender for row in rows), bots_of(request))
        context["bubbles"] = [
            (shower.one(row), f"{reverse('chat:message', args=[slug, room_id, row.pk])}?{PINNED}")
            for row in rows
        ]
    return _shown(request, "chat/pinned.html", "Pinned messages", context)


def _shown(
    request: HttpRequest, template: str, title: str, context: dict[str, Any]
) -> HttpResponse:
    """In the dialog of the page, or as a page of its own."""
    if is_piece(request):
        return TemplateResponse(request, template, context)
    around = {"title": title, "sheet": template}
    whole = {**admin.site.each_context(request), **context, **around}
    return TemplateResponse(request, "chat/sheet_page.html", whole)


# Files --------------------------------------------------------------------------------------------


@require_safe
def file(
    request: HttpRequest, slug: str, room_id: int, message_id: int, number: int
) -> HttpResponseBase:
    bot, message = _message(request, slug, room_id, message_id)
    try:
        return attachments.download(bot, message, number)
    except Refused as refused:
        messages.error(request, refused.detail)
    except (PlatformError, Misconfigured) as error:
        messages.error(request, f"The file was not fetched. {bad_news(error)}")
    return redirect("chat:room", slug, room_id)


@require_safe
def image(
    request: HttpRequest, slug: str, room_id: int, message_id: int, number: int
) -> HttpResponseBase:
    bot, message = _message(request, slug, room_id, message_id)
    try:
        return attachments.image(bot, message, number)
    except NotFound as error:
        raise Http404 from error
    except Refused as refused:
        return HttpResponse(refused.detail, status=refused.status, content_type="text/plain")
    except (PlatformError, Misconfigured) as error:
        return HttpResponse(bad_news(error), status=502, content_type="text/plain")


def _message(request: HttpRequest, slug: str, room_id: int, message_id: int) -> tuple[Bot, Message]:
    bot = bot_of(request, slug)
    message = message_of(bot, room_of(bot, room_id), message_id)
    return bot, message
