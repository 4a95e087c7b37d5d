"""The inbox: what platforms tell us is stored once, in batches, together with how far we read.

One transaction holds the events, the messages they tell of, the turns of handlers, and the new
cursors; so a position is never saved before its events. Each connection's part is guarded by its
fencing number: what a holder brings that lost its lease is left out, and it is told so.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from bots import bulk, departures, handlers, memberships, reactions, sequence, threads
from bots.keys import dedupe_key, remote_id
from bots.models import Bot, Connection, Direction, Event, Message
from bots.scrub import clean
from spaces import sync
from spaces.platforms.messages import (
    ChannelInfo,
    ChannelsNow,
    Cursor,
    Incoming,
    Kind,
    MessageReactions,
    PersonInfo,
)

log = logging.getLogger(__name__)

BATCH = 500  # events per transaction; and as many messages whose reactions are counted
BATCH_SECONDS = 0.02  # the first of a batch waits no longer than this for the others
CATCH_UP_SECONDS = 0.1  # nor what happened a while ago for more of it
QUEUED = 2_000  # pieces that may wait for a writer; then reading stops until there is room
WRITERS = 2
RETRY_SECONDS = 1.0  # a database that is away is asked again this often
ENDED_SECONDS = 0.2  # who waits for a writer looks this often whether it has ended


New = tuple["Received", Incoming]  # a value, and what it came with


class InboxEnded(Exception):
    """What was handed over is not stored; it will be fetched again from the old position."""


@dataclass(slots=True, kw_only=True)
class Received:
    """What one connection brought in one go. `cursor` is where reading goes on after it.

    `reactions` are those that messages have after all of `incoming` happened, `channels` those that
    the bot was in before it.
    """

    connection_id: int
    bot_id: int
    space_id: int
    fence: int | None  # None: nobody who holds the connection brought it, the platform called
    incoming: Sequence[Incoming] = ()
    reactions: Sequence[MessageReactions] = ()
    channels: ChannelsNow | None = None
    cursor: Cursor = field(default_factory=dict)
    catch_up: bool = False

    @property
    def size(self) -> int:
        return len(self.incoming) + len(self.reactions)


class Inbox:
    """Takes from all connections of a process, and stores each one's in order.

    On PostgreSQL two threads write, each for connections of its own, so that one prepares its rows
    while the database works on those of the other: half as much again as one alone stores.

    `on_lost` is called with a connection's id and a fence when what was brought under it came too
    late: somebody else holds the connection now.
    """

    def __init__(self, on_lost: Callable[[int, int], None] = lambda connection_id, fence: None):
        number = WRITERS if connection.vendor == "postgresql" else 1
        self._writers = [_Writer(on_lost, name=f"inbox {n}") for n in range(number)]

    def start(self) -> None:
        for writer in self._writers:
            writer.thread.start()

    def stop(self, timeout: float) -> None:
        """Store what is queued, then end. What is not stored by then will be fetched again."""
        until = time.monotonic() + timeout
        for writer in self._writers:
            with suppress(queue.Full):  # the database has been away for long
                writer.queue.put(writer.end, timeout=max(0.0, until - time.monotonic()))
        for writer in self._writers:
            writer.thread.join(max(0.0, until - time.monotonic()))
            writer.end.set()  # also for one that the database still holds up

    @property
    def alive(self) -> bool:
        return all(writer.thread.is_alive() for writer in self._writers)

    def put(self, received: Received) -> None:
        """Hand over; waits while the queue is full, which is what stops the reading. Raises
        `InboxEnded` after `stop`."""
        self._writers[received.connection_id % len(self._writers)].put(received)

    def wait_stored(self) -> None:
        """Wait until everything handed over before is stored. Raises `InboxEnded` after `stop`."""
        marks = [(writer, threading.Event()) for writer in self._writers]
        for writer, mark in marks:
            writer.put(mark)
        for writer, mark in marks:
            while not mark.wait(ENDED_SECONDS):
                if writer.end.is_set():
                    raise InboxEnded


class _Writer:
    """One thread, and what waits for it."""

    def __init__(self, on_lost: Callable[[int, int], None], name: str):
        self._on_lost = on_lost
        self.queue: queue.Queue[Received | threading.Event] = queue.Queue(maxsize=QUEUED)
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def put(self, item: Received | threading.Event) -> None:
        while not self.end.is_set():
            with suppress(queue.Full):
                self.queue.put(item, timeout=ENDED_SECONDS)
                return
        raise InboxEnded

    def _run(self) -> None:
        try:
            while not self.end.is_set():
                item = self.queue.get()
                mark: threading.Event | None
                if isinstance(item, Received):
                    batch, mark = self._gather(item)
                    self._store(batch)
                else:
                    mark = item
                if mark is not None:
                    mark.set()
        finally:
            self.end.set()
            connection.close()

    def _gather(self, first: Received) -> tuple[list[Received], threading.Event | None]:
        """What is queued, up to a batch, and the mark that ended it, if one did."""
        batch, until = [first], _patience(first)
        told, counted = len(first.incoming), len(first.reactions)
        while max(told, counted) < BATCH:
            try:
                item = self.queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(item, threading.Event):
                return batch, item
            batch.append(item)
            told, counted = told + len(item.incoming), counted + len(item.reactions)
            until = min(until, _patience(item))
        return batch, None

    def _store(self, batch: Sequence[Received]) -> None:
        for connection_id, fence in store_patiently(batch):
            self._on_lost(connection_id, fence)


def _patience(received: Received) -> float:
    """`time.monotonic()` until which it may wait for others."""
    return time.monotonic() + (CATCH_UP_SECONDS if received.catch_up else BATCH_SECONDS)


def store_patiently(batch: Sequence[Received]) -> set[tuple[int, int]]:
    """As `receive`, but waits for a database that is away, and keeps one bad value from taking
    the others along: it is stored as a gap that says so."""
    while True:
        try:
            return receive(batch)
        except (OperationalError, InterfaceError) as error:
            if is_deadlock(error):
                log.warning("a deadlock: stored again at once")
                continue
            if not _is_too_much(error):
                log.exception("the database is away; %s batches wait", len(batch))
                connection.close()
                time.sleep(RETRY_SECONDS)
                continue  # as a whole: nothing in it is to blame
            batch = _smaller(batch, error)
        except Exception as error:
            # Whatever a platform handed over: the thread that stores for all must survive it.
            if len(batch) == 1 and batch[0].size <= 1:
                log.exception("connection %s: cannot be stored", batch[0].connection_id)
            batch = _smaller(batch, error)
        if len(batch) > 1:
            return set().union(*(store_patiently([received]) for received in batch))


def is_deadlock(error: Exception) -> bool:
    """Whether PostgreSQL chose us to end one. Whoever else was part of it has what it needs."""
    return getattr(error.__cause__, "sqlstate", None) == "40P01"


def _is_too_much(error: Exception) -> bool:
    """Whether PostgreSQL has a limit (its class 54) that this goes beyond, now and ever."""
    return str(getattr(error.__cause__, "sqlstate", None)).startswith("54")


def _smaller(batch: Sequence[Received], error: Exception) -> list[Received]:
    """A batch that cannot be stored, in pieces; the smallest become gaps, and then nothing."""
    if len(batch) > 1:
        return list(batch)
    (received,) = batch
    if received.reactions:
        return _without_reactions(received, error)
    match received.incoming:
        case [_] if received.cursor:
            return [replace(received, cursor={}), replace(received, incoming=[])]
        case [] | [Incoming(kind=Kind.GAP)]:
            return []  # a cursor or a gap that cannot be stored: there is nothing smaller
        case [_]:
            return [replace(received, incoming=[_gap(received, error)])]
    *early, last = received.incoming
    parts = [replace(received, incoming=[incoming], cursor={}) for incoming in early]
    return [*parts, replace(received, incoming=[last])]


def _without_reactions(received: Received, error: Exception) -> list[Received]:
    """Its reactions after the rest of it, one message at a time; or a gap instead of the one."""
    if received.size == 1:
        return [replace(received, reactions=(), incoming=[_gap(received, error)])]
    first = replace(received, reactions=(), cursor={})
    parts = [replace(received, incoming=(), reactions=[one]) for one in received.reactions]
    parts[:-1] = [replace(part, cursor={}) for part in parts[:-1]]
    return [first, *parts]


def _gap(received: Received, error: Exception) -> Incoming:
    now = timezone.now()
    return Incoming(
        kind=Kind.GAP,
        id=f"unstorable:{received.fence}:{now.timestamp()}",
        occurred_at=now,
        since=now,
        text=f"An event could not be stored: {type(error).__name__}.",
    )


# Storing ----------------------------------------------------------------------------------------


def receive(batch: Sequence[Received]) -> set[tuple[int, int]]:
    """Store a batch; returns connection and fence of what came too late, of which nothing is."""
    with transaction.atomic():
        held = _held(batch)
        kept = [r for r in batch if held.get(r.connection_id) == r.fence]
        _queue_handlers(_keep(kept))
    return {
        (r.connection_id, r.fence)
        for r in batch
        if r.fence is not None and held.get(r.connection_id) != r.fence
    }


def receive_call(
    bot: Bot, incoming: Sequence[Incoming], *, answer_seconds: float = 0
) -> list[Event]:
    """Store what a platform told that called by itself, whoever holds the bot's connection; its
    handlers may answer within `answer_seconds`. Returns the events that are new.

    Raises what the database raises; nothing is stored then.
    """
    received = Received(
        connection_id=bot.connection.pk,
        bot_id=bot.pk,
        space_id=bot.space_id,
        fence=None,
        incoming=incoming,
    )
    with transaction.atomic():
        _held([received])  # one writer per connection, here too
        stored = _keep([received])
        _queue_handlers(stored, answer_seconds)
    return [event for event, _ in stored]


def _keep(batch: Sequence[Received]) -> list[tuple[Event, Incoming]]:
    batch = [_with_departures(received) for received in batch]
    stored = _store_events(batch)
    _move_cursors(batch)
    return stored


def _with_departures(received: Received) -> Received:
    if received.channels is None:
        return received
    gone = departures.since(received.bot_id, received.channels)
    return replace(received, incoming=[*gone, *received.incoming])


def _queue_handlers(stored: Sequence[tuple[Event, Incoming]], answer_seconds: float = 0) -> None:
    """In the same transaction, so that no crash parts an event from its turns. Where turns cannot
    be given, the event stays all the same: one without a turn is better than one that is lost."""
    try:
        with transaction.atomic():
            handlers.queue(stored, answer_seconds)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(stored) == 1:
            log.exception("event %s: no handler gets a turn", stored[0][0].pk)
            return
        for one in stored:
            _queue_handlers([one], answer_seconds)


def _held(batch: Sequence[Received]) -> dict[int, int]:
    """The fences that count, by connection. Their rows stay locked: one writer per connection."""
    rows = Connection.objects.filter(pk__in={r.connection_id for r in batch})
    return dict(rows.select_for_update().order_by("pk").values_list("pk", "fence"))


@dataclass(slots=True)
class Found:
    """One incoming value that is new, with the ids of what it speaks of."""

    received: Received
    incoming: Incoming
    channel_id: int | None
    person_id: int | None
    peer_id: int | None  # the other one of a direct channel


def _store_events(batch: Sequence[Received]) -> list[tuple[Event, Incoming]]:
    unknown, again = _told(batch)
    new, ledger = reactions.settle(batch, memberships.without_repeated_changes(unknown))
    stored = _store_new(new, ledger) if new else []
    ledger.store()
    _complete_messages(again)
    return stored


def _store_new(new: Sequence[New], ledger: reactions.Ledger) -> list[tuple[Event, Incoming]]:
    found = _resolve(new)
    told = [f for f in found if not f.incoming.hint]
    events = [_event(f) for f in told]
    sequence.store(events)
    memberships.keep(found)
    event_ids = {id(f): event.pk for f, event in zip(told, events, strict=True)}
    _keep_messages(found, ledger, event_ids)
    return [(event, f.incoming) for event, f in zip(events, told, strict=True)]


def _told(batch: Sequence[Received]) -> tuple[list[New], list[New]]:
    """What is not stored yet, each once, in order; and what is told again."""
    candidates: dict[tuple[int, str], New] = {}
    for received, incoming in threads.told(batch):
        key = (received.bot_id, dedupe_key(incoming.id))
        candidates.setdefault(key, (received, incoming))
    if not candidates:
        return [], []
    known = bulk.known(Event, ["bot_id", "dedupe_key"], list(candidates))
    again = [candidates.pop(pair) for pair in known]
    return list(candidates.values()), again


def _resolve(new: Sequence[New]) -> list[Found]:
    """Write down the people and channels that are spoken of, and find their ids."""
    people: dict[int, dict[str, PersonInfo]] = defaultdict(dict)
    channels: dict[int, dict[str, ChannelInfo]] = defaultdict(dict)
    for received, incoming in new:
        for person in filter(None, (incoming.person, _peer(incoming), *incoming.people)):
            people[received.space_id][person.id] = person
        if incoming.channel:
            channels[received.space_id][incoming.channel.id] = incoming.channel
    person_ids = {
        space: sync.people(space, infos.values()) for space, infos in sorted(people.items())
    }
    channel_ids = {space: sync.channels(space, i.values()) for space, i in sorted(channels.items())}
    memberships.name_channels(new, channel_ids)
    return [
        Found(
            received,
            incoming,
            channel_ids.get(received.space_id, {}).get(memberships.channel_of(incoming)),
            person_ids[received.space_id][incoming.person.id] if incoming.person else None,
            person_ids[received.space_id][peer.id] if (peer := _peer(incoming)) else None,
        )
        for received, incoming in new
    ]


def _peer(incoming: Incoming) -> PersonInfo | None:
    return incoming.peer or (incoming.channel.peer if incoming.channel else None)


def _event(found: Found) -> Event:
    incoming = found.incoming
    return Event(
        bot_id=found.received.bot_id,
        kind=incoming.kind.value,
        dedupe_key=dedupe_key(incoming.id),
        channel_id=found.channel_id,
        occurred_at=incoming.occurred_at,
        catch_up=found.received.catch_up,
        data=describe(incoming),
        raw=clean(incoming.raw),
    )


def describe(incoming: Incoming) -> dict[str, Any]:
    """An incoming value as the `data` of its event: what is filled, and nothing else."""
    data: dict[str, Any] = {}
    if incoming.person:
        data["person"] = _person(incoming.person)
    if incoming.message_id:
        data["message"] = {"remote_id": incoming.message_id}
        if incoming.kind in (Kind.MESSAGE_POSTED, Kind.MESSAGE_EDITED):
            data["message"] |= {
                "text": incoming.text,
                "card": asdict(incoming.card) if incoming.card else None,
                "files": [asdict(file) for file in incoming.files],
                "thread": incoming.thread,
            }
        if incoming.reactions:
            given = [{"person": _person(r.person), "name": r.name} for r in incoming.reactions]
            data["message"]["reactions"] = given
        if incoming.system:
            data["message"]["system"] = True
    if incoming.kind == Kind.COMMAND_INVOKED:
        data |= {"command": incoming.command, "text": incoming.text, "thread": incoming.thread}
    if incoming.reaction:
        data["reaction"] = incoming.reaction
    if incoming.people:
        data["people"] = [_person(person) for person in incoming.people]
    if incoming.channel and incoming.kind.value.startswith("channel."):
        data["channel"] = asdict(incoming.channel)
    if incoming.presence:
        data["presence"] = incoming.presence.value
    if incoming.kind == Kind.GAP:
        since = incoming.since or incoming.occurred_at
        data |= {"since": since.isoformat(), "until": incoming.occurred_at.isoformat()}
        data["why"] = incoming.text
    if incoming.own:
        data["own"] = True
    return clean(data)


PERSON_FIELDS = tuple(f.name for f in fields(PersonInfo))
_person_values = attrgetter(*PERSON_FIELDS)


def _person(info: PersonInfo) -> dict[str, Any]:
    # `asdict` copies deeply, which took longer than writing the row.
    return dict(zip(PERSON_FIELDS, _person_values(info), strict=True))


# Messages ---------------------------------------------------------------------------------------


def _keep_messages(
    found: Sequence[Found], ledger: reactions.Ledger, event_ids: Mapping[int, int]
) -> None:
    """`event_ids` are those of the events that tell of what was found, by the `id` of it."""
    rows = []
    for f in found:
        if f.incoming.kind == Kind.MESSAGE_POSTED and f.channel_id is not None:
            row = message_from(f.incoming, f.received.bot_id, f.channel_id, f.person_id)
            row.reactions = ledger.of(f.received, f.incoming)
            row.event_id = event_ids.get(id(f))
            rows.append(row)
    keep_messages(rows)
    _change_messages(found)


def keep_messages(rows: Iterable[Message]) -> None:
    """Store messages, each once. Of those we sent ourselves only the files' ids are news."""
    bulk.upsert(
        list({(row.bot_id, row.remote_id): row for row in rows}.values()),
        unique=["bot_id", "remote_id"],
        update=["files"],
        fill=["reactions", "event_id"],
    )


