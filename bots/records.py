"""What became of jobs, written down: the jobs, their attempts, the messages they made, the events.

The runner collects outcomes and writes them here in one transaction per batch, guarded by the
claim on the lane: a worker that lost its lease writes nothing. Rows that the inbox writes as well
are written in its order: people, channels, who takes part, messages.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from bots import actions, bulk, sequence
from bots.jobs import finished_event
from bots.lanes import Claim, LeaseLost
from bots.memberships import describe_soon
from bots.models import Attempt, Bot, Direction, Job, JobKind, Message, WorkState
from bots.models.lane import FINISHED
from bots.scrub import clean, scrub
from spaces import sync
from spaces.models import Channel, Person
from spaces.platforms.messages import (
    ChannelInfo,
    ChannelKind,
    ParticipantInfo,
    PersonInfo,
    Role,
)

log = logging.getLogger(__name__)

ID_LENGTH = 255  # characters of a platform's id that are kept, as by the inbox
CODE_LENGTH = 60
ONCE = frozenset({JobKind.POST, JobKind.CREATE_CHANNEL})  # doing these twice would show
TOLD = (*FINISHED, WorkState.UNCERTAIN)  # states that a job.finished event tells of


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What the runner decided about one try at a job; `job` already holds its new state."""

    job: Job
    attempt: Attempt | None  # None when nothing was tried, say because the job had expired


def write(claim: Claim, outcomes: Sequence[Outcome]) -> None:
    """Write all of it, or raise `LeaseLost` and write nothing.

    Raises `OperationalError` or `InterfaceError` while the database is away. What it can never hold
    takes nothing else along: that job ends as `unstorable`.
    """
    if not outcomes:
        return
    try:
        _write(claim, outcomes)
    except (LeaseLost, OperationalError, InterfaceError):
        raise
    except Exception:
        if len(outcomes) == 1:
            log.exception("job %s: what became of it cannot be stored", outcomes[0].job.pk)
            _write(claim, [_unstorable(outcomes[0])])
            return
        for outcome in outcomes:
            write(claim, [outcome])


def once(job: Job) -> bool:
    """Whether doing this job twice would show."""
    return job.kind in ONCE or not actions.repeatable(job)


def _unstorable(outcome: Outcome) -> Outcome:
    """The same without anything that a platform said."""
    job, attempt = outcome.job, outcome.attempt
    job.refresh_from_db(fields=["channel"])  # what was set may have been rolled back
    if job.state not in FINISHED or job.state == WorkState.SUCCEEDED:
        job.state = WorkState.UNCERTAIN if once(job) else WorkState.FAILED
    job.not_before = None
    job.finished_at = None if job.state == WorkState.UNCERTAIN else timezone.now()
    job.result, job.error_code = {}, "unstorable"
    job.error_detail = "What the platform answered cannot be stored; see the log of the worker."
    job.next_step = "Look at the platform what became of it."
    if attempt:
        attempt.outcome, attempt.request, attempt.response = "unstorable", None, None
    return Outcome(job=job, attempt=attempt)


