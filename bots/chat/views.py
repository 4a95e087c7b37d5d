"""The pages: which bot, its rooms, a conversation, a thread; and their pieces that follow."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from bots import naming
from bots.access import Act
from bots.admin import live, looks, platforms
from bots.admin.base import may
from bots.chat import fellows, rooms, timeline
from bots.chat.bubbles import Shower
from bots.chat.place import bot_of, bots_of, may_write, message_of, room_of
from bots.chat.timeline import Cursor, Scope, Window
from bots.chat.writing import Desk, Words
from bots.connections import states
from bots.models import Bot, Message, State
from bots.targets import as_id
from spaces.models import Channel
from spaces.platforms.contract import Ability

REMEMBERED = "chat_bot"  # in the session: the slug of the bot that was looked at last
BOTS_SHOWN = 50
LONGEST_SEARCH = 100
FOLLOW_SECONDS = 2.0
QUIET = (State.LIVE, State.CATCHING_UP)  # states in which the bot hears what is said


# Which bot ----------------------------------------------------------------------------------------


def choose(request: HttpRequest) -> HttpResponse:
    """The bots there are; who comes without a wish gets the one they looked at last."""
    bots = bots_of(request).select_related("space", "connection")
    if not request.GET:
        last = bots.filter(slug=request.session.get(REMEMBERED, "")).first()
        if last is not None:
            return redirect("chat:rooms", last.slug)
    search = _search(request)
    found = list(_matching(search, bots)[: BOTS_SHOWN + 1])
    context = {
        "title": "Chat",
        "bots": [_choice(bot) for bot in found[:BOTS_SHOWN]],
        "more": len(found) > BOTS_SHOWN,
        "search": search,
        "add_url": reverse("admin:bots_bot_add") if may(request, Act.ADD_BOT) else "",
    }
    return _page(request, "chat/choose.html", context)


def _matching(search: str, bots: Any) -> Any:
    named = Q(name__icontains=search) | Q(slug__icontains=search)
    return bots.filter(named | Q(space__name__icontains=search)) if search else bots


def _choice(bot: Bot) -> dict[str, Any]:
    return {
        "bot": bot,
        "state": looks.state(states.shown(bot).state),
        "platform": platforms.label(bot.space.platform),
    }


# Rooms --------------------------------------------------------------------------------------------


def rooms_page(request: HttpRequest, slug: str) -> HttpResponse:
    bot = bot_of(request, slug)
    return _page(request, "chat/page.html", _frame(request, bot, None))


def rooms_piece(request: HttpRequest, slug: str) -> HttpResponse:
    return live.follow(request, _rooms(request, bot_of(request, slug)))


def state_piece(request: HttpRequest, slug: str) -> HttpResponse:
    return live.follow(request, _state(request, bot_of(request, slug)))


def _frame(request: HttpRequest, bot: Bot, room: Channel | None) -> dict[str, Any]:
    """What stands around every conversation of the bot."""
    if request.session.get(REMEMBERED) != bot.slug:  # every write may undo that of another tab
        request.session[REMEMBERED] = bot.slug
    search = _search(request)
    return {
        "title": f"Chat: {bot}",
        "bot": bot,
        "room": room,
        "pane": "talk" if room else "rooms",
        "search": search,
        "state": _state(request, bot),
        "rooms": _rooms(request, bot, room),
        "archived": rooms.archived(bot, search, bots_of(request)),
        "writes": may_write(request),
    }


def _rooms(request: HttpRequest, bot: Bot, room: Channel | None = None) -> live.Piece:
    search, limit = _search(request), _limit(request)
    here = room.pk if room else as_id(request.GET.get("here", ""))
    listed = rooms.active(bot, search, limit, bots_of(request))
    asked: dict[str, str | int] = {"q": search, "rooms": limit, "here": here or ""}
    more = asked | {"rooms": min(limit + rooms.PAGE, rooms.MOST)}
    url = reverse("chat:rooms_piece", args=[bot.slug])
    context = {
        "bot": bot,
        "listed": listed,
        "here": here,
        "search": search,
        "more_url": f"{url}?{urlencode(more)}" if listed.more and limit < rooms.MOST else "",
        "first_steps": _first_steps(bot) if may_write(request) else [],
    }
    return live.piece(request, "rooms", f"{url}?{urlencode(asked)}", "chat/rooms.html", context)


def _first_steps(bot: Bot) -> list[tuple[str, str]]:
    """Where a bot without rooms gets one: label and address."""
    platform = platforms.find(bot.space.platform)
    steps = [("Open the bot's page", reverse("admin:bots_bot_change", args=[bot.pk]))]
    if platform is not None and Ability.CREATE_CHANNEL in platform.abilities:
        ask = reverse("admin:bots_bot_ask", args=[bot.pk, "create-channel"])
        steps.insert(0, ("Create a channel", ask))
    return steps


def _state(request: HttpRequest, bot: Bot) -> live.Piece:
    shown = states.shown(bot)
    context = {
        "badge": looks.state(shown.state),
        "shown": shown,
        "is_quiet": shown.state in QUIET,
        "bot": bot,
    }
    url = reverse("chat:state_piece", args=[bot.slug])
    return live.piece(request, "state", url, "chat/state.html", context)


def _search(request: HttpRequest) -> str:
    return request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH]


def _limit(request: HttpRequest) -> int:
    asked = as_id(request.GET.get("rooms", "")) or rooms.PAGE
    return min(max(asked, rooms.PAGE), rooms.MOST)


# Conversations ------------------------------------------------------------------------------------


def room_page(request: HttpRequest, slug: str, room_id: int) -> HttpResponse:
    bot = bot_of(request, slug)
    room = room_of(bot, room_id)
    context = _frame(request, bot, room) | _talk(request, bot, room)
    return _page(request, "chat/page.html", context)


def thread_page(request: HttpRequest, slug: str, room_id: int, thread_id: int) -> HttpResponse:
    bot = bot_of(request, slug)
    room = room_of(bot, room_id)
    message = message_of(bot, room, thread_id)
    scope = scope_of(bot, room, message)
    top = scope.top()
    thread: dict[str, Any] = {
        "pane": "thread",
        "thread": message,
        "thread_log": _log(request, scope, timeline.newest(scope), message),
        "thread_desk": desk_context(request, Desk(bot=bot, room=room, top=top)) if top else None,
    }
    context = _frame(request, bot, room) | _talk(request, bot, room) | thread
    return _page(request, "chat/page.html", context)


def scope_of(bot: Bot, room: Channel, message: Message) -> Scope:
    """The thread that this message is in, or at the top of."""
    return Scope(bot=bot, room=room, thread=message.thread or message.remote_id)


def _talk(request: HttpRequest, bot: Bot, room: Channel) -> dict[str, Any]:
    scope = Scope(bot=bot, room=room)
    desk = Desk(bot=bot, room=room)
    platform = platforms.find(bot.space.platform)
    abilities = platform.abilities if platform else frozenset()
    return {
        "room_name": naming.name(bot, room),
        "log": _log(request, scope, timeline.newest(scope)),
        "desk": desk_context(request, desk),
        "people": desk.people,
        "can_read_older": Ability.HISTORY in abilities and may_write(request),
        "has_pins": Ability.PIN in abilities,
    }


def desk_context(request: HttpRequest, desk: Desk, form: Words | None = None) -> dict[str, Any]:
    """What the form below a conversation needs; nothing for those who only look."""
    why_not = _why_not(request, desk)
    args = [desk.bot.slug, desk.room.pk, *([desk.top.pk] if desk.top else [])]
    prefix = "chat:thread_" if desk.top else "chat:"
    return {
        "name": desk.name,
        "why_not": why_not,
        "form": (form or Words(desk)) if not why_not else None,
        "has_markdown": not why_not and desk.has_markdown,
        "say_url": reverse(f"{prefix}say", args=args),
        "preview_url": reverse(f"{prefix}preview", args=args),
        "bot": desk.bot,
    }


def _why_not(request: HttpRequest, desk: Desk) -> str:
    if not may_write(request):
        return "You may read here and not write."
    if platforms.find(desk.bot.space.platform) is None:
        return "Nobody can write here: the package that brings the platform is not installed."
    return desk.why_not()


def log(
    request: HttpRequest, slug: str, room_id: int, thread_id: int | None = None
) -> HttpResponse:
    """The messages from `from` on, unless the page shows just these; or those before `before`."""
    bot = bot_of(request, slug)
    room = room_of(bot, room_id)
    message = message_of(bot, room, thread_id) if thread_id is not None else None
    scope = scope_of(bot, room, message) if message else Scope(bot=bot, room=room)
    if before := Cursor.parse(request.GET.get("before", "")):
        window = timeline.earlier(scope, before)
        return render(request, "chat/items.html", {"log": _log(request, scope, window, message)})
    first = Cursor.parse(request.GET.get("from", ""))
    window = timeline.since(scope, first) if first else timeline.newest(scope)
    if request.headers.get("X-Mark") == window.mark:
        answer = HttpResponse(status=204)
    else:
        shown = _log(request, scope, window, message)
        answer = render(request, "chat/items.html", {"log": shown})
    answer["X-Mark"] = window.mark
    answer["Cache-Control"] = "no-store"
    return answer


def _log(
    request: HttpRequest, scope: Scope, window: Window, message: Message | None = None
) -> dict[str, Any]:
    args = [scope.bot.slug, scope.room.pk, *([message.pk] if message else [])]
    url = reverse("chat:thread_log" if message else "chat:log", args=args)
    fellows.introduce(window.everybody(), bots_of(request))
    shower = Shower(scope, may_write=may_write(request))
    return {
        "name": "thread" if message else "room",
        "url": url,
        "every": FOLLOW_SECONDS,
        "mark": window.mark,
        "items": shower.items(window),
        "earlier_url": f"{url}?{urlencode({'before': str(window.earlier)})}"
        if window.earlier
        else "",
    }


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context})
