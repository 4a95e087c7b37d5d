"""Handlers: Python functions that answer events, run by workers.

Any installed app registers them in its `handlers.py`:

    from bots.handlers import on

    @on("message.posted")
    def echo(call):
        call.reply(call.text)

A bot runs the handlers that are enabled for it. Each event meets each of them once, in order per
channel. One that fails is tried again, then left failed with its traceback for operators; it holds
up only its own later turns in that channel. A handler may run twice when a worker dies in the
middle, yet what it asked botadmin to send is sent once: a repeated call of `reply` or `send` in
the same turn is recognised. The bot's own doings are not shown to its handlers, nor are messages
that the platform wrote and not somebody.

Where the platform called and waits for an answer, `answer` gives it one. The answer is stored as a
job that is due when the waiting ends, and the waiting request takes it by ending that job: so one
of the two says it and never both, whoever dies in between.
"""

from __future__ import annotations

import logging
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from bots import backoff, clients, idempotency, jobs, lanes, targets
from bots.lanes import Claim
from bots.models import Bot, Event, HandlerRun, Job, JobKind, LaneKind, WorkState
from bots.refusals import Conflict, Missing
from bots.scrub import scrub
from spaces.models import Channel
from spaces.platforms.messages import Card, Incoming, Kind, PersonRef

log = logging.getLogger(__name__)

TRIES = 5
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
LONGEST_RUN_SECONDS = 60.0  # the lease is made to outlive a handler by this much
# How many lanes the turns of one handler of a bot are dealt out to when they need no order.
CONCURRENT_LANES = 16

Function = Callable[["Call"], object]
Submit = Callable[[jobs.Request], Job]


@dataclass(frozen=True, slots=True)
class Handler:
    name: str
    kinds: frozenset[Kind]
    function: Function


_handlers: dict[str, Handler] = {}


def on(*kinds: str, name: str = "") -> Callable[[Function], Function]:
    """Register a function for events of these kinds, under its own name unless one is given.

    Raises `ValueError` for an unknown kind or a name that is taken.
    """

    def register(function: Function) -> Function:
        handler = Handler(
            name=name or function.__name__,
            kinds=frozenset(Kind(kind) for kind in kinds),
            function=function,
        )
        if not kinds:
            raise ValueError(f"handler {handler.name}: name the kinds of event it is for")
        if _handlers.setdefault(handler.name, handler).function is not function:
            raise ValueError(f"two handlers are called {handler.name}")
        return function

    return register


def registered() -> MappingProxyType[str, Handler]:
    """All handlers by name."""
    return MappingProxyType(_handlers)


