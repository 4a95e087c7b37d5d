"""Writing entries: one for each change, in the transaction of that change."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any, cast

from django.db import transaction
from django.db.models import Model, QuerySet

from bots import who
from bots.audit.values import Change, Value, differences, state_of
from bots.models import ApiToken, AuditEntry, Bot
from bots.scrub import scrub

LONGEST_LABEL = 200

# By object: the entry that tells of it so far, where all that happens is one thing.
_told: ContextVar[dict[tuple[str, str], int] | None] = ContextVar("told", default=None)


def record(
    action: str, row: Model, changes: Sequence[Change] = (), *, note: str = "", called: str = ""
) -> None:
    """Note that whoever is at work did this with a row; `action` is its kind and what was done.
    `called` is what people call the row, where it does not say so itself."""
    if not _added_to_entry(action, row, changes):
        _write(action, row, changes, note, called or str(row))


@contextmanager
def changing(row: Model, fields: Collection[str] | None = None) -> Iterator[None]:
    """Note what differs after the block, in these fields or in all that people may change."""
    with transaction.atomic():
        # Held until the end: what somebody else changes meanwhile is not told as done by this one.
        before = _state(_stored(row).select_for_update(no_key=True), fields)
        yield
        if changes := differences(before, _state(_stored(row), fields)):
            record(f"{kind_of(row)}.changed", row, changes)


def created(row: Model) -> None:
    """Note that a row was made, when it is stored with all that belongs to it."""
    changes = differences({}, _state(_stored(row)))
    record(f"{kind_of(row)}.created", row, [c for c in changes if c.after])


def deleted(row: Model) -> None:
    """Note that a row goes, and what it said; in the transaction in which it does."""
    changes = differences(state_of(row), {})
    record(f"{kind_of(row)}.deleted", row, [c for c in changes if c.before])


@contextmanager
def together() -> Iterator[None]:
    """Inside the block, all that is created and changed of one row is one entry."""
    token = _told.set({})
    try:
        with transaction.atomic():
            yield
    finally:
        _told.reset(token)


def kind_of(row: Model | type[Model]) -> str:
    """What the log calls rows like this one: `handler_run`."""
    model = row if isinstance(row, type) else type(row)
    if model is ApiToken:
        return "token"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower()


def _stored(row: Model) -> QuerySet[Model]:
    """As the database has it: what is in memory may be what a form is about to say."""
    return type(row)._default_manager.filter(pk=row.pk)


def _state(stored: QuerySet[Model], fields: Collection[str] | None = None) -> dict[str, Value]:
    found = stored.first()
    return {} if found is None else state_of(found, fields)


def _write(action: str, row: Model, changes: Sequence[Change], note: str, label: str) -> None:
    by = who.now()
    entry = AuditEntry.objects.create(
        actor_label=by.label[:LONGEST_LABEL],
        actor_key=by.key[:LONGEST_LABEL],
        door=by.door,
        action=action,
        kind=kind_of(row),
        object_id=str(row.pk),
        label=scrub(label)[:LONGEST_LABEL],
        bot_id=_bot_id(row),
        changes=[asdict(change) for change in changes],
        note=scrub(note),
    )
    told = _told.get()
    if told is not None and _can_grow(action):
        told[entry.kind, entry.object_id] = entry.pk


def _added_to_entry(action: str, row: Model, changes: Sequence[Change]) -> bool:
    """Whether an entry of the same transaction tells it now."""
    told = _told.get()
    if not told or not _can_grow(action):
        return False
    # Read anew: a part of the transaction that was rolled back took its entry along.
    known_pk = told.get((kind_of(row), str(row.pk)))
    entry = AuditEntry.objects.filter(pk=known_pk).first() if known_pk else None
    if entry is None:
        return False
    known = {change["field"]: change for change in entry.changes}
    for change in changes:
        first = known.get(change.field, asdict(change))
        known[change.field] = asdict(change) | {"before": first["before"]}
    if entry.changes != (merged := list(known.values())):
        AuditEntry.objects.filter(pk=entry.pk).update(changes=merged)
    return True


def _can_grow(action: str) -> bool:
    return action.endswith((".created", ".changed"))


def _bot_id(row: Any) -> int | None:
    if isinstance(row, Bot):
        return row.pk
    if hasattr(row, "bot_id"):
        return cast("int | None", row.bot_id)
    event = getattr(row, "event", None)  # of a delivery
    return None if event is None else event.bot_id
