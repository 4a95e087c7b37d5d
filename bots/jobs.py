"""Jobs as callers see them: submitted, cancelled, retried, resolved.

`submit` is the only way to get anything done on a platform, whoever asks. It refuses what the bot
may not do or the platform cannot, stores the job, and wakes its lane when that is committed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from bots import audit, bulk, lane_names, lanes, sequence, targets
from bots.models import (
    Bot,
    Event,
    Fate,
    GroupItem,
    GroupState,
    Job,
    JobGroup,
    JobKind,
    Lane,
    LaneKind,
    Permission,
    Priority,
    WorkState,
)
from bots.models.job import MOVES
from bots.refusals import Conflict, NotPermitted, NotSupported
from spaces.models import Channel
from spaces.platforms import registry
from spaces.platforms.contract import Ability
from spaces.platforms.errors import Misconfigured
from spaces.platforms.messages import ChannelKind, Kind, PersonRef

CANCELLED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing asked of a bot. The target is `channel`, or `person`, or the bot as a whole.

    `payload` is what the job's kind takes, see `bots.actions`.
    """

    kind: JobKind
    channel: Channel | None = None
    person: PersonRef | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.INTERACTIVE
    ordered: bool = True
    not_before: datetime | None = None
    expires_at: datetime | None = None
    group: JobGroup | None = None  # what it is a part of
    handler_run_id: int | None = None  # the turn of a handler that asks


# What each kind needs: of the platform, and of the bot's own permissions.
NEEDS: dict[JobKind, tuple[Ability | None, Permission | None]] = {
    JobKind.POST: (Ability.POST, Permission.POST),
    JobKind.EDIT: (Ability.EDIT, Permission.EDIT),
    JobKind.DELETE: (Ability.DELETE, Permission.EDIT),
    JobKind.PIN: (Ability.PIN, Permission.REACT),
    JobKind.UNPIN: (Ability.PIN, Permission.REACT),
    JobKind.REACT: (Ability.REACT, Permission.REACT),
    JobKind.UNREACT: (Ability.REACT, Permission.REACT),
    JobKind.MARK_READ: (Ability.MARK_READ, Permission.RECEIPTS),
    JobKind.TYPING: (Ability.TYPING, Permission.PRESENCE),
    JobKind.PRESENCE: (Ability.PRESENCE, Permission.PRESENCE),
    JobKind.CREATE_CHANNEL: (Ability.CREATE_CHANNEL, Permission.CHANNELS),
    JobKind.UPDATE_CHANNEL: (Ability.UPDATE_CHANNEL, Permission.CHANNELS),
    JobKind.ARCHIVE_CHANNEL: (Ability.ARCHIVE_CHANNEL, Permission.CHANNELS),
    JobKind.RESTORE_CHANNEL: (Ability.RESTORE_CHANNEL, Permission.CHANNELS),
    JobKind.JOIN_CHANNEL: (Ability.JOIN_LEAVE, Permission.CHANNELS),
    JobKind.LEAVE_CHANNEL: (Ability.JOIN_LEAVE, Permission.CHANNELS),
    JobKind.ADD_PARTICIPANTS: (Ability.ADD_PARTICIPANTS, Permission.PARTICIPANTS),
    JobKind.REMOVE_PARTICIPANTS: (Ability.REMOVE_PARTICIPANTS, Permission.PARTICIPANTS),
    JobKind.SYNC: (Ability.LIST_CHANNELS, None),
    JobKind.CUSTOM_REQUEST: (Ability.CUSTOM_REQUEST, Permission.CUSTOM),
}

# What a field of the payload needs of the platform besides, where it is not empty.
ALSO_NEEDED: dict[JobKind, dict[str, Ability]] = {
    JobKind.POST: {
        "thread": Ability.THREADS,
        "files": Ability.FILES,
        "only_for": Ability.EPHEMERAL,
    },
    JobKind.CREATE_CHANNEL: {"purpose": Ability.CHANNEL_PURPOSE},
    JobKind.ADD_PARTICIPANTS: {"moderator": Ability.MODERATORS},
}
# As above, for what may be made empty: naming it is enough.
CHANGES_NEED = {
    "purpose": Ability.CHANNEL_PURPOSE,
    "name": Ability.RENAME_CHANNEL,
    "kind": Ability.CONVERT_CHANNEL,
}


def to_restore(bot: Bot, text: str) -> Request:
    """A request to restore the channel that `text` names; the platform looks for one that we do
    not know. Raises `Missing` when it could be several."""
    channel = targets.channel_to_restore(bot, text)
    payload = {} if channel else {"name": text.strip().lstrip("#~")}
    return Request(kind=JobKind.RESTORE_CHANNEL, channel=channel, payload=payload)


def submit(bot: Bot, request: Request, *, requested_by: str) -> Job:
    """Store one job. Raises `NotPermitted` or `NotSupported`."""
    return submit_many(bot, [request], requested_by=requested_by)[0]


