"""The door for platforms that call us: /hooks/{bot}/.

No session, no CSRF, no token of ours: whether a request is genuine the platform's own code says.
Bots that are unknown, switched off, or whose platform calls nobody look all the same from here.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.common import no_append_slash
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from bots import webhooks
from bots.api import outside
from bots.models import Bot
from bots.refusals import Busy
from spaces.platforms import registry
from spaces.platforms.contract import Ability
from spaces.platforms.errors import Forbidden, Misconfigured, PlatformError, Rejected
from spaces.platforms.messages import WebhookRequest, WebhookResponse

log = logging.getLogger(__name__)

LONGEST_BODY = 1024 * 1024  # bytes
RETRY_SECONDS = 5


@csrf_exempt
@no_append_slash
@require_http_methods(["GET", "POST"])  # slash commands may come as either
def hook(request: HttpRequest, slug: str) -> HttpResponse:
    if refused := _refused_body(request):
        return refused
    try:
        bot = _bot(slug)
        if bot is None:
            return _say(404, "There is nothing here.")
        answer = _serve(bot, _read(request))
    except UnreadablePostError:
        return _say(400, "The request cannot be read.")
    except Forbidden as error:
        log.warning("a webhook for %s was refused: %s", slug, error.detail)
        return _say(403, "This is not for you.")
    except Rejected as error:
        log.warning("a webhook for %s makes no sense: %s", slug, error.detail)
        return _say(400, "This is no webhook.")
    except (PlatformError, Misconfigured) as error:
        log.warning("a webhook for %s cannot be read: %s", slug, error.detail)
        return _later()
    except (OperationalError, InterfaceError):
        log.exception("a webhook for %s cannot be stored", slug)
        return _later()
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)


def _serve(bot: Bot, request: WebhookRequest) -> WebhookResponse:
    try:
        with outside.place():
            return webhooks.serve(bot, request, patience=webhooks.LONGEST_SECONDS)
    except Busy:
        # So many wait for others already: what comes now is stored and answered at once.
        return webhooks.serve(bot, request, patience=0)


def _bot(slug: str) -> Bot | None:
    bots = Bot.objects.select_related("space", "connection").filter(slug=slug, enabled=True)
    bot = bots.first()
    platform = registry.platforms().get(bot.space.platform) if bot else None
    return bot if platform and Ability.WEBHOOK in platform.abilities else None


def _read(request: HttpRequest) -> WebhookRequest:
    return WebhookRequest(
        method=request.method or "",
        headers={name.lower(): value for name, value in request.headers.items()},
        query=request.META.get("QUERY_STRING", ""),
        body=request.body,
    )


def _refused_body(request: HttpRequest) -> HttpResponse | None:
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text and request.META.get("HTTP_TRANSFER_ENCODING"):
        # Django reads exactly Content-Length bytes: without one the body would seem to be empty.
        return _say(411, "Send a Content-Length instead of chunks.")
    if text and not (text.isascii() and text.isdigit()):
        return _say(400, "Content-Length is not a number.")
    most = min(LONGEST_BODY, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    if len(text) > 18 or int(text or 0) > most:
        return _say(413, f"A webhook may have {most} bytes.")
    return None


def _say(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


def _later() -> HttpResponse:
    response = _say(503, "Not now; try again later.")
    response["Retry-After"] = str(RETRY_SECONDS)
    return response
