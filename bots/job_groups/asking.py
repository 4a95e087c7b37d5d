"""What people ask of job groups. All of it is quick; workers do the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from bots import audit, bulk, jobs
from bots.job_groups import counting, working
from bots.models import (
    Bot,
    Fate,
    Found,
    GroupChannel,
    GroupItem,
    GroupKind,
    GroupPerson,
    GroupState,
    JobGroup,
    JobKind,
    Plan,
)
from bots.refusals import Conflict, Invalid
from spaces.models import Channel

MOST_PEOPLE = 10_000
MOST_CHANNELS = 500
MOST_ITEMS = 200_000  # people times channels
# Afterwards nobody can know any more what the dry run says.
LASTS = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Who is to be in, or out of, which channels."""

    kind: GroupKind
    people: Sequence[str]
    channels: Sequence[Channel]
    moderator: bool = False


def check(bot: Bot, wanted: Wanted) -> None:
    """Raises `Invalid`, `NotPermitted` or `NotSupported` for what can never be."""
    if not wanted.people:
        raise Invalid("Name somebody.", field="people")
    if not wanted.channels:
        raise Invalid("Choose a channel.", field="channels")
    people, channels = len(wanted.people), len(wanted.channels)
    if people > MOST_PEOPLE:
        raise Invalid(f"{people:,} people are too many: at most {MOST_PEOPLE:,}.", field="people")
    if channels > MOST_CHANNELS:
        raise Invalid(f"At most {MOST_CHANNELS} channels at once.", field="channels")
    if people * channels > MOST_ITEMS:
        raise Invalid(
            f"{people:,} people in {channels} channels are {people * channels:,} memberships: at "
            f"most {MOST_ITEMS:,} at once. Choose fewer channels, or paste a part of the list."
        )
    payload = {"moderator": True} if wanted.moderator else {}
    jobs.check(bot, jobs.Request(kind=JobKind(wanted.kind.value), payload=payload))
    if not bot.enabled:
        raise Invalid(f"{bot} is switched off. Start it, then check again.", field="bot")


def ask(bot: Bot, wanted: Wanted, *, requested_by: str) -> JobGroup:
    """Begin a dry run. Raises as `check`."""
    check(bot, wanted)
    group = JobGroup(
        bot=bot,
        kind=wanted.kind,
        moderator=wanted.moderator,
        requested_by=requested_by[:200],
        people_count=len(wanted.people),
        channel_count=len(wanted.channels),
    )
    with transaction.atomic():
        group.save()
        bulk.insert([GroupChannel(group=group, channel=channel) for channel in wanted.channels])
        bulk.insert(
            [
                GroupPerson(group=group, number=number, asked=asked)
                for number, asked in enumerate(wanted.people, start=1)
            ]
        )
        working.wake_on_commit(group)
    return group


# The dry run ------------------------------------------------------------------------------------


def is_outdated(group: JobGroup) -> bool:
    return group.checked_at is not None and group.checked_at < timezone.now() - LASTS


def check_again(group: JobGroup) -> None:
    """Have the platform asked anew; a worker then forgets what the dry run before said. Raises
    `Conflict` once it was run."""
    with transaction.atomic():
        locked = _locked(group)
        if locked.state not in (GroupState.CHECKED, GroupState.STOPPED) or locked.undoes_id:
            raise Conflict("Only a dry run that has ended and was not run can be checked again.")
        locked.people.update(found=Found.UNASKED, person=None, detail="")
        locked.channels.update(
            is_read=False, is_planned=False, known_at=None, error_code="", error_detail=""
        )
        _move(locked, GroupState.CHECKING, checked_at=None, figures=[])


def leave_out(group: JobGroup) -> int:
    """Leave out all who cannot be added or removed as it stands; returns how many."""
    with transaction.atomic():
        _only(_locked(group), GroupState.CHECKED)
        count = group.items.filter(state=Fate.HELD).update(state=Fate.LEFT_OUT)
        counting.count(group)
    return count


def run(group: JobGroup) -> None:
    """Do what the dry run said. What runs already, runs once.

    Raises `Conflict` when it has finished, when the dry run is too old, or when there is something
    to decide first.
    """
    with transaction.atomic():
        locked = _locked(group)
        if locked.state in (GroupState.STARTING, GroupState.RUNNING):
            return
        if locked.state == GroupState.FINISHED:
            raise Conflict("It was run before and has finished: what became of it is here.")
        _only(locked, GroupState.CHECKED)
        if is_outdated(locked):
            raise Conflict("This dry run is older than an hour. Check again, then run it.")
        if locked.items.filter(state=Fate.HELD).exists():
            raise Conflict("Some cannot be done. Leave them out, or correct the list.")
        if not locked.items.filter(state=Fate.PLANNED).exists():
            raise Conflict("There is nothing to do: nobody would be added or removed.")
        _move(locked, GroupState.STARTING, started_at=Now())
        audit.record("job_group.run", locked)


