"""What the form below a conversation does, and the buttons beside what is still to be sent."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from bots import jobs, lifecycle
from bots.admin import platforms
from bots.admin.base import actor_of
from bots.chat import older, previewing, waiting
from bots.chat.place import bot_of, message_of, room_of
from bots.chat.posting import posted
from bots.chat.views import desk_context, scope_of
from bots.chat.writing import EVERY, Desk, Sketch, Words
from bots.models import Bot, Job
from bots.refusals import Refused
from bots.targets import LARGEST_ID
from spaces.models import Channel
from spaces.platforms import registry
from spaces.platforms.errors import Misconfigured, PlatformError

STEPS = {"retry": jobs.retry, "cancel": jobs.cancel}
MOST_ATTACHED = 100


def is_piece(request: HttpRequest) -> bool:
    """Whether the page asks for a piece of itself, and not a browser for a page."""
    return request.headers.get("HX-Request") == "true"


def told(request: HttpRequest, text: str, back: str) -> HttpResponse:
    """It is done: the page says so, and goes on."""
    if not is_piece(request):
        messages.success(request, text)
        return redirect(back)
    answer = HttpResponse(status=204)
    answer["HX-Trigger"] = json.dumps({"chat:told": {"text": text}})
    return answer


def failed(request: HttpRequest, text: str, back: str) -> HttpResponse:
    if not is_piece(request):
        messages.error(request, text)
        return redirect(back)
    answer = HttpResponse(status=204)
    answer["HX-Trigger"] = json.dumps({"chat:failed": {"text": text}})
    return answer


def bad_news(error: PlatformError | Misconfigured) -> str:
    """What a platform said against it, and what next, without secrets."""
    finding = lifecycle.bad_news(error)
    return f"{finding.text} {finding.remedy}".strip()


@posted
def say(
    request: HttpRequest, slug: str, room_id: int, thread_id: int | None = None
) -> HttpResponse:
    desk = _desk(request, slug, room_id, thread_id)
    form = Words(desk, request.POST, request.FILES)
    text = ""
    if form.is_valid():
        try:
            text = form.send(actor_of(request))
        except Refused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.detail)
    if not is_piece(request):
        if not text:
            messages.error(request, f"It was not sent. {_first_error(form)}")
        else:
            messages.success(request, text)
        return redirect(_back(desk))
    if text:
        form = Words(desk, initial=form.again())
    answer = render(request, "chat/desk.html", {"desk": desk_context(request, desk, form)})
    if text:
        answer["HX-Trigger"] = json.dumps({"chat:told": {"text": text, "focus": desk.name}})
    return answer


@posted
def preview(
    request: HttpRequest, slug: str, room_id: int, thread_id: int | None = None
) -> HttpResponse:
    desk = _desk(request, slug, room_id, thread_id)
    form = Sketch(desk, request.POST)
    shown: list[previewing.Preview] = []
    if form.is_valid():
        own = desk.bot.space.platform
        every = [own, *sorted(name for name in registry.platforms() if name != own)]
        names = every if form.cleaned_data["on"] == EVERY else [own]
        shown = previewing.previews(form.draft(), _attached(request), names)
    return render(request, "chat/preview.html", {"form": form, "previews": shown})


@posted
def steer(request: HttpRequest, slug: str, room_id: int, job_id: int, name: str) -> HttpResponse:
    """Retry or cancel what was asked for here."""
    bot, room = _place(request, slug, room_id)
    step = STEPS.get(name)
    if step is None or job_id > LARGEST_ID:
        raise Http404
    job = get_object_or_404(Job, bot=bot, channel=room, pk=job_id)
    back = reverse("chat:room", args=[slug, room_id])
    try:
        step(job)
    except Refused as refused:
        return failed(request, refused.detail, back)
    done = "is tried again" if name == "retry" else "is cancelled"
    return told(request, waiting.told(job.pk, done), back)


@posted
def read_older(request: HttpRequest, slug: str, room_id: int) -> HttpResponse:
    bot, room = _place(request, slug, room_id)
    back = reverse("chat:room", args=[slug, room_id])
    try:
        count = older.read(bot, room)
    except Refused as refused:
        return failed(request, refused.detail, back)
    except (PlatformError, Misconfigured) as error:
        return failed(request, bad_news(error), back)
    if not count:
        return told(
            request,
            f"The platform told nothing new: its newest {older.MOST} messages are known here.",
            back,
        )
    more = "message" if count == 1 else "messages"
    return told(request, f"Read from the platform: {count:,} more {more}.", back)


def _place(request: HttpRequest, slug: str, room_id: int) -> tuple[Bot, Channel]:
    bot = bot_of(request, slug)
    return bot, room_of(bot, room_id)


def _desk(request: HttpRequest, slug: str, room_id: int, thread_id: int | None) -> Desk:
    bot, room = _place(request, slug, room_id)
    if platforms.find(bot.space.platform) is None:
        raise Http404  # its package went away, and nobody can write
    if thread_id is None:
        return Desk(bot=bot, room=room)
    top = scope_of(bot, room, message_of(bot, room, thread_id)).top()
    if top is None:
        raise Http404
    return Desk(bot=bot, room=room, top=top)


def _back(desk: Desk) -> str:
    if desk.top:
        return reverse("chat:thread", args=[desk.bot.slug, desk.room.pk, desk.top.pk])
    return reverse("chat:room", args=[desk.bot.slug, desk.room.pk])


def _first_error(form: Words) -> str:
    return next((str(errors[0]) for errors in form.errors.values()), "")


def _attached(request: HttpRequest) -> list[previewing.Attached]:
    """Name and size of the files that were chosen, as the page tells them; they stay there."""
    try:
        given: Any = json.loads(request.POST.get("attached", "[]"))
    except (ValueError, RecursionError):
        return []
    return [
        previewing.Attached(name=name[:255], size=size)
        for one in (given if isinstance(given, list) else [])[:MOST_ATTACHED]
        if isinstance(one, dict)
        and isinstance(name := one.get("name"), str)
        and isinstance(size := one.get("size"), int)
    ]
