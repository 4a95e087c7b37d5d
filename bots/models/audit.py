"""An entry of the audit log: who changed what, before and after. Written once, never changed.

`bots.audit` is its only door.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from bots.models.bot import Bot
from bots.who import Door

DOORS = [
    (Door.ADMIN.value, "Admin"),
    (Door.API.value, "REST API"),
    (Door.COMMAND.value, "Command line"),
    (Door.ITSELF.value, "botadmin itself"),
]


class AuditEntry(models.Model):
    at = models.DateTimeField(default=timezone.now)
    actor_label = models.CharField("who", max_length=200)
    actor_key = models.CharField(max_length=200)
    door = models.CharField(max_length=10, choices=DOORS)
    action = models.CharField("what", max_length=60)  # a stable code: `bot.started`

    # No foreign key: it outlives what it is about, and tells how that was called.
    kind = models.CharField("kind of object", max_length=40)
    object_id = models.CharField(max_length=40)
    label = models.CharField("object", max_length=200)
    # Whose operators may read it.
    bot = models.ForeignKey(
        Bot, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )

    changes = models.JSONField(default=list)  # of {"field", "before", "after"}, without secrets
    note = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        indexes = [
            # What happened to an object: its History.
            models.Index(fields=["kind", "object_id", "-id"], name="audit_by_object"),
            # What operators may read, and the filters of lists.
            models.Index(fields=["bot", "-id"], name="audit_by_bot"),
            models.Index(fields=["actor_key", "-id"], name="audit_by_actor"),
            models.Index(fields=["actor_label", "-id"], name="audit_by_name"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            # From when to when, and what is old enough to be removed.
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.action_shown}: {self.label}"

    @property
    def action_shown(self) -> str:
        """`bot.started` in words: "Bot started"."""
        words = self.action.replace(".", " ").replace("_", " ")
        return words[:1].upper() + words[1:]