def _change_messages(found: Sequence[Found]) -> None:
    changes = [f for f in found if f.incoming.kind in (Kind.MESSAGE_EDITED, Kind.MESSAGE_DELETED)]
    if not changes:
        return
    places = {(f.received.bot_id, remote_id(f.incoming.message_id)) for f in changes}
    known = {
        (row.bot_id, row.remote_id): row
        for row in bulk.find(Message, ["bot_id", "remote_id"], places)
    }
    for f in changes:
        row = known.get((f.received.bot_id, remote_id(f.incoming.message_id)))
        if row is None:
            continue  # older than what we have read
        if f.incoming.kind == Kind.MESSAGE_EDITED:
            row.text, row.edited_at = clean(f.incoming.text), f.incoming.occurred_at
        else:
            row.deleted_at = f.incoming.occurred_at
    bulk.update(list(known.values()), ["text", "edited_at", "deleted_at"])


def _complete_messages(again: Sequence[New]) -> None:
    """What is told again may be told in full: a webhook, say, knows of no threads and no cards."""
    fuller = {
        (received.bot_id, remote_id(incoming.message_id)): incoming
        for received, incoming in again
        if incoming.kind == Kind.MESSAGE_POSTED
        and (incoming.thread or incoming.card or incoming.files)
    }
    if not fuller:
        return
    rows = bulk.find(Message, ["bot_id", "remote_id"], fuller)
    found = [(row, fuller[row.bot_id, row.remote_id]) for row in rows]
    completed = [row for row, incoming in found if _complete(row, incoming)]
    bulk.update(completed, ["thread", "card", "files"])