def submit_many(bot: Bot, requests: Sequence[Request], *, requested_by: str) -> list[Job]:
    """Store jobs, in order, all or none. Raises as `check` does for the first it refuses."""
    for request in requests:
        check(bot, request)
    channels = [request.channel for request in requests if request.channel]
    keys = targets.lanes_of_channels(bot, channels)
    people = targets.lanes_of_people(bot, {r.person for r in requests if r.person})
    entries = [_entry(bot, request, requested_by, keys, people) for request in requests]
    lanes.put(LaneKind.JOBS, bot, entries)
    return [entry.work for entry in entries]  # type: ignore[misc]  # _entry makes jobs


def check(bot: Bot, request: Request) -> None:
    """Raises `NotPermitted` when the bot may not, `NotSupported` when its platform cannot."""
    ability, permission = NEEDS[request.kind]
    needed = {ability} if ability else set()
    payload = request.payload
    fields = ALSO_NEEDED.get(request.kind, {})
    needed |= {also for name, also in fields.items() if payload.get(name)}
    if request.kind == JobKind.UPDATE_CHANNEL:
        needed |= {also for name, also in CHANGES_NEED.items() if name in payload}
    if request.kind == JobKind.POST and _is_direct(request):
        needed.add(Ability.DIRECT)
        permission = Permission.DIRECT
    if permission and permission not in bot.permissions:
        raise NotPermitted(f"{bot.slug} has no permission {permission.value!r}.")
    check_platform(bot, needed)


def check_platform(bot: Bot, needed: set[Ability]) -> None:
    """Raises `NotSupported` when the bot's platform lacks one of these."""
    try:
        platform = registry.get(bot.space.platform)
    except Misconfigured as error:
        raise NotSupported(error.detail) from error
    if lacking := sorted(needed - platform.abilities):
        words = ", ".join(ability.replace("_", " ") for ability in lacking)
        raise NotSupported(f"{platform.label} does not support: {words}.")


def _is_direct(request: Request) -> bool:
    channel = request.channel
    return request.person is not None or (
        channel is not None and channel.kind == ChannelKind.DIRECT
    )


def _entry(
    bot: Bot,
    request: Request,
    requested_by: str,
    keys: Mapping[int, str],
    people: Mapping[PersonRef, str],
) -> lanes.Entry:
    payload = dict(request.payload)
    if request.channel is not None:
        key = keys[request.channel.pk]
        payload["channel"] = request.channel.remote_id
    elif request.person is not None:
        key = people[request.person]
        payload["person"] = {
            "id": request.person.id,
            "username": request.person.username,
            "email": request.person.email,
        }
    else:
        key = targets.CONTROL
    job = Job(
        bot=bot,
        kind=request.kind,
        channel=request.channel,
        payload=payload,
        priority=request.priority,
        not_before=request.not_before,
        expires_at=request.expires_at,
        requested_by=requested_by[:200],
        group=request.group,
        handler_run_id=request.handler_run_id,
    )
    return lanes.Entry(
        key=key if request.ordered else f"{targets.UNORDERED}:{key}",
        work=job,
        ordered=request.ordered,
        priority=request.priority,
    )


# Steering ---------------------------------------------------------------------------------------


def cancel(job: Job) -> None:
    """Raises `Conflict` unless the job is still queued."""
    with transaction.atomic():
        _move(job, WorkState.CANCELLED, finished_at=Now())
        _tell_finished(job)
        audit.record("job.cancelled", job)


def cancel_waiting(lane: Lane, *, newest: int) -> int:
    """Cancel the next of the jobs that are queued in a lane, up to the one with the id `newest`;
    returns how many. Those that a worker is just taking are left to it."""
    with transaction.atomic():
        count = _cancel_some(Job.objects.filter(lane=lane, pk__lte=newest))
        if count:
            told = f"{count} of the jobs that waited."
            audit.record("lane.cancelled", lane, note=told, called=lane_names.whole(lane))
    return count


def cancel_group(group: JobGroup, ends: float) -> None:
    """Cancel what is queued of a group, until then (of the monotonic clock). Those that a worker is
    just taking are left to it, and cancelled by the next call if they come back."""
    while _cancel_some(group.jobs.all()) and time.monotonic() < ends:
        pass


def _cancel_some(rows: QuerySet[Job]) -> int:
    with transaction.atomic():
        queued = rows.filter(state=WorkState.QUEUED).order_by("pk")
        jobs = list(queued.select_for_update(skip_locked=True)[:CANCELLED_AT_ONCE])
        for job in jobs:
            job.state, job.finished_at = WorkState.CANCELLED, timezone.now()
        bulk.update(jobs, ["state", "finished_at"])
        sequence.store_once([finished_event(job) for job in jobs])
    return len(jobs)