class Call:
    """One handler's turn at one event, and how it answers."""

    def __init__(self, run: HandlerRun):
        self.event = run.event
        self.bot = run.bot
        self._run = run
        self._sends = 0

    @property
    def text(self) -> str:
        """The text of the message or what follows the command, empty for events without one."""
        return str(self._message.get("text") or self.event.data.get("text", ""))

    @property
    def command(self) -> str:
        """The command with its slash, empty for other events."""
        return str(self.event.data.get("command", ""))

    @property
    def person(self) -> dict[str, Any]:
        """Who did it: id, username, name, email, is_bot; empty when nobody is named."""
        return dict(self.event.data.get("person") or {})

    @property
    def channel(self) -> Channel | None:
        return self.event.channel

    @property
    def _message(self) -> dict[str, Any]:
        return dict(self.event.data.get("message") or {})

    @property
    def _thread(self) -> str:
        return str(self._message.get("thread") or self.event.data.get("thread", ""))

    def answer(self, text: str = "", *, card: Card | None = None) -> Job:
        """Answer at once, in the response to the platform's call, where it waits for one; else, and
        when it is too late for that, as `reply`."""
        return self._reply(text, card, self._offer)

    def answer_privately(self, text: str = "", *, card: Card | None = None) -> Job:
        """As `answer`, but so that only who asked can see it; else as `reply_privately`."""
        person = targets.person(self.bot, str(self.person["id"]))
        return self._post(text, card, person=person, submit=self._offer)

    def reply(self, text: str = "", *, card: Card | None = None) -> Job:
        """Answer where the event happened, in the thread if it is in one."""
        return self._reply(text, card, self._submit)

    def reply_in_thread(self, text: str = "", *, card: Card | None = None) -> Job:
        """Answer in the thread of the message, which begins with it unless it is in one."""
        if self.channel is None or not self._message:
            raise ValueError(f"{self.event.kind} tells of no message")
        thread = self._message.get("thread") or self._message["remote_id"]
        return self._post(text, card, channel=self.channel, thread=str(thread), submit=self._submit)

    def reply_privately(self, text: str = "", *, card: Card | None = None) -> Job:
        """Answer directly to who did it."""
        return self.send(text, card=card, person=str(self.person["id"]))

    def send(
        self, text: str = "", *, card: Card | None = None, channel: str = "", person: str = ""
    ) -> Job:
        """Send to another channel, or to a person, named as in the REST API.

        Raises `ValueError` unless exactly one of them is given, `Missing` for an unknown channel.
        """
        if bool(channel) == bool(person):
            raise ValueError("send needs either a channel or a person")
        if channel:
            found = targets.channel(self.bot, channel)
            return self._post(text, card, channel=found, submit=self._submit)
        ref = targets.person(self.bot, person)
        return self._post(text, card, person=ref, submit=self._submit)

    def _reply(self, text: str, card: Card | None, submit: Submit) -> Job:
        if self.channel is None:
            raise ValueError(f"{self.event.kind} happened in no channel")
        return self._post(text, card, channel=self.channel, thread=self._thread, submit=submit)

    def _post(
        self,
        text: str,
        card: Card | None,
        *,
        channel: Channel | None = None,
        person: PersonRef | None = None,
        thread: str = "",
        submit: Submit,
    ) -> Job:
        payload = {"text": text, "card": asdict(card) if card else None, "thread": thread}
        request = jobs.Request(
            kind=JobKind.POST,
            channel=channel,
            person=person,
            payload={name: value for name, value in payload.items() if value},
        )
        self._sends += 1
        # Counted, not compared: a handler may well say the same twice, or something else when it
        # is run again. What the first run sent stands.
        once = idempotency.Once(
            scope=idempotency.scope_of_run(self._run), key=str(self._sends), fingerprint=""
        )
        job_id, _ = idempotency.perform(once, lambda: submit(request).pk)
        job = Job.objects.filter(pk=job_id).first()
        if job is None:
            raise Missing(f"Job {job_id}, which an earlier try sent, is not kept any more.")
        return job

    def _submit(self, request: jobs.Request) -> Job:
        return jobs.submit(self.bot, request, requested_by=f"handler {self._run.handler}")

    def _offer(self, request: jobs.Request) -> Job:
        """Submit a job that leaves a waiting request the time to take it, if there is one; each
        turn has one answer. Runs in the transaction that stores the job."""
        waiting = HandlerRun.objects.filter(pk=self._run.pk, answer=None, answer_until__gt=Now())
        until = waiting.select_for_update().values_list("answer_until", flat=True).first()
        if until is None:
            return self._submit(request)
        job = self._submit(replace(request, not_before=until))
        HandlerRun.objects.filter(pk=self._run.pk).update(answer=job)
        return job


# Queueing ---------------------------------------------------------------------------------------


def queue(stored: Iterable[tuple[Event, Incoming]], answer_seconds: float = 0) -> None:
    """Give the enabled handlers of each bot their turns; in the transaction that stores events.

    For so many seconds from now somebody waits for their answers.
    """
    interesting = {kind for handler in _handlers.values() for kind in handler.kinds}
    by_bot: dict[int, list[Event]] = defaultdict(list)
    for event, incoming in stored:
        if incoming.kind in interesting and not incoming.own and not incoming.system:
            by_bot[event.bot_id].append(event)
    if not by_bot:
        return
    answering = Bot.objects.filter(pk__in=by_bot).exclude(handlers=[]).select_related("space")
    bots = list(answering.order_by("pk"))
    told = [event.channel_id for bot in bots for event in by_bot[bot.pk]]
    channels = Channel.objects.in_bulk({pk for pk in told if pk}) if told else {}
    for bot in bots:
        ordered = clients.options(bot)["event_handling"] == "in_order"
        entries = [
            lanes.Entry(
                key=f"{handler.name} {_place(channels, event) if ordered else _any(event)}"[:300],
                work=HandlerRun(bot=bot, event=event, handler=handler.name),
                ordered=ordered,
            )
            for event in by_bot[bot.pk]
            for handler in _enabled(bot)
            if event.kind in handler.kinds
        ]
        lanes.put(LaneKind.HANDLERS, bot, entries)
        if answer_seconds:
            runs = HandlerRun.objects.filter(pk__in=[entry.work.pk for entry in entries])
            runs.update(answer_until=Now() + timedelta(seconds=answer_seconds))


