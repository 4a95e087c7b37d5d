"""A chat message as one bot saw or said it."""

from __future__ import annotations

from django.db import models

from bots.models.bot import Bot
from bots.models.event import Event
from bots.models.job import Job
from spaces.models import Channel, Person


class Direction(models.TextChoices):
    IN = "in"
    OUT = "out"


class Message(models.Model):
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="messages")
    channel = models.ForeignKey(
        Channel, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    remote_id = models.CharField(max_length=255)
    direction = models.CharField(max_length=3, choices=Direction.choices)
    sender = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.TextField(blank=True)
    card = models.JSONField(null=True)  # the fields of messages.Card
    files = models.JSONField(default=list)  # of {id, name, content_type, size}
    # Of {person, name}, the person by the platform's id; null: unknown, as of old messages. Written
    # by the inbox only, and only together with the events that tell of the changes.
    reactions = models.JSONField(null=True)
    thread = models.CharField(max_length=255, blank=True)  # remote id of the message answered
    sent_at = models.DateTimeField()
    edited_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, related_name="messages")
    # That told of it first. Events may go before their messages, and nobody looks here for each.
    event = models.ForeignKey(
        Event,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )

    class Meta:
        ordering = ["-sent_at", "-pk"]
        constraints = [
            # The stream, the catch-up and the answer to our own post all tell of one message.
            models.UniqueConstraint(fields=["bot", "remote_id"], name="message_once_per_bot"),
        ]
        indexes = [
            # bots/{bot}/messages/, newest first; with ?channel=.
            models.Index(fields=["bot", "-sent_at", "-id"], name="message_newest"),
            models.Index(
                fields=["bot", "channel", "-sent_at", "-id"], name="message_newest_in_channel"
            ),
            # One message as each bot saw it; also all of a channel.
            models.Index(fields=["channel", "remote_id"], name="message_in_channel"),
            # The answers to a message that is deleted with its thread.
            models.Index(
                fields=["bot", "thread"], name="message_answers", condition=~models.Q(thread="")
            ),
        ]

    def __str__(self) -> str:
        return self.text[:60] or f"message {self.remote_id}"