def _write(claim: Claim, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        _scrub(outcome)
    jobs = [outcome.job for outcome in outcomes]
    done = [j for j in jobs if j.state == WorkState.SUCCEEDED and j.kind != JobKind.POST]
    sent_channels = _channels_of_sent(claim.bot, jobs)
    with transaction.atomic():
        claim.confirm()
        if done:
            _remember_all_named(claim.bot, done)
        for job in done:
            _remember(claim.bot, job)
        _remember_messages(claim.bot, jobs, sent_channels)
        bulk.update(
            jobs,
            [
                "state",
                "not_before",
                "finished_at",
                "channel",
                "result",
                "error_code",
                "error_detail",
                "next_step",
            ],
        )
        bulk.insert([o.attempt for o in outcomes if o.attempt])
        # A commit that seemed to fail, and did not, has told it already.
        sequence.store_once([finished_event(job) for job in jobs if job.state in TOLD])


def _scrub(outcome: Outcome) -> None:
    job, attempt = outcome.job, outcome.attempt
    # Not without secrets: it holds what users wrote, and ids that the next try goes by. What
    # platforms say of errors in it was scrubbed where it was put in, by `bots.actions`.
    job.result = clean(job.result)
    job.error_code = scrub(job.error_code)[:CODE_LENGTH]
    job.error_detail, job.next_step = scrub([job.error_detail, job.next_step])
    if attempt:
        attempt.outcome = scrub(attempt.outcome)[:CODE_LENGTH]
        attempt.request, attempt.response = scrub([attempt.request, attempt.response])


# Messages: many at once, this is the way of every send ------------------------------------------


def _channels_of_sent(bot: Bot, jobs: Sequence[Job]) -> dict[str, int]:
    """Our ids of the channels that messages went to, by the platform's.

    A direct message to somebody new names a channel that we have not heard of yet.
    """
    wanted = {message["channel"] for job in jobs for message in _sent(job)}
    known = {
        job.payload["channel"]: job.channel_id
        for job in jobs
        if job.channel_id and "channel" in job.payload
    }
    if unnamed := wanted - known.keys():
        rows = Channel.objects.filter(space_id=bot.space_id, remote_id__in=unnamed)
        known |= rows.values_list("remote_id", "pk")
    if missing := wanted - known.keys():
        ids = sync.named_channels(bot.space_id, missing, kind=ChannelKind.DIRECT)
        _take_part_in_direct(bot, jobs, ids)
        describe_soon(bot.pk, sorted(ids.values()))
        known |= ids
    return known


def _take_part_in_direct(bot: Bot, jobs: Sequence[Job], channel_ids: Mapping[str, int]) -> None:
    """The bot and whom it wrote to take part in these channels; a person whose id we do not know
    comes with the next sync."""
    peers = {
        message["channel"]: job.payload["person"]["id"]
        for job in jobs
        if job.payload.get("person")
        for message in job.result.get("messages", ())
    }
    people = Person.objects.filter(space_id=bot.space_id, remote_id__in=peers.values())
    person_ids = dict(people.values_list("remote_id", "pk"))
    for remote_id, channel_id in channel_ids.items():
        for person_id in (bot.person_id, person_ids.get(peers.get(remote_id, ""))):
            if person_id is not None:
                sync.take_part(channel_id, person_id)


def _remember_messages(bot: Bot, jobs: Sequence[Job], channels: Mapping[str, int]) -> None:
    rows: dict[str, Message] = {}  # by id: a statement cannot touch one row twice
    for job in jobs:
        sent = _sent(job)
        for number, message in enumerate(sent):
            channel_id = job.channel_id = channels[message["channel"]]
            row = _message(bot, job, channel_id, message, last=number == len(sent) - 1)
            rows[row.remote_id] = row
    # The platform may have told us of our own message before it answered us.
    bulk.upsert(list(rows.values()), unique=["bot_id", "remote_id"], update=["job_id", "direction"])


def _sent(job: Job) -> list[dict[str, Any]]:
    """What of a message is on the platform, part by part. What was shown to one person for now
    is not: nobody could read, change or delete it there."""
    stored = job.kind == JobKind.POST and not job.payload.get("only_for")
    return job.result.get("messages", []) if stored else []


def _message(bot: Bot, job: Job, channel_id: int, sent: dict[str, Any], *, last: bool) -> Message:
    return Message(
        bot=bot,
        channel_id=channel_id,
        remote_id=sent["remote_id"][:ID_LENGTH],
        direction=Direction.OUT,
        sender_id=bot.person_id,
        text=sent["text"],
        card=job.payload.get("card") if last else None,
        files=sent["files"],
        thread=job.payload.get("thread", ""),
        sent_at=datetime.fromisoformat(sent["sent_at"]),
        job=job,
    )


# Everything else: rare, one by one --------------------------------------------------------------


def _remember_all_named(bot: Bot, jobs: Sequence[Job]) -> None:
    """Write down all people and channels before anything else; see the order above."""
    sync.people(bot.space_id, [person for job in jobs for person in _people(job)])
    sync.channels(bot.space_id, [_channel(job) for job in jobs if "channel" in job.result])


def _remember(bot: Bot, job: Job) -> None:
    messages = Message.objects.filter(bot=bot, remote_id=job.payload.get("message", ""))
    match job.kind:
        case JobKind.EDIT:
            messages.update(text=job.payload["text"], edited_at=timezone.now())
        case JobKind.DELETE:
            messages.update(deleted_at=timezone.now())
        case JobKind.CREATE_CHANNEL | JobKind.JOIN_CHANNEL:
            channel_id = _remember_channel(bot, job)
            if bot.person_id is not None:
                sync.take_part(channel_id, bot.person_id)
            _remember_people(bot, job, channel_id)
        case JobKind.UPDATE_CHANNEL:
            _remember_channel(bot, job)
        case JobKind.RESTORE_CHANNEL:
            # Who restores one is a member, or the next sync says otherwise.
            channel_id = _remember_channel(bot, job)
            if bot.person_id is not None:
                sync.take_part(channel_id, bot.person_id)
        case JobKind.ARCHIVE_CHANNEL if job.channel_id:
            Channel.objects.filter(pk=job.channel_id).update(archived=True)
        case JobKind.LEAVE_CHANNEL if job.channel_id and bot.person_id:
            sync.take_leave(job.channel_id, bot.person_id)
        case JobKind.ADD_PARTICIPANTS if job.channel_id:
            _remember_people(bot, job, job.channel_id)
        case JobKind.REMOVE_PARTICIPANTS if job.channel_id:
            sync.left(job.channel_id, bot.space_id, _people(job))


def _remember_channel(bot: Bot, job: Job) -> int:
    info = _channel(job)
    channel_id = sync.channels(bot.space_id, [info])[info.id]
    job.channel_id = channel_id
    return channel_id


def _channel(job: Job) -> ChannelInfo:
    info = job.result["channel"]
    return ChannelInfo(**{**info, "kind": ChannelKind(info["kind"])})


def _remember_people(bot: Bot, job: Job, channel_id: int) -> None:
    role = Role.MODERATOR if job.payload.get("moderator") else Role.MEMBER
    people = [ParticipantInfo(person=person, role=role) for person in _people(job)]
    sync.joined(channel_id, bot.space_id, people)


def _people(job: Job) -> list[PersonInfo]:
    """Those for whom it worked."""
    outcomes = job.result.get("people", ())
    return [PersonInfo(**o["person"]) for o in outcomes if o["ok"] and o["person"]]
