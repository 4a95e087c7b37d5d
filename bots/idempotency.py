"""The same request twice is one request: the first answer is kept for a day and given again.

What a handler run sends is kept until the run succeeded or is removed: one that failed may be run
again at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from bots import bulk
from bots.models import HandlerRun, IdempotencyKey
from bots.refusals import KeyReused

KEPT = timedelta(hours=24)
BATCH = 1_000  # forgotten at once
OF_RUNS = "handler run "  # how the scopes of handler runs begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Whose key, which key, and what is asked under it."""

    scope: str
    key: str
    fingerprint: str


def of_form(actor_key: str, once: str, asked: str) -> Once:
    """For what is pressed on a page: the same form with the same in it is asked for once, and with
    something else in it anew. `once` is the form's own, `asked` the fingerprint."""
    return Once(scope=f"form {actor_key}"[:60], key=f"{once} {asked}"[:255], fingerprint=asked)


def fingerprint(*parts: Any) -> str:
    """SHA-256 over what makes two requests the same."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def perform(once: Once | None, make: Callable[[], Any]) -> tuple[Any, bool]:
    """What `make` answers, and False; or what it answered the first time, and True.

    The key and everything `make` stores are one transaction: a request that is refused or crashes
    leaves no key behind, and one that comes while the first is under way waits for it at the
    unique constraint. Raises `KeyReused` for another request under the same key.
    """
    with transaction.atomic():
        if once is None:
            return make(), False
        same = IdempotencyKey.objects.filter(scope=once.scope, key=once.key)
        while (row_id := _claimed(once)) is None:
            _outdated().filter(pk__in=same).delete()
            if (first := same.first()) is not None:
                if first.fingerprint != once.fingerprint:
                    raise KeyReused("This Idempotency-Key was used for another request.")
                return first.answer, True
        answer = make()
        bulk.update([IdempotencyKey(pk=row_id, answer=answer)], ["answer"])
        return answer, False


def _claimed(once: Once) -> int | None:
    """The id of a new row for the key; None when there is one already. Waits for a request under
    the same key to end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO bots_idempotencykey (scope, key, fingerprint, answer)"
            " VALUES (%s, %s, %s, '{}') ON CONFLICT (scope, key) DO NOTHING RETURNING id",
            [once.scope, once.key, once.fingerprint],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def tidy() -> int:
    """Forget keys that are older than a day; returns how many."""
    forgotten = 0
    while keys := list(_outdated().order_by("created_at").values_list("pk", flat=True)[:BATCH]):
        forgotten += IdempotencyKey.objects.filter(pk__in=keys).delete()[0]
    return forgotten


def scope_of_run(run: HandlerRun) -> str:
    return _scope(run.pk)


def forget_runs(run_ids: Iterable[int]) -> None:
    IdempotencyKey.objects.filter(scope__in=[_scope(run_id) for run_id in run_ids]).delete()


def _scope(run_id: int) -> str:
    return f"{OF_RUNS}{run_id}"


def _outdated() -> QuerySet[IdempotencyKey]:
    old = IdempotencyKey.objects.filter(created_at__lt=Now() - KEPT)
    return old.exclude(scope__startswith=OF_RUNS)