# Afterwards -------------------------------------------------------------------------------------


def try_again(group: JobGroup, fate: Fate) -> int:
    """Do it once more for all who failed, or were cancelled; returns for how many. Raises
    `Conflict`, also once the group was undone: nothing would take back what it did from now on."""
    with transaction.atomic():
        locked = _locked(group)
        _only(locked, GroupState.FINISHED)
        if JobGroup.objects.filter(undoes=locked).exists():
            raise Conflict("A later change takes this back. Begin a new one for who is left.")
        items = locked.items.filter(state=fate)
        count = items.update(state=Fate.PLANNED, job=None, code="", detail="")
        if not count:
            raise Conflict(f"There is nobody left who is {fate.label}.")
        counting.count(locked)
        _move(locked, GroupState.STARTING, finished_at=None, cancelled_at=None, failed_count=0)
        audit.record("job_group.retried", locked, note=f"{count} that were {fate.label}.")
    return count


def cancel(group: JobGroup) -> None:
    """Do nothing more of what waits. What has a job already a worker cancels, also when it comes
    back from a platform that had no time for it. Raises `Conflict` when nothing waits."""
    with transaction.atomic():
        locked = _locked(group)
        if locked.state == GroupState.CHECKING:
            _move(
                locked,
                GroupState.STOPPED,
                error_code="stopped",
                error_detail="Somebody stopped the dry run.",
                next_step="Check again when you want to know.",
            )
        else:
            _only(locked, GroupState.STARTING, GroupState.RUNNING)
            locked.items.filter(state=Fate.PLANNED).update(state=Fate.CANCELLED)
            counting.count(locked)
            JobGroup.objects.filter(pk=locked.pk).update(cancelled_at=Now())
            working.wake_on_commit(locked)
        audit.record("job_group.cancelled", locked)


def undoable(group: JobGroup) -> QuerySet[GroupItem]:
    """What the group changed and can be taken back: those whom it let in or out, and nobody who
    was in or out before. Who became a moderator stays one: no platform tells how to end that."""
    return group.items.filter(state=Fate.DONE, plan__in=(Plan.ADD, Plan.REMOVE))


def undo(group: JobGroup, *, requested_by: str) -> JobGroup:
    """Take back what this group changed; returns the group that does so, one and the same however
    often it is asked for. Raises `Conflict` while the group runs or when nothing is left to undo,
    `NotPermitted` and `NotSupported` when the bot cannot."""
    bot = group.bot
    kind = GroupKind.REMOVE if group.kind == GroupKind.ADD else GroupKind.ADD
    with transaction.atomic():
        locked = _locked(group)
        if (before := JobGroup.objects.filter(undoes=locked).first()) is not None:
            return before
        _only(locked, GroupState.FINISHED)
        jobs.check(bot, jobs.Request(kind=JobKind(kind.value)))
        changed = undoable(locked)
        if not changed.exists():
            raise Conflict("This group changed nothing that could be taken back.")
        undoing = JobGroup.objects.create(
            bot=bot,
            kind=kind,
            undoes=locked,
            state=GroupState.STARTING,
            requested_by=requested_by[:200],
            people_count=changed.values("person").distinct().count(),
            channel_count=changed.values("channel").distinct().count(),
            started_at=timezone.now(),
        )
        channel_ids = changed.order_by("channel").values_list("channel", flat=True).distinct()
        bulk.insert([GroupChannel(group=undoing, channel_id=pk) for pk in channel_ids])
        working.wake_on_commit(undoing)
        audit.record("job_group.undone", locked)
    return undoing


def _locked(group: JobGroup) -> JobGroup:
    return JobGroup.objects.select_for_update().get(pk=group.pk)


def _only(group: JobGroup, *states: GroupState) -> None:
    if group.state not in states:
        raise Conflict(f"This is {group.state} now, so that cannot be done.")


def _move(group: JobGroup, to: GroupState, **changes: object) -> None:
    """In a transaction that has locked the row."""
    fresh = {"tries": 0, "error_code": "", "error_detail": "", "next_step": ""}
    JobGroup.objects.filter(pk=group.pk).update(
        **{"state": to, "claimed_until": None, **fresh, **changes}
    )
    if to != GroupState.STOPPED:
        working.wake_on_commit(group)
