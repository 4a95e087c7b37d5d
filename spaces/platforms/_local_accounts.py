"""Accounts of the local platform: passwords, looking people up, and what text they may write."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError
from django.db.models import Q
from django.utils import timezone

from spaces.models.local import LocalAccount, LocalClock
from spaces.models.space import Space
from spaces.platforms.errors import Misconfigured, NotFound, Rejected
from spaces.platforms.messages import PersonInfo, PersonRef

LONGEST_NAME = 100  # characters


def hashed(secret: str) -> str:
    """Salted, and cheap on purpose: it is compared on every operation, and guards a chat of our
    own whose passwords operators keep in this very database, encrypted."""
    salt = secrets.token_hex(16)
    return f"{salt}${hashlib.sha256((salt + secret).encode()).hexdigest()}"


def is_password(secret: str, password_hash: str) -> bool:
    salt, _, digest = password_hash.partition("$")
    candidate = hashlib.sha256((salt + secret).encode()).hexdigest()
    return bool(digest) and hmac.compare_digest(candidate, digest)


def create(space_slug: str, username: str, **values: Any) -> Space:
    if not username or len(username) > LONGEST_NAME or not is_storable(username):
        raise Misconfigured(f"A username has 1 to {LONGEST_NAME} characters.", option="username")
    try:
        space = Space.objects.get(slug=space_slug)
    except Space.DoesNotExist:
        raise Misconfigured(f"There is no space {space_slug!r}.") from None
    clock, _ = LocalClock.objects.get_or_create(space=space)
    values["created_at"] = timezone.now()
    try:
        LocalAccount.objects.get_or_create(clock=clock, username=username, defaults=values)
    except IntegrityError as error:
        raise Misconfigured("This e-mail address belongs to somebody else.") from error
    return space


def info(account: LocalAccount) -> PersonInfo:
    return PersonInfo(
        id=str(account.pk),
        username=account.username,
        name=account.name,
        email=account.email,
        is_bot=account.is_bot,
    )


def find_all(me: LocalAccount, refs: Iterable[PersonRef]) -> list[LocalAccount | None]:
    """The accounts these stand for, in order; one query for all. A username goes before an id."""
    storable = [ref for ref in refs if is_storable(str(ref))]
    accounts = LocalAccount.objects.filter(
        Q(username__in={ref.username for ref in storable})
        | Q(email__in={ref.email.lower() for ref in storable} - {""})
        | Q(pk__in={row_id(ref.id) for ref in storable}),
        clock=me.clock_id,
    )
    by_username = {account.username: account for account in accounts}
    by_email = {account.email: account for account in accounts if account.email}
    by_pk = {account.pk: account for account in accounts}
    return [
        by_username.get(ref.username)
        or by_email.get(ref.email.lower())
        or by_pk.get(row_id(ref.id))
        for ref in refs
    ]


def find(me: LocalAccount, ref: PersonRef) -> LocalAccount:
    if account := find_all(me, [ref])[0]:
        return account
    raise NotFound(f"There is nobody called {ref} in this space.")


def checked(text: str, longest: int, what: str) -> None:
    if len(text) > longest:
        raise Rejected(f"At most {longest} characters.", code=f"{what}_too_long")
    if not is_storable(text):
        raise Rejected("Null bytes and lone surrogates are no text.", code=f"{what}_invalid")


def is_storable(text: str) -> bool:
    """PostgreSQL takes neither null bytes nor halves of surrogate pairs."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def row_id(remote_id: str) -> int:
    """The number of a row; 0, which no row has, for what is no id of ours."""
    is_number = remote_id.isascii() and remote_id.isdecimal() and len(remote_id) < 19
    return int(remote_id) if is_number else 0