def retry(job: Job) -> None:
    """Queue the job again, at its old place in its lane. Raises `Conflict` while it is open, and
    when its group was undone.

    An uncertain job is not retried but resolved: only a person can know that it was not sent.
    """
    if job.state == WorkState.UNCERTAIN:
        raise Conflict(f"Job {job.pk} is uncertain: resolve it as sent or not_sent.")
    with transaction.atomic():
        _queue_again(job)
        audit.record("job.retried", job)


def resolve_sent(job: Job) -> None:
    """A person saw that an uncertain job was done. Raises `Conflict` for any other state."""
    _only_uncertain(job)
    with transaction.atomic():
        _move(
            job,
            WorkState.SUCCEEDED,
            finished_at=Now(),
            error_code="",
            error_detail="",
            next_step="",
        )
        _tell_finished(job)
        audit.record("job.resolved", job, note="As sent.")


def resolve_not_sent(job: Job) -> None:
    """A person saw that an uncertain job was not done: it is tried again."""
    _only_uncertain(job)
    with transaction.atomic():
        _queue_again(job)
        audit.record("job.resolved", job, note="As not sent: it is tried again.")


def answered(job: Job) -> bool:
    """Let the response to a webhook say what the job was to post, which ends it. False when it is
    not queued any more: then it must not be said there."""
    try:
        with transaction.atomic():
            result = {"messages": [], "answered": True}
            _move(job, WorkState.SUCCEEDED, finished_at=timezone.now(), result=result)
            _tell_finished(job)
    except Conflict:
        return False
    return True


def expire_overdue() -> int:
    """End queued jobs whose time has passed, also those behind others; returns how many."""
    with transaction.atomic():
        overdue = Job.objects.filter(state=WorkState.QUEUED, expires_at__lt=Now())
        jobs = list(overdue.select_for_update(skip_locked=True)[: lanes.SWEEP_LIMIT])
        for job in jobs:
            job.state, job.finished_at = WorkState.EXPIRED, timezone.now()
            job.error_code, job.error_detail = "expired", ""
        bulk.update(jobs, ["state", "finished_at", "error_code", "error_detail"])
        sequence.store([finished_event(job) for job in jobs])
    return len(jobs)


def finished_event(job: Job) -> Event:
    """The event that tells how a job ended; one for each time it does."""
    # A job that is cancelled, queued again and cancelled again made no attempt in between.
    ended = job.finished_at.isoformat() if job.finished_at else ""
    return Event(
        bot_id=job.bot_id,
        kind=Kind.JOB_FINISHED,
        dedupe_key=f"job:{job.pk}:{job.attempts}:{job.state}:{ended}",
        channel_id=job.channel_id,
        occurred_at=timezone.now(),
        data={
            "job": str(job.pk),
            "kind": job.kind,
            "state": job.state,
            "result": job.result,
            "error": {"code": job.error_code, "detail": job.error_detail}
            if job.error_code
            else None,
        },
    )


def _only_uncertain(job: Job) -> None:
    if job.state != WorkState.UNCERTAIN:
        raise Conflict(f"Job {job.pk} is {job.state}, not uncertain.")


def _queue_again(job: Job) -> None:
    with transaction.atomic():
        _move(
            job,
            WorkState.QUEUED,
            not_before=None,
            expires_at=None,
            finished_at=None,
            error_code="",
            error_detail="",
            next_step="",
        )
        _open_group_again(job)
        lanes.put_again(job.lane_id)


def _open_group_again(job: Job) -> None:
    """Whoever follows the group of the job waits for it once more. Raises `Conflict` for a group
    that was undone: nothing would take back what the job does now."""
    if job.group_id is None:
        return
    # In the order in which all who write this do: the group, then its items.
    JobGroup.objects.filter(pk=job.group_id, state=GroupState.FINISHED).update(
        state=GroupState.RUNNING, finished_at=None, cancelled_at=None
    )
    if JobGroup.objects.filter(undoes=job.group_id).exists():
        raise Conflict("A later change takes back what this job belongs to. Begin a new one.")
    over = GroupItem.objects.filter(job=job, state__in=(Fate.FAILED, Fate.CANCELLED))
    over.update(state=Fate.WAITING, code="", detail="")


def _move(job: Job, to: WorkState, **changes: Any) -> None:
    """Raises `Conflict` when the job cannot go there, or went elsewhere a moment ago."""
    moved = to in MOVES.get(WorkState(job.state), ()) and Job.objects.filter(
        pk=job.pk, state=job.state
    ).update(state=to, **changes)
    if not moved:
        job.refresh_from_db(fields=["state"])
        raise Conflict(f"Job {job.pk} is {job.state} and cannot become {to.value}.")
    job.refresh_from_db(fields=["state", *changes])


def _tell_finished(job: Job) -> None:
    sequence.store_once([finished_event(job)])
