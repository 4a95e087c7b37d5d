"""What the very first start puts into an empty database, and how it is found again later."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from botadmin.keyfiles import write
from bots import demo
from bots.models import ApiToken, Scope
from bots.models.token import digest


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in. Password and token are empty when they are not known or work no more."""

    user: str
    password: str
    token: str


def ensure() -> Access:
    """Fill an empty database with an administrator, an API token and the demo; then say how to
    get in."""
    if get_user_model().objects.exists():
        return _still_working(_remembered())
    access = Access(
        user=settings.BOTADMIN_ADMIN_USER,
        password=settings.BOTADMIN_ADMIN_PASSWORD or secrets.token_hex(8),
        token=settings.BOTADMIN_API_TOKEN or ApiToken.PREFIX + secrets.token_urlsafe(32),
    )
    with transaction.atomic():
        user = get_user_model().objects.create_superuser(access.user, password=access.password)
        token = ApiToken(
            name="first start", scopes=Scope.values, all_bots=True, created_by_id=user.pk
        )
        token.set_text(access.token)
        token.save()
        demo.seed()
        # Before the commit: a database that knows a password has its file.
        write(_path(), json.dumps(asdict(access)))
    return access


def _still_working(access: Access) -> Access:
    user = get_user_model().objects.filter(username=access.user, is_active=True).first()
    token = ApiToken.objects.filter(digest=digest(access.token)).first()
    token_works = token is not None and not token.expired
    return Access(
        user=access.user,
        password=access.password if user and user.check_password(access.password) else "",
        token=access.token if token_works else "",
    )


def _remembered() -> Access:
    """What the first start wrote down; the administrator may have removed it."""
    try:
        return Access(**json.loads(_path().read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        return Access(user=settings.BOTADMIN_ADMIN_USER, password="", token="")


def _path() -> Path:
    return settings.KEYS_DIR / "first_start.json"
