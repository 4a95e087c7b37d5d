"""The state of a connection: the one door through which it is written, and what is shown of it.

What is shown is what is known: a connection whose holder is silent is not live, whatever was
written last.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from bots import sequence
from bots.models import Bot, Connection, Event, Incident, IncidentCode, Receive, State
from bots.scrub import scrub
from spaces.platforms.errors import CredentialsRefused, Misconfigured
from spaces.platforms.messages import Kind

POLL_OVERDUE = timedelta(seconds=60)
PROGRESS_SECONDS = 1.0
# What puts itself right does so sooner: another process takes a connection within seconds, and the
# longest delay between two tries is a minute unless an operator says otherwise.
PATIENCE = timedelta(minutes=5)
NEEDS_SOMEBODY = "needs_somebody"  # in URLs, beside the states
# It was live and is not any more: however often it is tried, since when is the moment of the loss.
LOST = (State.RECONNECTING, State.STALE)
# The platform refused the credentials that the bot still has.
REFUSED = Q(state=State.BAD_CREDENTIALS, generation=F("bot__generation"))


class Progress:
    """Counts what a catch-up brings, for the screen, at most once a second."""

    def __init__(self, connection: Connection, *, fence: int):
        self.count = 0
        self._mine = Connection.objects.filter(pk=connection.pk, fence=fence)
        self._written_at = time.monotonic()

    def add(self, events: int) -> None:
        self.count += events
        if time.monotonic() - self._written_at >= PROGRESS_SECONDS:
            self._mine.update(caught_up=self.count)
            self._written_at = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a screen says of a connection."""

    state: State
    since: datetime
    reason: str
    next_step: str
    next_try: datetime | None = None  # where one is waited for


def move(
    connection: Connection,
    to: State,
    *,
    fence: int | None,
    only_from: State | None = None,
    only_after: int | None = None,
    reason: str = "",
    next_step: str = "",
    **changes: Any,
) -> bool:
    """Write a state and tell of it by an event; False when `fence` no longer holds, when it is in
    another state than `only_from` or has failed oftener than `only_after`, or when the credentials
    were refused as they stand: that is true until they are changed, whatever a holder that logged
    in before still sees.

    `fence` is None only for those who speak for the settings and not for a holder.
    """
    reason, next_step = scrub([reason, next_step])
    with transaction.atomic():
        mine = Connection.objects.filter(pk=connection.pk)
        if fence is not None:
            mine = mine.filter(fence=fence)
        if only_from is not None:
            mine = mine.filter(state=only_from)
        if only_after is not None:
            mine = mine.filter(attempts=only_after)
        if to != State.BAD_CREDENTIALS:
            mine = mine.exclude(REFUSED)
        row = mine.select_for_update(of=("self",)).only("state", "reason").first()
        if row is None:
            return False
        if row.state != to and not (row.state in LOST and to in LOST):
            changes["since"] = timezone.now()
        mine.update(state=to, reason=reason, next_step=next_step, **changes)
        if (row.state, row.reason) != (to, reason):
            changed = Event(
                bot_id=connection.bot_id,
                kind=Kind.CONNECTION_CHANGED,
                dedupe_key=f"connection:{uuid4().hex}",
                occurred_at=timezone.now(),
                data={"state": to, "was": row.state, "reason": reason, "next_step": next_step},
            )
            sequence.store([changed])
    connection.state = to
    return True


def begin(connection: Connection, *, fence: int, generation: int) -> bool:
    """Somebody tries to connect, with the settings of this generation. That alone is no news: what
    was lost stays lost until it is back, and what kept the last try from working may still do.
    Returns as `move` does."""
    trying: dict[str, Any] = {"generation": generation, "not_before": None}
    # Nothing but what stands in its row: then whoever waits for somebody that writes there looks
    # again, and finds a refusal of that very moment.
    mine = Connection.objects.filter(pk=connection.pk, fence=fence)
    if mine.filter(state__in=(State.STARTING, State.MISCONFIGURED, *LOST)).update(**trying):
        return True
    return move(connection, State.STARTING, fence=fence, **trying)


def pass_on(connection: Connection, *, fence: int, reason: str) -> None:
    """Its holder gives it back for another to take. What was lost stays lost."""
    mine = Connection.objects.filter(pk=connection.pk, fence=fence)
    if not mine.filter(state__in=LOST).exists():
        move(connection, State.STARTING, fence=fence, reason=reason)


