"""The event log of the local platform: writing it, reading on from a position, and history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from spaces.models.local import (
    LocalAccount,
    LocalClock,
    LocalEvent,
    LocalFile,
    LocalMember,
    LocalMessage,
    LocalRoom,
)
from spaces.platforms import _local_accounts as accounts
from spaces.platforms import _local_wire as wire
from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import Batch, FileInfo, Incoming, Kind

PAGE = 200  # events of a batch, messages of a page of history

# Nobody is told of their own typing and reading.
NOT_FOR_ACTOR = frozenset({Kind.TYPING.value, Kind.MESSAGE_READ.value})


@contextmanager
def database_errors() -> Iterator[None]:
    """A transaction that failed has left nothing behind, so it is safe to repeat. One that broke
    while committing may have: keys and states make its repetition harmless too."""
    try:
        yield
    except OperationalError as error:
        raise Unavailable(f"The database cannot be used: {error}") from error


class Write:
    """One write in a space: who acts, when, and the events that tell of it."""

    def __init__(self, me: LocalAccount, tell: Callable[[], None]):
        self.me = me
        self.at = timezone.now()
        self._clock = me.clock
        self._tell = tell  # called once the events can be read
        self._events: list[LocalEvent] = []

    @property
    def next_seq(self) -> int:
        return self._clock.seq + len(self._events) + 1

    def emit(
        self,
        kind: Kind,
        room: LocalRoom | None,
        *,
        only_for: LocalAccount | None = None,
        **payload: Any,
    ) -> int:
        """Tell everybody concerned, or only this account if it listens; the event's number."""
        event = LocalEvent(
            space_id=self._clock.space_id,
            seq=self.next_seq,
            kind=kind.value,
            room=room,
            actor=self.me,
            only_for=only_for,
            payload={"actor": asdict(accounts.info(self.me)), **payload},
            at=self.at,
        )
        self._events.append(event)
        return event.seq

    def finish(self) -> None:
        if self._events:
            LocalEvent.objects.bulk_create(self._events)
            LocalClock.objects.filter(pk=self._clock.pk).update(seq=self._events[-1].seq)
            transaction.on_commit(self._tell)


def event_json(event: LocalEvent) -> dict[str, Any]:
    return {
        **event.payload,
        "seq": event.seq,
        "kind": event.kind,
        "room": str(event.room_id or ""),
        "at": event.at.isoformat(),
    }


def batches(me: LocalAccount, after: int) -> Iterator[Batch]:
    """Two queries for each batch, however many rooms and events there are."""
    full = True
    while full:
        with database_errors():
            clock = LocalClock.objects.get(pk=me.clock_id)
            found = []
            if after < clock.pruned_seq:
                found.append(_gap(me, clock, after))
                after = clock.pruned_seq
            events = list(_told(me, after, clock.seq)[:PAGE])
        found += [wire.incoming(event_json(event), me=str(me.pk)) for event in events]
        full = len(events) == PAGE
        after = events[-1].seq if full else clock.seq
        yield Batch(incoming=tuple(found), cursor={"seq": after})


def _told(me: LocalAccount, after: int, until: int) -> QuerySet[LocalEvent]:
    """The events that concern this account: of its rooms while it was in them, and of the space.
    Those that were only for somebody were for that moment."""
    stays = LocalMember.objects.filter(
        Q(left_seq=None) | Q(left_seq__gte=OuterRef("seq")),
        account=me,
        room=OuterRef("room"),
        joined_seq__lte=OuterRef("seq"),
    )
    return (
        LocalEvent.objects.filter(space=me.clock_id, seq__gt=after, seq__lte=until, only_for=None)
        .filter(Q(room=None) | Q(Exists(stays)))
        .exclude(actor=me, kind__in=NOT_FOR_ACTOR)
        .order_by("seq")
    )


def _gap(me: LocalAccount, clock: LocalClock, after: int) -> Incoming:
    return Incoming(
        kind=Kind.GAP,
        id=f"gap-{after}-{clock.pruned_seq}",
        occurred_at=clock.pruned_at or me.created_at,
        # When event `after` happened is not known any more; the account missed nothing earlier.
        since=me.created_at,
        text="The local event log has been pruned past the position read last.",
        cursor={"seq": clock.pruned_seq},
    )


def newest_first(
    wanted: QuerySet[LocalMessage], me: LocalAccount, quantity: int | None
) -> Iterator[Incoming]:
    """In pages of two queries each, read while the caller goes on asking."""
    left = quantity
    files = Prefetch("files", LocalFile.objects.defer("content").order_by("pk"))
    page = wanted.select_related("author").prefetch_related(files).order_by("-pk")
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        with database_errors():
            rows = list(page[:size])
        for row in rows:
            yield _posted(row, me)
        if len(rows) < size:
            return
        page = page.filter(pk__lt=rows[-1].pk)
        left = None if left is None else left - size


def _posted(row: LocalMessage, me: LocalAccount) -> Incoming:
    event = {
        **message_json(row, row.files.all()),
        "seq": row.seq,
        "kind": Kind.MESSAGE_POSTED.value,
        "room": str(row.room_id),
        "at": row.posted_at.isoformat(),
        "actor": asdict(accounts.info(row.author)),
    }
    # The id of the event that told of it, but reading history moves no position.
    return replace(wire.incoming(event, me=str(me.pk)), cursor={})


def message_json(row: LocalMessage, files: Iterable[LocalFile]) -> dict[str, Any]:
    infos = [
        FileInfo(id=str(f.pk), name=f.name, content_type=f.content_type, size=f.size) for f in files
    ]
    return {
        "message": str(row.pk),
        "text": row.text,
        "card": row.card,
        "files": [asdict(info) for info in infos],
        "thread": str(row.thread_id or ""),
    }


def prune_events(before: datetime) -> int:
    """Remove events older than this from the log; how many. Who has not read them gets a gap."""
    removed = 0
    for space_id in LocalClock.objects.values_list("pk", flat=True):
        with transaction.atomic():
            LocalClock.objects.select_for_update().get(pk=space_id)
            old = LocalEvent.objects.filter(space=space_id, at__lt=before)
            newest = old.order_by("-seq").first()
            if newest:
                LocalClock.objects.filter(pk=space_id).update(
                    pruned_seq=newest.seq, pruned_at=newest.at
                )
                through_newest = LocalEvent.objects.filter(space=space_id, seq__lte=newest.seq)
                removed += through_newest.delete()[0]
    return removed
