"""Why a job waits: the reason in words, until when, and what to do.

The reason is found in the database, the same for one job, for a page of them and for a filter over
all: `WHEN` says when each holds, in the order in which the first that holds counts. It follows what
`bots.lanes` and `bots.runner` do with a lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Now

from bots import processes
from bots.lanes import DUE, SCHEDULED
from bots.models import Job, Lane, LaneKind, State, WorkState
from bots.models.lane import UNFINISHED

WAITING = (*UNFINISHED, WorkState.UNCERTAIN)
# A wake-up that is under way takes less; after that, nobody came.
NOBODY_CAME = timedelta(seconds=5)


class Why(StrEnum):
    """What a job waits for."""

    UNCERTAIN = "uncertain"
    RUNNING = "running"
    BOT_OFF = "bot_off"
    PAUSED = "paused"
    REFUSED = "refused"
    SCHEDULED = "scheduled"
    LIMITED = "limited"
    SETTLING = "settling"
    BACKING_OFF = "backing_off"
    BEHIND = "behind"
    UNREACHABLE = "unreachable"
    PACED = "paced"
    NO_WORKER = "no_worker"
    IN_TURN = "in_turn"


LABELS = {
    Why.UNCERTAIN: "uncertain: needs a person",
    Why.RUNNING: "a worker is at it",
    Why.BOT_OFF: "bot switched off",
    Why.PAUSED: "lane paused",
    Why.REFUSED: "credentials refused",
    Why.SCHEDULED: "scheduled for later",
    Why.LIMITED: "rate limited",
    Why.SETTLING: "outcome unknown, platform is asked",
    Why.BACKING_OFF: "backing off after an error",
    Why.BEHIND: "behind another job",
    Why.UNREACHABLE: "bot cannot connect",
    Why.PACED: "messages per second",
    Why.NO_WORKER: "due, and nobody came",
    Why.IN_TURN: "next in turn",
}

# As `bots.lanes.begin` sees it: who comes first in an ordered lane, but for those put off on
# purpose.
IN_LINE = Job.objects.filter(state__in=UNFINISHED).exclude(SCHEDULED).order_by("pk")
AHEAD = IN_LINE.filter(lane=OuterRef("lane"), pk__lt=OuterRef("pk"))
CLAIMED = Q(lane__claimed_until__gte=Now())
LATER = Q(not_before__gt=Now())
ANYTHING = Q(pk__isnull=False)

WHEN: dict[Why, Q] = {
    Why.UNCERTAIN: Q(state=WorkState.UNCERTAIN),
    # What is under way ends, whatever was switched off meanwhile.
    Why.RUNNING: Q(state=WorkState.RUNNING) & CLAIMED & DUE,
    Why.BOT_OFF: Q(bot__enabled=False),
    Why.PAUSED: Q(lane__paused_at__isnull=False),
    Why.REFUSED: Q(
        bot__connection__state=State.BAD_CREDENTIALS,
        bot__connection__generation=F("bot__generation"),
    ),
    Why.SCHEDULED: SCHEDULED & Q(state=WorkState.QUEUED),
    Why.LIMITED: Q(bot__limited_until__gt=Now()),
    Why.SETTLING: Q(state=WorkState.RUNNING) & LATER,
    Why.BACKING_OFF: LATER & Q(state=WorkState.QUEUED, attempts__gt=0),
    Why.BEHIND: Q(lane__ordered=True) & Q(Exists(AHEAD)),
    # The lane as a whole rests; who connects in vain notes it on the job that goes first.
    Why.UNREACHABLE: Q(lane__due_at__gt=Now()) & ~CLAIMED & ~Q(error_code=""),
    Why.PACED: Q(lane__due_at__gt=Now()) & ~CLAIMED,
    Why.NO_WORKER: ~CLAIMED & (Q(lane__due_at=None) | Q(lane__due_at__lt=Now() - NOBODY_CAME)),
    Why.IN_TURN: ANYTHING,
}

# What keeps a whole lane waiting, and with it the job that goes first: which lanes can be meant.
FREE = ~Q(claimed_until__gte=Now())
LANES: dict[Why, Q] = {
    Why.UNREACHABLE: FREE & Q(due_at__gt=Now()),
    Why.PACED: FREE & Q(due_at__gt=Now()),
    Why.NO_WORKER: FREE & (Q(due_at=None) | Q(due_at__lt=Now() - NOBODY_CAME)),
    Why.IN_TURN: Q(due_at__isnull=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one job waits. `until` is when it goes on by itself, as far as that is known."""

    why: Why
    text: str
    next_step: str = ""
    until: datetime | None = None
    since: datetime | None = None  # of what is under way
    behind: int | None = None  # the job that goes first
    ahead: Why | None = None  # why that one waits, as far as it does


def waiting_for(jobs: QuerySet[Job], why: Why) -> QuerySet[Job]:
    """Those of `jobs` that wait for just this."""
    # What leads to few rows comes first; then for each of those the order of all is looked at.
    if why in LANES:
        # Of a crowd nearly all wait in such lanes, and all but a few of them behind others.
        some = jobs.filter(pk__in=_foremost(Lane.objects.filter(LANES[why], kind=LaneKind.JOBS)))
    elif why == Why.BEHIND:
        some = jobs  # nearly all are: looking for them first would only take longer
    else:
        some = jobs.filter(WHEN[why])
    return _annotated(some.filter(state__in=WAITING)).filter(why=why)