def refuse(
    bot: Bot, error: CredentialsRefused | Misconfigured, *, fence: int | None = None
) -> None:
    """The platform does not let the bot in, or its settings cannot work.

    Refused credentials are not tried again until they are changed: accounts get locked. Wrong
    settings are tried again, slowly, because it may have been the other side that was wrong.
    Who holds no lease gives no `fence`, and is believed only while the settings are those it used.
    """
    if fence is None and not Bot.objects.filter(pk=bot.pk, generation=bot.generation).exists():
        return
    to = State.BAD_CREDENTIALS if isinstance(error, CredentialsRefused) else State.MISCONFIGURED
    move(
        bot.connection,
        to,
        fence=fence,
        reason=error.detail,
        next_step=error.next_step,
        generation=bot.generation,
    )


def called(bot: Bot) -> None:
    """The platform came by itself, with a webhook: for a bot that waits for nothing else, that is
    what being live means."""
    mine = Connection.objects.filter(bot=bot)
    mine.update(last_call_at=Now(), last_ok_at=Now())
    if bot.receive == Receive.WEBHOOK and mine.exclude(state=State.LIVE).exists():
        move(bot.connection, State.LIVE, fence=None, reason="The platform calls.", attempts=0)


def startable() -> Q:
    """Connections that have a reason to be tried: switched on, and not refused as they stand."""
    return Q(bot__enabled=True) & ~REFUSED


def due() -> Q:
    """Connections that need not wait: their time has come, or their settings were changed since
    they were tried last."""
    changed = Q(generation__lt=F("bot__generation"))
    return Q(not_before=None) | Q(not_before__lte=Now()) | changed


def refusal(bot: Bot) -> CredentialsRefused | None:
    """What the platform said when it refused the credentials that the bot still has; read anew."""
    connection = Connection.objects.filter(REFUSED, bot=bot).first()
    if connection is None:
        return None
    return CredentialsRefused(connection.reason, next_step=connection.next_step)


def is_refused(bot: Bot) -> bool:
    """Whether the platform had refused the credentials that the bot has, as `bot` was read."""
    connection = bot.connection
    return connection.state == State.BAD_CREDENTIALS and connection.generation == bot.generation


def shown(bot: Bot) -> Shown:
    """What to say of a bot's connection now. Reads `bot.connection`, asks nobody."""
    connection = bot.connection
    now = timezone.now()
    if not bot.enabled:
        return Shown(
            state=State.OFF,
            since=connection.since,
            reason="The bot is switched off.",
            next_step="Press Start.",
        )
    if is_refused(bot):
        return _as_written(connection)
    if bot.receive == Receive.OFF:
        return Shown(
            state=State.OFF,
            since=connection.since,
            reason="The bot sends only: its receive mode is off.",
            next_step="",
        )
    if bot.receive == Receive.WEBHOOK:
        return _called(bot)
    if connection.state in (State.OFF, State.BAD_CREDENTIALS):
        return _waiting(connection)  # switched on, or given new credentials, a moment ago
    if bot.receive == Receive.POLL:
        if connection.lease_until and connection.lease_until >= now:
            return _as_written(connection)  # a poll that takes long
        polled_at = connection.not_before or connection.since
        if polled_at < now - POLL_OVERDUE:
            return _unheld(connection, polled_at)
        return _as_written(connection)
    if connection.lease_until is None:
        is_told = connection.state == State.MISCONFIGURED
        return _as_written(connection) if is_told else _waiting(connection)
    if connection.lease_until < now:
        return _unheld(connection, connection.lease_until)
    return _as_written(connection)


def _waiting(connection: Connection) -> Shown:
    return Shown(
        state=State.STARTING,
        since=connection.since,
        reason="Waiting for a process to take it.",
        next_step="If it stays, start a connections process.",
    )


def _called(bot: Bot) -> Shown:
    """Nothing is held in this mode; that the platform came is all the proof there is."""
    connection = bot.connection
    if connection.last_call_at is None:
        return Shown(
            state=State.STARTING,
            since=connection.since,
            reason="Waits for the first call of the platform.",
            next_step=f"Enter the address /hooks/{bot.slug}/ of this server on the platform.",
        )
    last = f"{connection.last_call_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Shown(
        state=State.LIVE,
        since=connection.since,
        reason=f"Waits for calls of the platform; the last came at {last}.",
        next_step="",
    )


