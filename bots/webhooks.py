"""Webhooks: what a platform tells by calling us, and the answer it may get at once.

Nothing is acknowledged that is not stored. Where the platform waits for an answer, the handlers of
its event are given a moment to put one down (`Call.answer` in `bots.handlers`). It is taken here by
ending the job that it is stored as, right before it goes into the response; what is not taken in
time goes out as any other message. What remains is a process that dies between the two, or a
platform that hung up meanwhile: that answer is lost, and its job says that it was given.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from django.db import InterfaceError, OperationalError, connection, transaction

from bots import clients, closing, inbox, jobs
from bots.actions import card_from
from bots.connections import states
from bots.models import Bot, Event, HandlerRun, Job
from bots.models.lane import UNFINISHED
from spaces.platforms.contract import Platform
from spaces.platforms.errors import PlatformError
from spaces.platforms.messages import Answer, Webhook, WebhookRequest, WebhookResponse

log = logging.getLogger(__name__)

LONGEST_SECONDS = 3.0  # an answer is waited for, however long the platform would
MARGIN_SECONDS = 0.5  # of the platform's patience, for the way back
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.1
GROWTH = 1.5


def serve(bot: Bot, request: WebhookRequest, *, patience: float) -> WebhookResponse:
    """Store what the request tells, and wait up to `patience` seconds for a handler's answer.

    Raises what the platform raises about the request, `Misconfigured`, and what the database
    raises; nothing is stored then.
    """
    platform = clients.build(bot)
    try:
        webhook = _with_own(bot, platform.parse_webhook(request))
        seconds = max(0.0, min(webhook.answer_seconds - MARGIN_SECONDS, patience))
        until = time.monotonic() + seconds
        events = _store(bot, webhook, seconds)
        answered = _answered(platform, request, events, until) if seconds else None
        return answered or platform.answer_webhook(request, None)
    finally:
        closing.close(platform)


def _with_own(bot: Bot, webhook: Webhook) -> Webhook:
    """What the bot does comes back by webhook, too. A platform object that is not connected cannot
    tell, and a bot that takes itself for somebody else would answer itself for ever."""
    own_id = bot.person.remote_id if bot.person else ""
    incoming = tuple(
        replace(one, own=True) if own_id and one.person and one.person.id == own_id else one
        for one in webhook.incoming
    )
    return replace(webhook, incoming=incoming)


def _store(bot: Bot, webhook: Webhook, seconds: float) -> list[Event]:
    while True:
        try:
            with transaction.atomic():
                events = inbox.receive_call(bot, webhook.incoming, answer_seconds=seconds)
                states.called(bot)
            return events
        except OperationalError as error:
            if not inbox.is_deadlock(error):
                raise
            log.warning("a deadlock: stored again at once")


def _answered(
    platform: Platform, request: WebhookRequest, events: Sequence[Event], until: float
) -> WebhookResponse | None:
    """The response with a handler's answer, if there is one in time and it is ours to give."""
    try:
        job = _wait(events, until)
        if job is None:
            return None
        # Made before it is taken: an answer that the platform cannot put goes out as a message.
        response = platform.answer_webhook(request, _answer(job))
        if not jobs.answered(job):
            return None
        # Whatever other handlers have to say need not wait for us any more.
        HandlerRun.objects.filter(event__in=events).update(answer_until=None)
    except PlatformError as error:
        log.warning("%s cannot put an answer: %s", platform.name, error.detail)
        return None
    except (OperationalError, InterfaceError):
        # What was told is stored and may be acknowledged. The answer goes out by itself.
        log.exception("the database went away while %s waited for an answer", platform.name)
        connection.close()
        return None
    return response


def _wait(events: Sequence[Event], until: float) -> Job | None:
    """The first answer; None when there is none by then, or when nobody is left to give one."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        runs = HandlerRun.objects.filter(event__in=events).order_by("pk")
        found = list(runs.values_list("state", "answer"))
        if answers := [job_id for _, job_id in found if job_id]:
            return Job.objects.filter(pk=answers[0]).first()
        left = until - time.monotonic()
        if left <= 0 or not any(state in UNFINISHED for state, _ in found):
            return None
        if not connection.in_atomic_block:
            # Back to the pool, where there is one: sleeping needs no connection.
            connection.close_if_unusable_or_obsolete()
        time.sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)


def _answer(job: Job) -> Answer:
    return Answer(
        text=job.payload.get("text", ""),
        card=card_from(job.payload.get("card")),
        private=job.channel_id is None,
    )
