"""Accounts that come to be, and passwords that change, by whichever door.

Django has doors of its own for these, in the admin and on the command line, that pass no code of
ours but the saving of the row. Those for one's own password and on the command line save without a
transaction: who is killed right after has changed it and left no entry.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth.hashers import is_password_usable
from django.contrib.auth.models import User
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver

from bots import audit

HAD = "_had_password"  # on an account that is being saved: whether one could log in with it before


@receiver(pre_save, sender=User, dispatch_uid="audit of accounts, before")
def look(instance: User, raw: bool, update_fields: Collection[str] | None = None, **_: Any) -> None:
    if raw or instance.pk is None or (update_fields and "password" not in update_fields):
        return
    stored = User.objects.filter(pk=instance.pk).values_list("password", flat=True).first()
    setattr(instance, HAD, stored is not None and is_password_usable(stored))


@receiver(post_save, sender=User, dispatch_uid="audit of accounts")
def note(instance: User, created: bool, raw: bool, **_: Any) -> None:
    had, has = instance.__dict__.pop(HAD, None), instance.has_usable_password()
    if raw:  # loaded from a dump, with the log
        return
    if created:
        audit.created(instance)
        return
    # Set while somebody gives a new one, and not when Django only stores it hashed anew.
    given = instance._password is not None  # type: ignore[attr-defined]
    if had is not None and (given or had != has):
        before = audit.SET if had else ""
        after = (audit.CHANGED if had else audit.SET) if has else audit.REMOVED
        change = audit.Change(field="Password", before=before, after=after)
        audit.record("user.changed", instance, [change])
