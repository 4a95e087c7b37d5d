"""The steps of a trace, as its template shows them: each with its time, its words, its links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Model
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from bots import naming, stuck
from bots.admin import looks, sentences
from bots.admin.delivery import next_try
from bots.models import (
    Attempt,
    Delivery,
    Event,
    HandlerRun,
    Job,
    JobKind,
    Message,
    Subscription,
    WorkState,
)
from bots.models.lane import FINISHED
from bots.stuck import Reason, Why
from bots.tracing import Trace, entry_of

TOLD, TOLD_LEAST = 400, 80  # characters of a message; of each part of one
TONES = {
    WorkState.QUEUED: "idle",
    WorkState.RUNNING: "busy",
    WorkState.SUCCEEDED: "ok",
    WorkState.FAILED: "bad",
    WorkState.UNCERTAIN: "warn",
    WorkState.CANCELLED: "idle",
    WorkState.EXPIRED: "warn",
}
WAITS = {Why.UNCERTAIN: "bad", Why.RUNNING: "busy", Why.SCHEDULED: "idle", Why.IN_TURN: "busy"}
CLOCKS_DIFFER = timedelta(seconds=1)  # by more than this is worth telling

Html = SafeString | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    at: datetime | None  # by our clocks; None for what is still to come
    icon: str
    tone: str
    title: Html
    badge: Html = ""
    text: str = ""  # what was said, or why
    next_step: str = ""
    notes: Sequence[Html] = ()
    lines: Sequence[Sequence[Html]] = ()
    more_url: str = ""  # to the rest of the lines
    request: Html = ""  # the platform's words, folded
    response: Html = ""
    is_here: bool = False  # whose page it is
    later: str = ""

    @property
    def clock(self) -> str:
        return clock(self.at) if self.at else ""

    @property
    def day(self) -> str:
        return _day(self.at) if self.at else ""


def steps(trace: Trace, row: Model) -> Iterator[Step]:
    """In the order in which one leads to another; `row` is whose page it is."""
    rooms = _rooms(trace)
    if trace.trigger:
        yield _heard(trace, trace.trigger, row, rooms)
        yield from _delivered(trace, trace.trigger)
    elif trace.message and not trace.jobs:
        yield _known(trace.message, row)
    for run in trace.runs:
        yield _run(run, row)
    for job in trace.jobs:
        yield from _job(trace, job, row, rooms)
    for event in trace.ended:
        yield _ended(event, row)
        yield from _delivered(trace, event)
    for event in trace.echoes:
        yield _echo(event, row)
        yield from _delivered(trace, event)
    if trace.replies.rows:
        yield _replies(trace)
    for job in trace.jobs:
        if reason := trace.reasons.get(job.pk):
            yield waits(reason)


def clock(at: datetime) -> str:
    """To a tenth of a second, with the day where that is not today."""
    return _on_its_day(at, f".{at.microsecond // 100_000}")


def until(at: datetime) -> str:
    """What lies ahead is known to the second at best."""
    return _on_its_day(at, "")


def _on_its_day(at: datetime, tenth: str) -> str:
    local = timezone.localtime(at)
    shown = f"{local:%H:%M:%S}{tenth}"
    return shown if local.date() == timezone.localdate() else f"{_day(at)}, {shown}"


def waits(reason: Reason) -> Step:
    """What is still to come."""
    notes = [f"until {until(reason.until)}"] if reason.until else []
    if reason.since:
        notes.append(f"since {clock(reason.since)}")
    if reason.behind:
        notes.append(link(Job(pk=reason.behind), f"job {reason.behind}"))
    return Step(
        at=None,
        icon="hourglass_top",
        tone=WAITS.get(reason.why, "warn"),
        title="Under way" if reason.why == Why.RUNNING else "Waits",
        badge=looks.badge(stuck.LABELS[reason.why], _colour(reason)),
        text=reason.text,
        next_step=reason.next_step,
        notes=notes,
    )


def link(row: Model, text: str = "") -> Html:
    return looks.link(row, text)


def _rooms(trace: Trace) -> naming.Names:
    told: list[Event | Job] = [*trace.jobs]
    if trace.trigger:
        told.append(trace.trigger)
    return naming.names((row.bot, row.channel) for row in told if row.channel)


def _where(row: Event | Job, rooms: naming.Names) -> Html:
    assert row.channel is not None
    called = rooms[row.bot_id, row.channel.pk]
    return format_html("in {}", looks.link(row.channel, called))


# What started it --------------------------------------------------------------------------------


def _heard(trace: Trace, event: Event, row: Model, rooms: naming.Names) -> Step:
    notes = [_numbered(event)]
    if not trace.runs:
        notes.append("No handler of its bot takes it.")
    if entry_of(event) and not (_deliveries_of(trace, event) or _still_to_get(trace, event)):
        notes.append("No subscription wants it.")
    if event.catch_up:
        notes.append("fetched after the fact")
    if abs(event.stored_at - event.occurred_at) > CLOCKS_DIFFER:
        notes.append(f"happened {clock(event.occurred_at)}, as the platform says")
    if event.channel:
        notes.append(_where(event, rooms))
    return Step(
        at=event.stored_at,
        icon="hearing",
        tone="busy",
        title=sentences.sentence(event),
        badge=looks.badge(event.kind),
        notes=notes,
        is_here=event == row or isinstance(row, Message),
    )


def _known(message: Message, row: Model) -> Step:
    """A message of which no event is kept."""
    who = "The bot" if message.direction == "out" else str(message.sender or "Somebody")
    return Step(
        at=message.sent_at,
        icon="chat",
        tone="busy",
        title=f"{who} wrote {sentences.quoted(message.text)}" if message.text else f"{who} wrote",
        notes=["No event of it is kept: it was read from the channel's history, or is old."],
        is_here=message == row,
    )


def _run(run: HandlerRun, row: Model) -> Step:
    error = f"{run.error_code}: {run.error_detail}" if run.error_code else ""
    return Step(
        at=run.started_at or run.created_at,
        icon="play_circle",
        tone=TONES[WorkState(run.state)],
        title=format_html("Handler {}", link(run, run.handler)),
        badge=looks.state(run.state),
        text=error,
        notes=[f"try {run.attempts}"] if run.attempts > 1 else [],
        is_here=run == row,
    )


# A job ------------------------------------------------------------------------------------------


def _job(trace: Trace, job: Job, row: Model, rooms: naming.Names) -> Iterator[Step]:
    yield _asked(trace, job, row, rooms)
    attempts = [attempt for attempt in trace.attempts.rows if attempt.job_id == job.pk]
    if attempts and attempts[0].number > 1 and trace.attempts.more:
        url = reverse("job-attempts", args=[job.pk])
        yield Step(
            at=attempts[0].at,
            icon="history",
            tone="idle",
            title=format_html('<a class="text-link" href="{}">Earlier attempts</a>', url),
        )
    yield from map(_attempt, attempts)
    if sent := _sent(trace, job, row):
        yield sent
    told = any(event.data.get("job") == str(job.pk) for event in trace.ended)
    if job.state in FINISHED and job.finished_at and not told:
        yield Step(
            at=job.finished_at,
            icon="flag",
            tone=TONES[WorkState(job.state)],
            title=f"Job {job.pk} ended",
            badge=looks.state(job.state),
        )


def _asked(trace: Trace, job: Job, row: Model, rooms: naming.Names) -> Step:
    notes = [_door(trace, job), link(job, f"job {job.pk}")]
    if job.channel:
        notes.append(_where(job, rooms))
    key = trace.key
    if key and not key.scope.startswith("form "):
        shown = Truncator(key.key).chars(60)
        notes.append(f"a repeat with the Idempotency-Key {shown} gets this job again")
    said = job.payload.get("text", "") if job.kind in (JobKind.POST, JobKind.EDIT) else ""
    return Step(
        at=job.created_at,
        icon="assignment",
        tone="busy",
        title=f"{job.requested_by or 'Somebody'} asked",
        badge=looks.badge(job.kind),
        text=Truncator(said).chars(TOLD),
        notes=notes,
        is_here=job == row,
    )


def _door(trace: Trace, job: Job) -> str:
    if job.requested_by.startswith("token "):
        return "through the REST API"
    if job.requested_by.startswith("handler "):
        return "in answer to an event" if job.handler_run_id else "by a handler"
    if trace.key is not None:
        form = trace.key.scope.startswith("form ")
        return "in the admin" if form else "through the REST API"
    return "in the admin, or logged in to the REST API"


def _attempt(attempt: Attempt) -> Step:
    is_good = attempt.outcome == WorkState.SUCCEEDED
    return Step(
        at=attempt.at,
        icon="outbound",
        tone="ok" if is_good else "bad",
        title=f"Attempt {attempt.number}",
        badge=looks.badge(attempt.outcome, "success" if is_good else "danger"),
        notes=[f"took {attempt.seconds:.3f}\xa0s"],
        request=looks.pretty(attempt.request) if attempt.request else "",
        response=looks.pretty(attempt.response) if attempt.response else "",
    )


def _sent(trace: Trace, job: Job, row: Model) -> Step | None:
    """The parts that are on the platform."""
    # A sync, for one, says with the same word how many it read.
    parts = job.result.get("messages") if job.kind == JobKind.POST else None
    if not parts:
        return None
    known = {message.remote_id: message for message in trace.messages.rows}
    found = [(part, known.get(part["remote_id"])) for part in parts]
    whole = job.result.get("parts") or len(parts)
    lines = [
        (
            link(message, part["remote_id"]) if message else part["remote_id"],
            Truncator(part["text"]).chars(max(TOLD_LEAST, TOLD // len(parts))),
            *_fate(message),
        )
        for part, message in found
    ]
    of = f" in {len(parts)} of {whole} parts" if whole > 1 else ""
    return Step(
        at=job.finished_at or _last_try(trace, job),
        icon="chat",
        tone="ok",
        title=f"On the platform{of}",
        lines=lines,
        is_here=any(message is not None and message == row for _, message in found),
    )


def _fate(message: Message | None) -> list[Html]:
    if message is None:
        return []
    changed = [f"edited {clock(message.edited_at)}"] if message.edited_at else []
    return [*changed, f"deleted {clock(message.deleted_at)}"] if message.deleted_at else changed


def _last_try(trace: Trace, job: Job) -> datetime:
    tries = [a.at + timedelta(seconds=a.seconds) for a in trace.attempts.rows if a.job_id == job.pk]
    return max(tries, default=job.created_at)


# Who was told -----------------------------------------------------------------------------------


def _ended(event: Event, row: Model) -> Step:
    state = str(event.data.get("state", ""))
    error = event.data.get("error") or {}
    return Step(
        at=event.stored_at,
        icon="flag",
        tone=TONES.get(WorkState(state), "idle") if state in WorkState else "idle",
        title=f"Job {event.data.get('job', '')} ended",
        badge=looks.state(state),
        text=f"{error.get('code', '')}: {error.get('detail', '')}" if error else "",
        notes=[_numbered(event)],
        is_here=event == row,
    )


def _echo(event: Event, row: Model) -> Step:
    return Step(
        at=event.stored_at,
        icon="hearing",
        tone="ok",
        title="Heard back from the platform",
        badge=looks.badge(event.kind),
        notes=[_numbered(event)],
        is_here=event == row,
    )


def _numbered(event: Event) -> Html:
    entry = entry_of(event)
    number = f"number {entry.seq:,}" if entry else "no number yet"
    return format_html("{}, {}", link(event, f"event {event.pk}"), number)


def _delivered(trace: Trace, event: Event) -> Iterator[Step]:
    made, later = _deliveries_of(trace, event), _still_to_get(trace, event)
    if not made and not later:
        return
    done = sum(delivery.state == WorkState.SUCCEEDED for delivery in made)
    failed = any(delivery.state == WorkState.FAILED for delivery in made)
    whole = len(made) + len(later)
    all_of_it = f"{reverse('admin:bots_delivery_changelist')}?event__exact={event.pk}"
    waiting = (
        "its turn comes" if one.enabled else "its subscription is switched off" for one in later
    )
    yield Step(
        at=_last_finished(made) or event.stored_at,
        icon="outbox",
        tone="bad" if failed else "ok" if done == whole else "busy",
        title=f"Delivered to {done} of {whole}",
        notes=[format_html("of {}", link(event, f"event {event.pk}"))],
        lines=[
            *map(_delivery, made),
            *(
                (looks.link(one), looks.badge("waits"), why)
                for one, why in zip(later, waiting, strict=True)
            ),
        ],
        more_url=all_of_it if trace.deliveries.more else "",
    )


def _deliveries_of(trace: Trace, event: Event) -> list[Delivery]:
    return [delivery for delivery in trace.deliveries.rows if delivery.event_id == event.pk]


def _still_to_get(trace: Trace, event: Event) -> list[Subscription]:
    return [subscription for of, subscription in trace.still_to_get if of.pk == event.pk]


def _delivery(delivery: Delivery) -> list[Html]:
    told = [looks.link(delivery.subscription), looks.link(delivery, looks.state(delivery.state))]
    if delivery.attempts > 1:
        told.append(f"{delivery.attempts} attempts")
    if delivery.error_code:
        told.append(delivery.error_code)
    if delivery.state == WorkState.QUEUED:
        told.append(f"next try: {next_try(delivery)}")
    return told


def _last_finished(deliveries: Iterable[Delivery]) -> datetime | None:
    return max((d.finished_at for d in deliveries if d.finished_at), default=None)


def _replies(trace: Trace) -> Step:
    rows = trace.replies.rows
    more = f"{len(rows)}+" if trace.replies.more else str(len(rows))
    return Step(
        at=rows[0].sent_at,
        icon="forum",
        tone="ok",
        title=f"{more} answer{'' if more == '1' else 's'} in its thread",
        lines=[
            (
                link(row, clock(row.sent_at)),
                str(row.sender or "Somebody"),
                Truncator(row.text).chars(TOLD),
            )
            for row in rows
        ],
    )


def _colour(reason: Reason) -> str:
    if reason.why in (Why.RUNNING, Why.IN_TURN):
        return "info"
    return "" if reason.why == Why.SCHEDULED else "warning"


def _day(at: datetime) -> str:
    return formats.date_format(timezone.localtime(at), "j M Y")
