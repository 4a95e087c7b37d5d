"""A job group: people added to or removed from many channels at once, and what became of each.

First it is a dry run, which says of every person and channel what would happen; when somebody runs
it, it becomes jobs. `bots.job_groups` works on it.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from bots.models.bot import Bot
from spaces.models import Channel, Person


class GroupKind(models.TextChoices):
    ADD = "participants.add", "Add people"
    REMOVE = "participants.remove", "Remove people"


class GroupState(models.TextChoices):
    CHECKING = "checking"  # the dry run is under way
    CHECKED = "checked"  # it waits for somebody who says: run
    STOPPED = "stopped"  # the dry run ended without an answer
    STARTING = "starting"  # its jobs are being made
    RUNNING = "running"
    FINISHED = "finished"


OPEN_GROUPS = (GroupState.CHECKING, GroupState.STARTING, GroupState.RUNNING)


class Found(models.IntegerChoices):
    """What is known of somebody who was named."""

    UNASKED = 0
    KNOWN = 1
    NOBODY = 2
    SEVERAL = 3
    DOUBLE = 4  # named before, in other words
    UNASKABLE = 5  # unknown here, and the platform finds nobody by name: it says when it runs


class Plan(models.IntegerChoices):
    """What would happen; in the order in which it is shown."""

    AMBIGUOUS = 0, "ambiguous"
    NOT_FOUND = 1, "not found"
    REFUSED = 2, "not possible"
    ADD = 3, "will be added"
    PROMOTE = 4, "becomes moderator"
    REMOVE = 5, "will be removed"
    THERE = 6, "is there already"
    ABSENT = 7, "is not there"


class Fate(models.IntegerChoices):
    """What became of it; in the order in which it is shown."""

    FAILED = 0, "failed"
    WAITING = 1, "waiting"  # a job was made, and says how it ends
    PLANNED = 2, "planned"
    HELD = 3, "to decide"  # cannot be done as it stands
    DONE = 4, "done"
    CANCELLED = 5, "cancelled"
    LEFT_OUT = 6, "left out"
    NOTHING = 7, "nothing to do"


class JobGroup(models.Model):
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="job_groups")
    kind = models.CharField(max_length=30, choices=GroupKind.choices)
    moderator = models.BooleanField(default=False)  # who is added moderates
    state = models.CharField(max_length=10, choices=GroupState.choices, default=GroupState.CHECKING)
    requested_by = models.CharField(max_length=200)
    undoes = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, related_name="undone_by"
    )
    people_count = models.PositiveIntegerField()
    channel_count = models.PositiveIntegerField()
    failed_count = models.PositiveIntegerField(default=0)  # when it finished
    figures = models.JSONField(default=list)  # what `bots.job_groups.counting` counted

    created_at = models.DateTimeField(db_default=Now())
    checked_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    # Why the dry run waits, or stopped.
    tries = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.TextField(blank=True)
    next_step = models.TextField(blank=True)
    # Until then somebody is at it, or it waits.
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "change of participants"
        verbose_name_plural = "participants"
        ordering = ["-pk"]
        indexes = [
            # Who sweeps looks for the few that are open.
            models.Index(
                fields=["id"],
                name="job_group_open",
                condition=Q(state__in=[str(state) for state in OPEN_GROUPS]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class GroupChannel(models.Model):
    """One of the channels, and what is known of who is in it."""

    group = models.ForeignKey(JobGroup, on_delete=models.CASCADE, related_name="channels")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="+")
    is_read = models.BooleanField(default=False)
    is_planned = models.BooleanField(default=False)
    known_at = models.DateTimeField(null=True)  # how old the list of its members is
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.TextField(blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.channel_id} in group {self.group_id}"


class GroupPerson(models.Model):
    """Somebody who was named, in the order of the list."""

    group = models.ForeignKey(
        JobGroup, on_delete=models.CASCADE, related_name="people", db_index=False
    )
    number = models.PositiveIntegerField()
    asked = models.CharField(max_length=255)
    found = models.SmallIntegerField(choices=Found.choices, default=Found.UNASKED)
    detail = models.TextField(blank=True)
    person = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["group", "number"], name="group_person_numbered_once"),
        ]
        indexes = [
            # Whom the dry run has to ask for, next and all in all.
            models.Index(fields=["group", "found", "number"], name="group_person_by_found"),
        ]

    def __str__(self) -> str:
        return self.asked


class GroupItem(models.Model):
    """What becomes of one person in one channel."""

    group = models.ForeignKey(
        JobGroup, on_delete=models.CASCADE, related_name="items", db_index=False
    )
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="+")
    person = models.ForeignKey(GroupPerson, on_delete=models.CASCADE, related_name="+")
    plan = models.SmallIntegerField(choices=Plan.choices)
    state = models.SmallIntegerField(choices=Fate.choices)
    # Is to moderate, or did before being removed.
    moderator = models.BooleanField(default=False)
    # Jobs are removed in great numbers once they are old, and nobody looks here for each of them.
    job = models.ForeignKey(
        "bots.Job",
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    code = models.CharField(max_length=60, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["pk"]
        indexes = [
            # The page: by what would happen, by what became of it. The second also for counting.
            models.Index(fields=["group", "plan", "id"], name="group_item_by_plan"),
            models.Index(fields=["group", "state", "plan", "id"], name="group_item_by_state"),
            # What a job that ended is to be told to.
            models.Index(fields=["job", "state"], name="group_item_by_job"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} in {self.channel_id}"