def _complete(row: Message, incoming: Incoming) -> bool:
    """Fill what is empty; False when nothing was missing."""
    before = row.thread, row.card, row.files
    full = message_from(incoming, row.bot_id, row.channel_id, row.sender_id)
    row.thread, row.card = row.thread or full.thread, row.card or full.card
    if not all(file["name"] for file in row.files) or not row.files:
        row.files = full.files or row.files
    return before != (row.thread, row.card, row.files)


def message_from(
    incoming: Incoming, bot_id: int, channel_id: int, person_id: int | None
) -> Message:
    """The row for a `message.posted` value; for events and for history alike.

    Its reactions stay unknown: those that history tells of may not have been told by events yet.
    """
    is_out = incoming.own and not incoming.system
    return Message(
        bot_id=bot_id,
        channel_id=channel_id,
        remote_id=remote_id(incoming.message_id),
        direction=Direction.OUT if is_out else Direction.IN,
        sender_id=person_id,
        text=clean(incoming.text),
        card=clean(asdict(incoming.card)) if incoming.card else None,
        files=[clean(asdict(file)) for file in incoming.files],
        thread=remote_id(incoming.thread),
        sent_at=incoming.occurred_at,
    )


# Positions --------------------------------------------------------------------------------------


def _move_cursors(batch: Iterable[Received]) -> None:
    moved: dict[int, dict[str, Any]] = defaultdict(dict)
    heard: set[int] = set()
    for received in batch:
        if received.cursor:
            moved[received.connection_id].update(received.cursor)
        if received.incoming:
            heard.add(received.connection_id)
    Connection.objects.filter(pk__in=heard).update(last_event_at=Now(), last_ok_at=Now())
    if not moved:
        return
    rows = Connection.objects.filter(pk__in=moved).only("pk", "cursor")
    changed = [row for row in rows if row.cursor != row.cursor | moved[row.pk]]
    for row in changed:
        row.cursor = row.cursor | clean(moved[row.pk])
    bulk.update(changed, ["cursor"])
