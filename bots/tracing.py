"""What belongs together: an event, the turns of handlers at it, the jobs they asked for, the
messages and events that came of those, and who was told of all that.

Found from whichever end somebody looks, by links that are stored, in a number of queries that does
not depend on how much there is; of each kind up to a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from django.db.models import Q, QuerySet

from bots import access, dispatch, stuck
from bots.access import Actor
from bots.idempotency import OF_RUNS
from bots.models import (
    Attempt,
    Delivery,
    Event,
    HandlerRun,
    IdempotencyKey,
    Job,
    Message,
    SequenceEntry,
    Subscription,
)
from bots.models.lane import UNFINISHED
from bots.targets import as_id
from spaces.platforms.messages import Kind

MOST_JOBS = 10
MOST = 20  # attempts, messages, events of those jobs; answers
MOST_DELIVERIES = 200
# A key and its job are stored in one transaction; between them lies the work on the request.
STORED_TOGETHER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Some:
    """The first of many, and whether there are more."""

    rows: Sequence
    more: bool


@dataclass(kw_only=True)
class Trace:
    """What was found around `trigger` and `jobs`, as the actor may see it."""

    actor: Actor
    trigger: Event | None
    runs: Sequence[HandlerRun]
    jobs: Sequence[Job]
    more_jobs: bool = False
    message: Message | None = None  # whose page it is
    events: list[Event] = field(default_factory=list)

    @cached_property
    def reasons(self) -> dict[int, stuck.Reason]:
        return stuck.explain(self.jobs)

    @cached_property
    def attempts(self) -> Some:
        """The latest, oldest first."""
        found = Attempt.objects.filter(job__in=self.jobs).order_by("-pk")
        some = _some(found, MOST)
        return Some(some.rows[::-1], some.more)

    @cached_property
    def messages(self) -> Some:
        if not self.jobs:
            return Some([self.message] if self.message else [], False)
        found = Message.objects.filter(job__in=self.jobs).select_related("event__entry")
        return _some(found.order_by("sent_at", "pk"), MOST)

    @cached_property
    def ended(self) -> list[Event]:
        """The events that tell how the jobs ended, one for each time they did."""
        if not self.jobs:
            return []
        told = Q()
        for job in self.jobs:
            told |= _tells_of(job)
        found = Event.objects.filter(told, kind=Kind.JOB_FINISHED).select_related("entry")
        return list(found.defer("raw").order_by("pk")[:MOST])

    @cached_property
    def echoes(self) -> list[Event]:
        """The events by which the platform told of the jobs' own messages."""
        found = [message.event for message in self.messages.rows if self.jobs and message.event]
        return sorted(found, key=lambda event: event.pk)

    @cached_property
    def told(self) -> list[Event]:
        """All events of it."""
        return [*([self.trigger] if self.trigger else []), *self.ended, *self.echoes]

    @cached_property
    def deliveries(self) -> Some:
        found = access.deliveries(self.actor).filter(event__in=self.told)
        return _some(found.select_related("subscription").order_by("pk"), MOST_DELIVERIES)

    @cached_property
    def still_to_get(self) -> list[tuple[Event, Subscription]]:
        """Subscriptions that want one of the events and are not that far yet."""
        entries = {event.pk: entry for event in self.told if (entry := entry_of(event))}
        if not entries:
            return []
        last = max(entry.seq for entry in entries.values())
        behind = list(access.subscriptions(self.actor).filter(position__lt=last))
        wanted = dispatch.all_wanted(behind)
        made = {(d.event_id, d.subscription_id) for d in self.deliveries.rows}
        return [
            (event, subscription)
            for event in self.told
            for subscription in behind
            if (entry := entries.get(event.pk)) is not None
            and subscription.position < entry.seq
            and wanted[subscription.pk].has(entry)
            and (event.pk, subscription.pk) not in made
        ]

    @cached_property
    def replies(self) -> Some:
        """Messages that answer one of its messages."""
        heard = self.messages.rows or ([self.message] if self.message else [])
        if not heard:
            return Some([], False)
        answered = {message.remote_id for message in heard}
        found = Message.objects.filter(bot=heard[0].bot_id, thread__in=answered)
        # As the index has it.
        found = found.exclude(thread="").select_related("sender")
        return _some(found.order_by("sent_at", "pk"), MOST)

    @cached_property
    def key(self) -> IdempotencyKey | None:
        """By which a repeat of the request is recognised; kept for a day."""
        if len(self.jobs) != 1 or self.runs:
            return None
        asked_at = self.jobs[0].created_at
        around = (asked_at - STORED_TOGETHER, asked_at + STORED_TOGETHER)
        found = IdempotencyKey.objects.filter(created_at__range=around, answer=self.jobs[0].pk)
        return found.exclude(scope__startswith=OF_RUNS).first()

    @property
    def is_under_way(self) -> bool:
        """Whether more is to come by itself."""
        return (
            any(job.state in UNFINISHED for job in self.jobs)
            or any(run.state in UNFINISHED for run in self.runs)
            or any(_is_on_its_way(delivery) for delivery in self.deliveries.rows)
            or any(subscription.enabled for _, subscription in self.still_to_get)
            or any(entry_of(event) is None for event in self.told)
        )


