"""Accounts that come to be, and passwords that change, by whichever door.

Django has doors of its own for these, in the admin and on the command line, that pass no code of
ours but the saving of the row.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from bots import audit


@receiver(post_save, sender=User, dispatch_uid="audit of accounts")
def note(instance: User, created: bool, raw: bool, **_: Any) -> None:
    if raw:  # loaded from a dump, with the log
        return
    if created:
        audit.created(instance)
    # Set while somebody gives a new one, and not when Django only stores it hashed anew.
    elif instance._password is not None:  # type: ignore[attr-defined]
        audit.record(
            "user.changed",
            instance,
            [audit.Change(field="Password", before=audit.SET, after=audit.CHANGED)],
        )
