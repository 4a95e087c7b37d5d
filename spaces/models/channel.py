"""A channel of a space, and who takes part in it."""

from __future__ import annotations

from django.db import models

from spaces.models.person import Person
from spaces.models.space import Space
from spaces.platforms.messages import ChannelKind, Role


class Channel(models.Model):
    space = models.ForeignKey(Space, on_delete=models.CASCADE, related_name="channels")
    remote_id = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, choices=[(k.value, k.value) for k in ChannelKind])
    name = models.CharField(max_length=255, blank=True)
    title = models.CharField(max_length=255, blank=True)
    topic = models.TextField(blank=True)
    purpose = models.TextField(blank=True, default="")
    archived = models.BooleanField(default=False)
    synced_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["space", "remote_id"], name="channel_once_per_space"),
        ]
        indexes = [
            # A client names a channel: bots/{bot}/channels/{name}.
            models.Index(fields=["space", "name"], name="channel_by_name"),
        ]

    def __str__(self) -> str:
        return self.title or self.name or self.remote_id


class Participant(models.Model):
    """A person's membership of a channel; removed with the membership."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="participants")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="participations")
    role = models.CharField(
        max_length=10, choices=[(r.value, r.value) for r in Role], default=Role.MEMBER
    )
    joined_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "person"], name="participant_once_per_channel"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person} in {self.channel}"
