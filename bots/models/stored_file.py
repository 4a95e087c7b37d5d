"""A file a client gave us to send: kept in the file store until `bots.files` prunes it."""

from __future__ import annotations

from uuid import uuid4

from django.db import models

from bots.models.bot import Bot
from bots.models.job import Job


def _path(file: StoredFile, _name: str) -> str:
    # The name people gave is never a path here.
    return f"outgoing/{uuid4().hex}"


class StoredFile(models.Model):
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="+")
    # What sends it; null until that is stored.
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, related_name="files")
    name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=100)
    size = models.PositiveBigIntegerField()  # bytes
    content = models.FileField(upload_to=_path)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name
