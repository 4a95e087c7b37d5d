"""Secrets that wait for somebody's next click: encrypted, for minutes, given out once.

They are no part of the session, which lives for weeks: what nobody came back for is removed with
the next tidying after its time.
"""

from __future__ import annotations

from datetime import timedelta
from secrets import token_urlsafe

from django.db import transaction
from django.utils import timezone

from bots.models import HeldSecret
from bots.secrets import decrypt, encrypt
from spaces.platforms.errors import Misconfigured


def hold(value: str, *, seconds: float) -> str:
    """Keep `value` for that long; returns what `take` wants."""
    until = timezone.now() + timedelta(seconds=seconds)
    held = HeldSecret.objects.create(token=token_urlsafe(32), value=encrypt(value), until=until)
    return held.token


def take(token: str) -> str | None:
    """What was held under this token, once; None when its time is over or it was taken."""
    with transaction.atomic():
        held = HeldSecret.objects.select_for_update().filter(token=token).first()
        if held is None:
            return None
        held.delete()
    if held.until < timezone.now():
        return None
    try:
        return decrypt(held.value)
    except Misconfigured:  # the key that it was encrypted with is gone
        return None


def tidy() -> None:
    HeldSecret.objects.filter(until__lt=timezone.now()).delete()
