"""Whose turn it is: one worker at a time works on a group, for a few seconds, then others go first.

As with lanes, the rows are the truth and the broker only wakes workers; what a lost wake-up or a
dead worker left behind, the sweep finds.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from bots import bulk, lanes, wakeups
from bots.job_groups import checking, running
from bots.models import GroupItem, GroupState, JobGroup
from bots.models.job_group import OPEN_GROUPS
from spaces.models import Space

TURN_SECONDS = 5.0
CLAIMED = timedelta(minutes=3)  # longer than a turn and the longest call within it
REMOVED_AT_ONCE = 5_000
TIDY_SECONDS = 3.0

FREE = Q(claimed_until__isnull=True) | Q(claimed_until__lt=Now())


def wake_on_commit(group: JobGroup) -> None:
    pk = group.pk
    transaction.on_commit(lambda: _wake(pk), robust=True)


def work(group_id: int) -> None:
    """Work on a group for one turn. Does nothing while somebody else does, or when there is
    nothing to do: wake-ups may come twice."""
    mine = JobGroup.objects.filter(FREE, pk=group_id, state__in=OPEN_GROUPS)
    if not mine.update(claimed_until=Now() + CLAIMED):
        return
    group = JobGroup.objects.select_related("bot__space", "bot__connection").get(pk=group_id)
    ends = time.monotonic() + TURN_SECONDS
    match group.state:
        case GroupState.CHECKING:
            waits = checking.go_on(group, ends)
        case GroupState.STARTING:
            waits = running.start(group, ends)
        case _:
            waits = running.follow(group, ends)
    # Somebody may have stopped it and begun anew: then it is another worker's.
    mine = JobGroup.objects.filter(pk=group_id, claimed_until=group.claimed_until)
    mine.update(claimed_until=Now() + timedelta(seconds=waits) if waits else None)
    if waits is None:
        _wake(group_id)


def sweep() -> None:
    """Wake workers for groups that nobody is at."""
    free = JobGroup.objects.filter(FREE, state__in=OPEN_GROUPS)
    for pk in free.values_list("pk", flat=True):
        _wake(pk)


def tidy() -> None:
    """Forget groups when their jobs are old enough to be forgotten, for a few seconds."""
    ends = time.monotonic() + TIDY_SECONDS
    # One that was undone has the people of the group that did so, and goes after it.
    ended = (
        JobGroup.objects.filter(undone_by=None)
        .exclude(state__in=OPEN_GROUPS)
        .annotate(ended_at=Coalesce("finished_at", "checked_at", "created_at"))
    )
    for space in Space.objects.filter(keep_jobs_days__gt=0):
        limit = timezone.now() - timedelta(days=space.keep_jobs_days)
        for group in ended.filter(bot__space=space, ended_at__lt=limit).order_by("pk"):
            if not _remove(group, ends):
                return


def _remove(group: JobGroup, ends: float) -> bool:
    """Whether that was possible until then."""
    while ids := list(group.items.values_list("pk", flat=True)[:REMOVED_AT_ONCE]):
        if time.monotonic() >= ends:
            return False
        bulk.delete(GroupItem, ids)
    group.delete()
    return True


def _wake(group_id: int) -> None:
    wakeups.ask("work_on_job_group", group_id, expires=2 * lanes.SWEEP_SECONDS)
