"""A person: somebody in a space, people and bots alike."""

from __future__ import annotations

from django.db import models

from spaces.models.space import Space


class Person(models.Model):
    space = models.ForeignKey(Space, on_delete=models.CASCADE, related_name="people")
    remote_id = models.CharField(max_length=255)
    username = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=255, blank=True)
    email = models.CharField(max_length=255, blank=True)
    is_bot = models.BooleanField(default=False)
    seen_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["username", "pk"]
        verbose_name_plural = "people"
        constraints = [
            # People are known by the platform's id, never by a name that can change hands.
            models.UniqueConstraint(fields=["space", "remote_id"], name="person_once_per_space"),
        ]
        indexes = [
            # Looking somebody up as an operator names them: by username, by e-mail.
            models.Index(fields=["space", "username"], name="person_by_username"),
            models.Index(fields=["space", "email"], name="person_by_email"),
        ]

    def __str__(self) -> str:
        return self.name or self.username or self.remote_id
