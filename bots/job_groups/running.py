"""Running a group: jobs are made, and what becomes of each person is learned from how they end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from bots import bulk, jobs
from bots.job_groups import counting
from bots.models import (
    Bot,
    Fate,
    GroupChannel,
    GroupItem,
    GroupKind,
    GroupPerson,
    GroupState,
    Job,
    JobGroup,
    JobKind,
    Plan,
    Priority,
    WorkState,
)
from bots.models.lane import FINISHED
from bots.refusals import Refused
from spaces.platforms import registry
from spaces.platforms.contract import Ability
from spaces.platforms.messages import PersonRef

PEOPLE_PER_JOB = 100
MADE_AT_ONCE = 1_000  # people who get a job in one transaction
FOUND_AT_ONCE = 1_000  # jobs that have ended: a group may have 200,000 to look among
TAKEN_AT_ONCE = 50  # jobs whose outcome is taken over in one transaction
NOBODY_CHANGED = "nobody_changed"  # a job that failed, and says of each person why


# Making jobs ------------------------------------------------------------------------------------


def start(group: JobGroup, ends: float) -> float | None:
    """Make jobs until then. Seconds to wait before the next turn, None for: none."""
    if group.undoes_id is not None and not _plan_undoing(group, ends):
        return None
    while (goes_on := _make_some(group)) and time.monotonic() < ends:
        pass
    counting.count(group)
    return None if goes_on else 0.0


def _make_some(group: JobGroup) -> bool:
    """Make the next jobs; whether there may be more to make."""
    with transaction.atomic():
        locked = JobGroup.objects.select_for_update().get(pk=group.pk)
        if locked.state != GroupState.STARTING:
            return False
        planned = group.items.filter(state=Fate.PLANNED)
        # Along an index: whoever sorts all that is left sorts it once for each thousand.
        in_order = planned.select_related("channel", "person__person").order_by("plan", "pk")
        if items := list(in_order[:MADE_AT_ONCE]):
            _submit(group, items)
        else:
            JobGroup.objects.filter(pk=group.pk).update(state=GroupState.RUNNING)
        return bool(items)


def _submit(group: JobGroup, items: Sequence[GroupItem]) -> None:
    try:
        jobs.check_platform(group.bot, set())
        pieces = list(_pieces(group.bot, items))
        requests = [_request(group, piece) for piece in pieces]
        made = jobs.submit_many(group.bot, requests, requested_by=group.requested_by)
    except Refused as refused:  # since the dry run, or the platform was taken out
        _end(items, Fate.FAILED, refused.code, refused.detail)
    else:
        for piece, job in zip(pieces, made, strict=True):
            for item in piece:
                item.job, item.state = job, Fate.WAITING
    bulk.update(items, ["job", "state", "code", "detail"])


def _pieces(bot: Bot, items: Iterable[GroupItem]) -> Iterable[list[GroupItem]]:
    """Those that can be one job: of one channel, and no more than the platform takes at once."""
    platform = registry.get(bot.space.platform)
    size = min(PEOPLE_PER_JOB, platform.limits.people_per_request or PEOPLE_PER_JOB)
    together: dict[tuple[int, bool], list[GroupItem]] = defaultdict(list)
    for item in items:
        together[item.channel_id, item.moderator].append(item)
    for some in together.values():
        for first in range(0, len(some), size):
            yield some[first : first + size]


def _request(group: JobGroup, piece: Sequence[GroupItem]) -> jobs.Request:
    payload: dict[str, Any] = {"people": [asdict(_ref(item.person)) for item in piece]}
    if piece[0].moderator and group.kind == GroupKind.ADD:
        payload["moderator"] = True
    return jobs.Request(
        kind=JobKind(group.kind),
        channel=piece[0].channel,
        payload=payload,
        priority=Priority.BULK,
        group=group,
    )


def _ref(one: GroupPerson) -> PersonRef:
    if one.person is None:
        return PersonRef.parse(one.asked)
    return PersonRef(id=one.person.remote_id, username=one.person.username)


# Undoing ----------------------------------------------------------------------------------------


def _plan_undoing(group: JobGroup, ends: float) -> bool:
    """Write down what is to be taken back, channel by channel; whether that was all."""
    platform = registry.platforms().get(group.bot.space.platform)  # it may have been taken out
    moderates = platform is not None and Ability.MODERATORS in platform.abilities
    plan = Plan.ADD if group.kind == GroupKind.ADD else Plan.REMOVE
    for one in group.channels.filter(is_planned=False):
        if time.monotonic() >= ends:
            return False
        with transaction.atomic():
            locked = JobGroup.objects.select_for_update().get(pk=group.pk)
            if not GroupChannel.objects.filter(pk=one.pk, is_planned=False).update(is_planned=True):
                continue
            done = GroupItem.objects.filter(
                group=group.undoes_id,
                channel=one.channel_id,
                state=Fate.DONE,
                plan__in=(Plan.ADD, Plan.REMOVE),
            )
            bulk.insert(
                [
                    GroupItem(
                        group=group,
                        channel_id=one.channel_id,
                        person=item.person,
                        plan=plan,
                        # What was cancelled before it was written down can be taken up again.
                        state=Fate.CANCELLED if locked.cancelled_at else Fate.PLANNED,
                        moderator=item.moderator and moderates,
                    )
                    for item in done.select_related("person").order_by("pk")
                ]
            )
    return True


# Following jobs ---------------------------------------------------------------------------------


def follow(group: JobGroup, ends: float) -> float | None:
    """Take over how jobs ended, until then; finish when all have. As `start`."""
    if group.cancelled_at is not None:
        # Each turn: what a worker was at may have come back into its lane.
        jobs.cancel_group(group, ends)
    if not (found := _ended(group)):
        _finish(group)
        return 0.0
    while found:
        some, found = found[:TAKEN_AT_ONCE], found[TAKEN_AT_ONCE:]
        _take_over_some(group, some)
        if time.monotonic() >= ends:
            break
        found = found or _ended(group)
    counting.count(group)
    return None


def _ended(group: JobGroup) -> list[int]:
    """The next jobs that people wait for and that have ended."""
    waits = GroupItem.objects.filter(job=OuterRef("pk"), state=Fate.WAITING)
    ended = group.jobs.filter(Exists(waits), state__in=FINISHED).order_by("pk")
    return list(ended.values_list("pk", flat=True)[:FOUND_AT_ONCE])


def _take_over_some(group: JobGroup, job_ids: Sequence[int]) -> None:
    with transaction.atomic():
        locked = JobGroup.objects.select_for_update().get(pk=group.pk)
        if locked.state == GroupState.RUNNING:
            # Asked anew: somebody may have retried one.
            _take_over(list(Job.objects.filter(pk__in=job_ids, state__in=FINISHED)))


def _take_over(ended: Sequence[Job]) -> None:
    items: dict[int, list[GroupItem]] = defaultdict(list)
    of_jobs = GroupItem.objects.filter(job__in=[job.pk for job in ended])
    for item in of_jobs.order_by("plan", "pk"):  # as they were put into the jobs
        items[item.job_id or 0].append(item)
    for job in ended:
        _tell(job, items[job.pk])
    changed = [item for some in items.values() for item in some]
    bulk.update(changed, ["state", "code", "detail"])


def _tell(job: Job, items: Sequence[GroupItem]) -> None:
    """Say to each what became of it; those of a job have the order of the people in it."""
    outcomes = job.result.get("people", ())
    if job.state == WorkState.CANCELLED and job.attempts:
        detail = "It was begun, and cancelled then: a part may have been done. Look, or retry."
        _end(items, Fate.FAILED, "unclear", detail)
    elif job.state == WorkState.CANCELLED:
        _end(items, Fate.CANCELLED)
    elif job.state != WorkState.SUCCEEDED and job.error_code != NOBODY_CHANGED:
        detail = job.error_detail or f"The job is {job.state}."
        _end(items, Fate.FAILED, job.error_code or job.state, detail)
    elif len(outcomes) != len(items):
        detail = "The platform did not say what became of each. Look at the job."
        _end(items, Fate.FAILED, "no_answer", detail)
    else:
        for item, outcome in zip(items, outcomes, strict=True):
            state = Fate.DONE if outcome["ok"] else Fate.FAILED
            _end([item], state, outcome["code"], outcome["detail"])


def _end(items: Iterable[GroupItem], state: Fate, code: str = "", detail: str = "") -> None:
    for item in items:
        item.state, item.code, item.detail = state, code[:60], detail


def _finish(group: JobGroup) -> None:
    with transaction.atomic():
        locked = JobGroup.objects.select_for_update().get(pk=group.pk)
        open_jobs = group.jobs.exclude(state__in=FINISHED)
        if locked.state != GroupState.RUNNING or open_jobs.exists():
            return
        _end_those_without_job(group)
        if group.items.filter(state__in=(Fate.WAITING, Fate.PLANNED)).exists():
            return
        # Whoever took over the last outcomes may have ended before they were counted.
        counting.count(group)
        failed = group.items.filter(state=Fate.FAILED).count()
        JobGroup.objects.filter(pk=group.pk).update(
            state=GroupState.FINISHED, finished_at=Now(), failed_count=failed
        )


def _end_those_without_job(group: JobGroup) -> None:
    """Old jobs are removed, also when no worker came to see how they ended."""
    job = Job.objects.filter(pk=OuterRef("job"))
    group.items.filter(~Exists(job), state=Fate.WAITING).update(
        state=Fate.FAILED,
        code="job_removed",
        detail="Its job was removed before anybody saw how it ended. Look, or retry.",
    )