def _enabled(bot: Bot) -> Sequence[Handler]:
    # One whose package went away stays in the bot's list; it has nothing to run.
    return [_handlers[name] for name in dict.fromkeys(bot.handlers) if name in _handlers]


def _place(channels: dict[int, Channel], event: Event) -> str:
    if event.channel_id in channels:
        return f"channel:{channels[event.channel_id].remote_id}"
    return "bot"


def _any(event: Event) -> str:
    return f"any:{event.pk % CONCURRENT_LANES}"


def retry(run: HandlerRun) -> None:
    """Give a failed run its tries anew, at its old place. Raises `Conflict` for any other state."""
    with transaction.atomic():
        moved = HandlerRun.objects.filter(pk=run.pk, state=WorkState.FAILED).update(
            state=WorkState.QUEUED, attempts=0, not_before=None, finished_at=None
        )
        if not moved:
            raise Conflict(f"Handler run {run.pk} is {run.state}, not failed.")
        lanes.put_again(run.lane_id)


# Running ----------------------------------------------------------------------------------------


@lanes.step(LaneKind.HANDLERS, HandlerRun)
def work(claim: Claim) -> None:
    """Run what is due in the claimed lane, for one turn."""
    while not claim.turn_over and not claim.resting:
        # One at a time: each is written before the next begins, so none runs twice but the one
        # that a dying worker left in the middle.
        started = lanes.begin(claim, HandlerRun, limit=1)
        if not started:
            return
        claim.ensure(LONGEST_RUN_SECONDS)
        run = HandlerRun.objects.select_related("event__channel").get(pk=started[0].pk)
        run.bot = claim.lane.bot
        _try(claim, run)


def _try(claim: Claim, run: HandlerRun) -> None:
    handler = _handlers.get(run.handler)
    if handler is None:
        _write(claim, run, WorkState.FAILED, error_code="handler_gone")
        return
    if run.attempts > TRIES:
        _write(
            claim,
            run,
            WorkState.FAILED,
            error_code="interrupted",
            error_detail=f"Its worker ended in the middle of it {TRIES} times.",
        )
        return
    try:
        handler.function(Call(run))
    except Exception as error:
        log.warning("handler %s failed at event %s: %s", run.handler, run.event_id, type(error))
        _failed(claim, run, error)
    else:
        _write(claim, run, WorkState.SUCCEEDED)


def _failed(claim: Claim, run: HandlerRun, error: Exception) -> None:
    told = {
        "error_code": "not_found" if isinstance(error, Missing) else "handler_failed",
        "error_detail": scrub(f"{type(error).__name__}: {error}"),
        "traceback": scrub(traceback.format_exc()),
    }
    if run.attempts >= TRIES:
        _write(claim, run, WorkState.FAILED, **told)
        return
    seconds = backoff.steady_delay(
        run.attempts, first=FIRST_RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS
    )
    not_before = timezone.now() + timedelta(seconds=seconds)
    _write(claim, run, WorkState.QUEUED, not_before=not_before, **told)
    if claim.lane.ordered:
        claim.rest_until(not_before)


def _write(claim: Claim, run: HandlerRun, state: WorkState, **changes: Any) -> None:
    finished_at = None if state == WorkState.QUEUED else timezone.now()
    if state == WorkState.SUCCEEDED:
        changes = {"error_code": "", "error_detail": "", "traceback": ""}
    with transaction.atomic():
        claim.confirm()
        HandlerRun.objects.filter(pk=run.pk).update(state=state, finished_at=finished_at, **changes)
        if state == WorkState.SUCCEEDED:
            idempotency.forget_runs([run.pk])  # only a run that failed can be run again