def _as_written(connection: Connection) -> Shown:
    reason = connection.reason
    if connection.state == State.CATCHING_UP and connection.caught_up:
        # Composed here: a reason that changes all the time would be an event each time.
        reason = f"Catching up: {connection.caught_up:,} events so far."
    return Shown(
        state=State(connection.state),
        since=connection.since,
        reason=reason,
        next_step=connection.next_step,
        next_try=connection.not_before if connection.state in (State.STARTING, *LOST) else None,
    )


def _unheld(connection: Connection, since: datetime) -> Shown:
    return Shown(
        state=State.STALE,
        since=since,
        reason="The process that held this connection is gone, and no other has taken it yet.",
        next_step="Wait a few seconds. If it stays, start a connections process.",
    )


# The same, asked of the database ----------------------------------------------------------------


def annotated(bots: QuerySet[Bot]) -> QuerySet[Any]:
    """Bots with `shown_state` and `shown_since`: what `shown` says of each, told by the database.

    To filter: `annotated(bots).filter(shown_state=State.STALE)`. To count:
    `annotated(bots).order_by().values("shown_state").annotate(count=Count("pk"))`. The front page
    links to the list of bots with `?state=` and one of these states, or `NEEDS_SOMEBODY`.
    Whoever changes `shown` changes this; a story compares the two.
    """
    now = timezone.now()
    polled = Q(receive=Receive.POLL)
    unheld = Q(connection__lease_until=None) | Q(connection__lease_until__lt=now)
    overdue = polled & unheld & Q(polled_at__lt=now - POLL_OVERDUE)
    silent = ~polled & Q(connection__lease_until__lt=now)
    stale = Q(shown_state=State.STALE)
    return bots.alias(polled_at=Coalesce("connection__not_before", "connection__since")).annotate(
        shown_state=Case(
            _when(Q(enabled=False), State.OFF),
            _when(_is_refused(), State.BAD_CREDENTIALS),
            _when(Q(receive=Receive.OFF), State.OFF),
            _when(Q(receive=Receive.WEBHOOK, connection__last_call_at=None), State.STARTING),
            _when(Q(receive=Receive.WEBHOOK), State.LIVE),
            _when(_written(State.OFF, State.BAD_CREDENTIALS), State.STARTING),
            _when(overdue | silent, State.STALE),
            _when(
                ~polled & Q(connection__lease_until=None) & ~_written(State.MISCONFIGURED),
                State.STARTING,
            ),
            default=F("connection__state"),
            output_field=CharField(),
        ),
        shown_since=Case(
            When(stale & overdue, then=F("polled_at")),
            When(stale & silent, then=F("connection__lease_until")),
            default=F("connection__since"),
            output_field=DateTimeField(),
        ),
    )


def _is_refused() -> Q:
    return Q(connection__state=State.BAD_CREDENTIALS, connection__generation=F("generation"))


def _written(*any_of: State) -> Q:
    return Q(connection__state__in=any_of)


def _when(condition: Q, shown_state: State) -> When:
    return When(condition, then=Value(shown_state.value))


def needing_somebody(bots: QuerySet[Bot]) -> QuerySet[Any]:
    """Those of the bots that no waiting will put right, annotated as by `annotated`.

    The platform refused them, a setting cannot work, or they want to be live and have not been for
    longer than `PATIENCE`: reconnecting or stale since then, or trying anew all the time, which
    only an incident remembers. Not those that catch up, however long it takes: they get on. Nor
    those that wait for a first call of the platform, which may have nothing to say.
    """
    then = timezone.now() - PATIENCE
    down = Incident.objects.filter(
        bot=OuterRef("pk"), code=IncidentCode.CONNECTION_DOWN, closed_at=None, noticed_at__lte=then
    )
    is_refused = Q(shown_state__in=(State.BAD_CREDENTIALS, State.MISCONFIGURED))
    is_away = Q(shown_state__in=(State.RECONNECTING, State.STALE))
    is_starting = Q(shown_state=State.STARTING)
    return annotated(bots).filter(
        is_refused
        | (is_away & Q(shown_since__lte=then))
        | ((is_away | is_starting) & Q(Exists(down)))
    )