# From whichever end -----------------------------------------------------------------------------


def of_job(actor: Actor, job: Job) -> Trace:
    run = None
    if job.handler_run_id is not None:
        # What it points to may be gone: such links are not the database's own.
        runs = HandlerRun.objects.filter(pk=job.handler_run_id, bot=job.bot_id)
        run = runs.select_related("event__entry", "event__channel").first()
    return Trace(
        actor=actor, trigger=run.event if run else None, runs=[run] if run else [], jobs=[job]
    )


def of_message(actor: Actor, message: Message) -> Trace:
    if message.job is not None:
        trace = of_job(actor, message.job)
    elif message.event_id is None:
        trace = Trace(actor=actor, trigger=None, runs=[], jobs=[])
    else:
        events = Event.objects.filter(pk=message.event_id, bot=message.bot_id)
        event = events.select_related("entry", "channel").first()
        trace = _around(actor, event)
    trace.message = message
    return trace


def of_event(actor: Actor, event: Event) -> Trace:
    """Of a job that ended and of a message of our own, the story of the job is told."""
    if (job := _job_of(event)) is not None:
        return of_job(actor, job)
    trace = _around(actor, event)
    trace.message = _message_of(event)
    return trace


def of_run(actor: Actor, run: HandlerRun) -> Trace:
    return _around(actor, run.event, runs=[run])


def seen_by_others(actor: Actor, message: Message) -> QuerySet[Message]:
    """The same message of the same channel, as other bots saw it that the actor may see."""
    others = access.bots(actor).filter(space=message.bot.space_id).exclude(pk=message.bot_id)
    same = Message.objects.filter(remote_id=message.remote_id, bot__in=others.values("pk"))
    return same.filter(channel=message.channel_id).select_related("bot").order_by("pk")


def entry_of(event: Event) -> SequenceEntry | None:
    """Its place in the sequence, None until it has one."""
    return getattr(event, "entry", None)


def _around(actor: Actor, event: Event | None, runs: Sequence[HandlerRun] | None = None) -> Trace:
    if event is None:
        return Trace(actor=actor, trigger=None, runs=[], jobs=[])
    if runs is None:
        runs = list(event.handler_runs.order_by("pk")[:MOST])
    made = Job.objects.filter(handler_run__in=[run.pk for run in runs])
    jobs = _some(made.select_related("bot", "channel").order_by("pk"), MOST_JOBS)
    return Trace(actor=actor, trigger=event, runs=runs, jobs=jobs.rows, more_jobs=jobs.more)


def _job_of(event: Event) -> Job | None:
    jobs = Job.objects.filter(bot=event.bot_id).select_related("bot", "channel")
    if event.kind == Kind.JOB_FINISHED:
        job_id = as_id(str(event.data.get("job", "")))
        return jobs.filter(pk=job_id).first() if job_id is not None else None
    message = _message_of(event)
    if message is None or message.event_id != event.pk or message.job_id is None:
        return None
    return jobs.filter(pk=message.job_id).first()


def _message_of(event: Event) -> Message | None:
    message = event.data.get("message")
    if event.bot_id is None or not isinstance(message, dict):
        return None
    remote_id = str(message.get("remote_id", ""))
    return Message.objects.filter(bot=event.bot_id, remote_id=remote_id).first()


def _tells_of(job: Job) -> Q:
    """Their keys begin with the job's number; after that comes a digit, which the database sorts
    before a letter, in whatever language. So an index leads to them."""
    start = f"job:{job.pk}:"
    return Q(bot=job.bot_id, dedupe_key__gt=start, dedupe_key__lt=f"{start}a") & Q(
        dedupe_key__startswith=start
    )


def _is_on_its_way(delivery: Delivery) -> bool:
    return delivery.state in UNFINISHED and delivery.subscription.enabled


def _some(rows: QuerySet, limit: int) -> Some:
    found = list(rows[: limit + 1])
    return Some(found[:limit], len(found) > limit)