def _foremost(lanes: QuerySet[Lane]) -> QuerySet[Any]:
    """The ids of jobs that nobody is ahead of: the first of lanes that keep their order, all of
    others."""
    first = IN_LINE.filter(lane=OuterRef("pk")).values("pk")[:1]
    ordered = lanes.filter(ordered=True).annotate(first=Subquery(first)).values("first")
    others = IN_LINE.filter(lane__in=lanes.filter(ordered=False)).order_by().values("pk")
    return ordered.union(others, all=True)


def explain(jobs: Iterable[Job]) -> dict[int, Reason]:
    """Why each of these waits, by their ids; those that wait for nothing are left out. Takes three
    queries, however many they are."""
    ids = [job.pk for job in jobs if job.state in WAITING]
    if not ids:
        return {}
    rows = _explained(ids)
    heads = _explained({row.behind for row in rows if row.why == Why.BEHIND})
    workers = any(row.why == Why.NO_WORKER for row in [*rows, *heads]) and (
        processes.alive().filter(worked_at__isnull=False).exists()
    )
    ahead = {head.pk: _reason(head, {}, workers=workers) for head in heads}
    return {row.pk: _reason(row, ahead, workers=workers) for row in rows}


def _explained(ids: Iterable[int]) -> list[Any]:
    rows = Job.objects.filter(pk__in=ids, state__in=WAITING)
    # The whole payload of a job may be long, and says nothing of why it waits.
    whole = _annotated(rows).select_related("bot__connection", "lane")
    return list(whole.defer("payload", "result", "bot__connection__cursor"))


def _annotated(jobs: QuerySet[Job]) -> QuerySet[Any]:
    whens = [When(condition, then=Value(why.value)) for why, condition in WHEN.items()]
    return jobs.annotate(
        why=Case(*whens, output_field=CharField()),
        behind=Subquery(AHEAD.values("pk")[:1], output_field=BigIntegerField()),
    )


# In words ---------------------------------------------------------------------------------------


def _reason(job: Any, ahead: Mapping[int, Reason], *, workers: bool) -> Reason:
    why = Why(job.why)
    if why == Why.BEHIND:
        return _behind(job.behind, ahead.get(job.behind))
    if why == Why.NO_WORKER:
        return _nobody_came(job, workers=workers)
    reason = Reason(why=why, text=TEXTS[why], next_step=NEXT_STEPS.get(why, ""))
    match why:
        case Why.UNCERTAIN:
            return replace(reason, next_step=job.next_step or reason.next_step)
        case Why.RUNNING:
            at_it = f"A worker is at it: {job.lane.holder}."
            return replace(reason, text=at_it, since=job.started_at)
        case Why.PAUSED:
            by = f" by {job.lane.paused_by}" if job.lane.paused_by else ""
            return replace(reason, text=f"Its lane is paused{by}.", since=job.lane.paused_at)
        case Why.REFUSED:
            told = job.bot.connection.reason
            return replace(reason, text=f"{reason.text} {told}".rstrip())
        case Why.LIMITED:
            return replace(reason, until=job.bot.limited_until)
        case Why.SCHEDULED | Why.SETTLING:
            return replace(reason, until=job.not_before)
        case Why.BACKING_OFF:
            text = f"It is tried again after {job.error_code}." if job.error_code else reason.text
            return replace(reason, text=text, until=job.not_before)
        case Why.UNREACHABLE:
            text = f"The bot could not connect: {job.error_code}."
            return replace(reason, text=text, until=job.lane.due_at)
        case Why.PACED:
            return replace(reason, until=job.lane.due_at)
    return reason


def _behind(head_id: int, head: Reason | None) -> Reason:
    text = f"Behind job {head_id} of the same lane."
    if head is None:  # it has just ended
        return Reason(why=Why.BEHIND, text=text, behind=head_id)
    text = f"{text} There: {head.text}"
    return replace(head, why=Why.BEHIND, text=text, behind=head_id, ahead=head.why)


def _nobody_came(job: Job, *, workers: bool) -> Reason:
    if job.state == WorkState.RUNNING:
        text = "The worker that was at it is gone, and no other came yet."
    else:
        text = TEXTS[Why.NO_WORKER]
    next_step = (
        "Workers are alive but busy: start more of them if it lasts."
        if workers
        else "No worker is alive: start one. manage.py doctor says what is missing."
    )
    return Reason(why=Why.NO_WORKER, text=text, next_step=next_step, since=job.lane.due_at)


TEXTS = {
    Why.UNCERTAIN: "Nobody knows whether it was done: the answer got lost.",
    Why.RUNNING: "A worker is at it.",
    Why.BOT_OFF: "The bot is switched off.",
    Why.PAUSED: "Its lane is paused.",
    Why.REFUSED: "The platform refuses the bot's credentials.",
    Why.SCHEDULED: "It is scheduled for later, as was asked.",
    Why.LIMITED: "The platform makes the bot wait: too many requests.",
    Why.SETTLING: "The answer got lost; the platform is asked whether it was done.",
    Why.BACKING_OFF: "It is tried again later.",
    Why.BEHIND: "Another job of the same lane goes first.",
    Why.UNREACHABLE: "The bot could not connect.",
    Why.NO_WORKER: "It is due, and no worker came for it yet.",
    Why.PACED: "The bot sends no more messages per second than its options say.",
    Why.IN_TURN: "It is next; a worker comes for it.",
}
NEXT_STEPS = {
    Why.UNCERTAIN: "Look into the channel, then press It was sent or It was not sent.",
    Why.BOT_OFF: "Start the bot on its page.",
    Why.PAUSED: "Resume the lane on its page.",
    Why.REFUSED: "Replace its credentials on the bot's page, then press Test.",
}
