"""Polling: bots whose receive mode is poll ask for news every few seconds, by tasks.

Beat finds who is due; a worker takes the same lease a supervisor would, catches up from the
cursor, stores what came, and gives the lease back.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import current_app
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError

from bots import backoff, clients, inbox, lanes
from bots.bulkhead import bulkhead
from bots.connections import states
from bots.models import Connection, Receive, State
from bots.processes import own_name
from spaces.platforms.contract import Platform
from spaces.platforms.errors import (
    CredentialsRefused,
    Misconfigured,
    PlatformError,
    RateLimited,
    Unavailable,
)

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=120)
QUEUED_FOR = timedelta(seconds=10)  # a poll that no worker took by then is queued again
POLLS_PER_SECOND = 500
RETRY_UNKNOWN_SECONDS = 60.0  # after settings that cannot work
MANY = 200  # events of one poll; from then on it is shown as catching up


def queue_due() -> int:
    """Queue a poll for every bot that is due; returns how many."""
    due = list(_due().order_by("not_before").values_list("pk", "bot_id")[:POLLS_PER_SECOND])
    Connection.objects.filter(pk__in=[pk for pk, _ in due]).update(not_before=Now() + QUEUED_FOR)
    try:
        for _, bot_id in due:
            current_app.send_task(
                "bots.tasks.poll_bot",
                (bot_id,),
                expires=QUEUED_FOR.total_seconds(),
                retry=False,
            )
    except (OperationalError, OSError):
        return 0  # they are due again in a few seconds
    return len(due)


def poll(bot_id: int) -> None:
    """Ask once for what is new. Does nothing when somebody else does, when nobody should, or when
    the bot or its space has its share of this process's threads already: it is due again soon."""
    found = _wanted().select_related("bot__space", "bot__connection").filter(bot=bot_id)
    connection = found.first()
    if connection is None or not bulkhead().enter_poll(connection.bot):
        return
    try:
        _poll(connection)
    finally:
        if (parked := bulkhead().leave_poll(connection.bot)) is not None:
            lanes.wake([parked])


def _poll(connection: Connection) -> None:
    taken = _free(Connection.objects.filter(pk=connection.pk, fence=connection.fence)).update(
        holder=own_name(), fence=F("fence") + 1, lease_until=Now() + LEASE
    )
    if not taken:
        return
    connection.fence += 1
    wait = RETRY_UNKNOWN_SECONDS
    try:
        wait = float(clients.options(connection.bot)["poll_seconds"])
        with clients.borrow(connection.bot) as platform:
            count = _catch_up(connection, platform)
        _succeeded(connection, wait, count)
    except Misconfigured as error:
        states.refuse(connection.bot, error, fence=connection.fence)
        wait = max(wait, RETRY_UNKNOWN_SECONDS)
    except PlatformError as error:
        wait = _failed(connection, error, wait)
    except Exception as error:
        # A fault of the platform's code: this bot's matter, and no reason to say it were live.
        log.exception("polling for %s failed", connection.bot.slug)
        wait = _failed(
            connection, Unavailable(f"An internal error ({type(error).__name__})."), wait
        )
    finally:
        Connection.objects.filter(pk=connection.pk, fence=connection.fence).update(
            holder="", lease_until=None, not_before=Now() + timedelta(seconds=wait)
        )


def _succeeded(connection: Connection, wait: float, count: int) -> None:
    states.move(
        connection,
        State.LIVE,
        fence=connection.fence,
        reason=f"Polled every {wait:g} s.",
        attempts=0,
        generation=connection.bot.generation,
        last_ok_at=timezone.now(),
        caught_up=count or connection.caught_up,
    )


def _catch_up(connection: Connection, platform: Platform) -> int:
    if not connection.cursor:
        cursor = platform.start_cursor()
        _store(connection, cursor=cursor)
        return 0
    progress = states.Progress(connection, fence=connection.fence)
    for batch in platform.catch_up(connection.cursor):
        if not _store(
            connection,
            incoming=batch.incoming,
            reactions=batch.reactions,
            channels=batch.channels,
            cursor=batch.cursor,
        ):
            return progress.count
        progress.add(len(batch.incoming))
        if progress.count >= MANY and connection.state != State.CATCHING_UP:
            states.move(
                connection,
                State.CATCHING_UP,
                fence=connection.fence,
                caught_up=progress.count,
            )
        Connection.objects.filter(pk=connection.pk, fence=connection.fence).update(
            lease_until=Now() + LEASE
        )
    return progress.count


def _store(connection: Connection, **what: object) -> bool:
    """False when the lease was lost meanwhile: whoever has it now goes on from the old cursor."""
    received = inbox.Received(
        connection_id=connection.pk,
        bot_id=connection.bot_id,
        space_id=connection.bot.space_id,
        fence=connection.fence,
        **what,  # type: ignore[arg-type]
    )
    return not inbox.store_patiently([received])


def _failed(connection: Connection, error: PlatformError, wait: float) -> float:
    """Write down why; returns the seconds until the next try."""
    if isinstance(error, CredentialsRefused):
        states.refuse(connection.bot, error, fence=connection.fence)
        return wait  # nobody tries until the credentials are changed, and then soon
    options = clients.options(connection.bot)
    failures = connection.attempts + 1
    was_live = connection.state in (State.LIVE, State.CATCHING_UP, *states.LOST)
    states.move(
        connection,
        State.RECONNECTING if was_live else State.STARTING,
        fence=connection.fence,
        reason=error.detail,
        next_step="Nothing to do: it is asked again.",
        generation=connection.bot.generation,
        attempts=failures,
    )
    if isinstance(error, RateLimited):
        return max(wait, error.retry_after)
    return max(
        wait,
        backoff.delay(
            failures,
            first=options["reconnect_first_seconds"],
            longest=options["reconnect_longest_seconds"],
        ),
    )


def _wanted() -> QuerySet[Connection]:
    return Connection.objects.filter(states.startable(), bot__receive=Receive.POLL)


def _free(connections: QuerySet[Connection]) -> QuerySet[Connection]:
    return connections.filter(Q(lease_until=None) | Q(lease_until__lt=Now()))


def _due() -> QuerySet[Connection]:
    return _free(_wanted()).filter(states.due())
