"""A job: one thing we ask of a platform. The row is the truth; the broker only wakes workers."""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.db.models import Q

from bots.models.bot import Bot
from bots.models.job_group import JobGroup
from bots.models.lane import FINISHED, UNFINISHED, Priority, Work, WorkState
from spaces.models import Channel

# All moves a job can make; `bots.jobs` and `bots.runner` make them by updates that name the state
# they leave.
MOVES: dict[WorkState, set[WorkState]] = {
    WorkState.QUEUED: {
        WorkState.RUNNING,
        WorkState.SUCCEEDED,  # a waiting webhook's response said it
        WorkState.CANCELLED,
        WorkState.EXPIRED,
        WorkState.FAILED,
    },
    WorkState.RUNNING: {
        WorkState.QUEUED,
        WorkState.SUCCEEDED,
        WorkState.FAILED,
        WorkState.UNCERTAIN,
        WorkState.EXPIRED,
    },
    WorkState.UNCERTAIN: {WorkState.QUEUED, WorkState.SUCCEEDED, WorkState.FAILED},
    WorkState.FAILED: {WorkState.QUEUED},
    WorkState.CANCELLED: {WorkState.QUEUED},
    WorkState.EXPIRED: {WorkState.QUEUED},
}


class JobKind(models.TextChoices):
    POST = "message.post"
    EDIT = "message.edit"
    DELETE = "message.delete"
    PIN = "message.pin"
    UNPIN = "message.unpin"
    REACT = "reaction.add"
    UNREACT = "reaction.remove"
    MARK_READ = "channel.read"
    TYPING = "channel.typing"
    CREATE_CHANNEL = "channel.create"
    UPDATE_CHANNEL = "channel.update"
    ARCHIVE_CHANNEL = "channel.archive"
    RESTORE_CHANNEL = "channel.restore"
    JOIN_CHANNEL = "channel.join"
    LEAVE_CHANNEL = "channel.leave"
    ADD_PARTICIPANTS = "participants.add"
    REMOVE_PARTICIPANTS = "participants.remove"
    PRESENCE = "bot.presence"
    SYNC = "bot.sync"
    CUSTOM_REQUEST = "platform.request"


# What the chat shows as long as it is not done.
ABOUT_MESSAGES = (
    JobKind.POST,
    JobKind.EDIT,
    JobKind.DELETE,
    JobKind.REACT,
    JobKind.UNREACT,
    JobKind.PIN,
    JobKind.UNPIN,
)


class Job(Work):
    may_be_scheduled = True

    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="jobs", db_index=False)
    kind = models.CharField(max_length=30, choices=JobKind.choices)
    channel = models.ForeignKey(Channel, on_delete=models.SET_NULL, null=True, related_name="+")
    payload = models.JSONField(default=dict)  # what `bots.actions` wrote and reads
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.INTERACTIVE)
    expires_at = models.DateTimeField(null=True, blank=True)
    # What it is a part of.
    group = models.ForeignKey(
        JobGroup, on_delete=models.SET_NULL, null=True, related_name="jobs", db_index=False
    )
    # What platforms that drop repeats are told; the same on every retry.
    key = models.UUIDField(default=uuid4, unique=True, editable=False)
    requested_by = models.CharField(max_length=200, blank=True)  # for people: "token ci", "alice"
    # Which turn of a handler asked for it. Runs are removed in great numbers once they are old, and
    # nobody looks here for each of them.
    handler_run = models.ForeignKey(
        "bots.HandlerRun",
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="jobs",
        db_constraint=False,
        db_index=False,
    )
    result = models.JSONField(default=dict)
    next_step = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            # Draining: the unfinished jobs of a lane, in order.
            models.Index(
                fields=["lane", "id"],
                name="job_unfinished_in_lane",
                condition=Q(state__in=[str(s) for s in UNFINISHED]),
            ),
            # Expiry looks at the few that can expire.
            models.Index(
                fields=["expires_at"],
                name="job_expiring",
                condition=Q(state=str(WorkState.QUEUED), expires_at__isnull=False),
            ),
            # What waits, told apart: for a worker, for its next try, for the time it was asked for.
            models.Index(
                fields=["not_before", "id"],
                name="job_queued_by_time",
                condition=Q(state=str(WorkState.QUEUED)),
            ),
            # Lists, newest first: of one bot, of one state.
            models.Index(fields=["bot", "-id"], name="job_by_bot"),
            models.Index(fields=["state", "-id"], name="job_by_state"),
            # The chat page of a channel: what was asked of its messages and is not done.
            models.Index(
                fields=["bot", "channel", "-id"],
                name="job_open_about_messages",
                condition=~Q(state=str(WorkState.SUCCEEDED))
                & Q(kind__in=[str(kind) for kind in ABOUT_MESSAGES]),
            ),
            # The jobs of a group; most are of none.
            models.Index(
                fields=["group", "id"], name="job_by_group", condition=Q(group__isnull=False)
            ),
            # Lists of what is rare: of one error, of one kind other than messages.
            models.Index(
                fields=["error_code", "-id"], name="job_by_error", condition=~Q(error_code="")
            ),
            models.Index(
                fields=["kind", "-id"],
                name="job_by_other_kind",
                condition=~Q(kind="message.post"),
            ),
            # What a handler's turn asked for: few jobs have one.
            models.Index(
                fields=["handler_run"],
                name="job_by_handler_run",
                condition=Q(handler_run__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


class Attempt(models.Model):
    """One try at a job: when, how long, how it ended, and the platform's words without secrets."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempt_log")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    seconds = models.FloatField()
    outcome = models.CharField(max_length=60)  # succeeded, or an error's code
    request = models.JSONField(null=True)
    response = models.JSONField(null=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"attempt {self.number} at job {self.job_id}"
