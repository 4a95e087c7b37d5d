"""Reactions as state: which ones each message has, so that what was missed is told afterwards.

A platform that cannot say which reactions came and went while nobody listened can count up those
there are; the inbox compares them with what it knows, and makes events of the differences. An event
that changes nothing, because the comparison told of it already, is left out.

Only the inbox writes this state, and holds the lock on the connection's row while it does. So what
it reads here stays true until the end of its transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from bots import bulk
from bots.keys import dedupe_key, remote_id
from bots.models import Bot, Event, Message
from spaces.models import Person
from spaces.platforms.messages import Incoming, Kind, MessageReactions, PersonInfo, Reaction
from spaces.storable import storable

if TYPE_CHECKING:
    from bots.inbox import Received

New = tuple["Received", Incoming]
Place = tuple[int, str]  # a bot, and a message by the platform's id
Given = tuple[str, str]  # a person by the platform's id, and the name of what they gave

CHANGES = (Kind.REACTION_ADDED, Kind.REACTION_REMOVED)


def settle(batch: Sequence[Received], new: Sequence[New]) -> tuple[list[New], Ledger]:
    """What of `new` changes anything, and after it what the reactions that `batch` counts up tell
    beyond it, in order; and the state that this leaves behind."""
    told = [(received, message) for received in batch for message in received.reactions]
    changes = [(received, one) for received, one in new if one.kind in CHANGES]
    if not told and not changes:
        return list(new), Ledger([])
    places = {_place(r, message.message_id) for r, message in told}
    touched = {_place(r, incoming.message_id) for r, incoming in changes}
    ledger = Ledger(bulk.find(Message, ["bot_id", "remote_id"], places | touched))
    if told:
        ledger.learn(told, touched)
    news: dict[int, list[Incoming]] = defaultdict(list)
    for received, incoming in new:
        news[id(received)].append(incoming)
    kept: list[New] = []
    for received in batch:
        kept += [(received, one) for one in news[id(received)] if ledger.apply(received, one)]
        late = replace(received, catch_up=True)
        kept += [(late, one) for m in received.reactions for one in ledger.compare(received, m)]
    return kept, ledger


def at_first(received: Received, incoming: Incoming) -> list[Given] | None:
    """The reactions of a message that was just posted; None when it may have more than we know."""
    if incoming.reactions is not None:
        return list(dict.fromkeys(map(_given, incoming.reactions)))
    return None if received.catch_up else []


class Ledger:
    """The reactions of the messages that a batch speaks of, while it is worked through."""

    def __init__(self, rows: Iterable[Message]):
        self._rows = {(row.bot_id, row.remote_id): row for row in rows}
        # None: a message whose reactions we do not know; one that is not in here is itself unknown.
        self._state = {place: _read(row.reactions) for place, row in self._rows.items()}
        self._changed: set[Place] = set()
        self._own: dict[int, str] = {}  # by bot: who it is on its platform
        self._people: dict[tuple[int, str], PersonInfo] = {}  # who took back what they had given
        self._known: set[tuple[int, str]] = set()  # events that are stored: bot and dedupe key

    def learn(self, told: Sequence[tuple[Received, MessageReactions]], touched: set[Place]) -> None:
        """Look up all that `compare` asks about these, at once."""
        bots = Bot.objects.filter(pk__in={received.bot_id for received, _ in told})
        self._own = dict(bots.values_list("pk", "person__remote_id"))
        gone: set[str] = set()
        keys: set[str] = set()
        for received, message in told:
            place = _place(received, message.message_id)
            before = set(self._state.get(place) or ())
            now = {_given(reaction): reaction for reaction in message.reactions}
            gone |= {person for person, _ in before - now.keys()}
            keys |= {
                _key_of_added(message, reaction)
                for given, reaction in now.items()
                if given not in before or place in touched
            }
        self._people = _people({received.space_id for received, _ in told}, gone)
        events = Event.objects.filter(bot__in=bots, dedupe_key__in=keys)
        self._known = set(events.values_list("bot_id", "dedupe_key")) if keys else set()

    def apply(self, received: Received, incoming: Incoming) -> bool:
        """Follow what happened; False when it is known to have changed nothing."""
        place = _place(received, incoming.message_id)
        state = self._state.get(place)
        if incoming.kind == Kind.MESSAGE_POSTED:
            if state is None:
                self._write(place, at_first(received, incoming))
            return True
        if incoming.kind not in CHANGES or state is None or incoming.person is None:
            return True
        given = (incoming.person.id, storable(incoming.reaction))
        added = incoming.kind == Kind.REACTION_ADDED
        if added == (given in state):
            return False
        self._write(place, [*state, given] if added else [one for one in state if one != given])
        return True

    def compare(self, received: Received, told: MessageReactions) -> Iterator[Incoming]:
        """What must have happened for a message to have these reactions now."""
        place = _place(received, told.message_id)
        state = self._state.get(place)
        now = {_given(reaction): reaction for reaction in told.reactions}
        if state is None:
            added = {g: one for g, one in now.items() if one.added_at > told.since}
            if place in self._state:
                self._write(place, list(now))
        else:
            added = {g: one for g, one in now.items() if g not in state}
            yield from self._removed(received, told, [one for one in state if one not in now])
        for given, reaction in added.items():
            key = (received.bot_id, _key_of_added(told, reaction))
            if key in self._known:
                continue  # told before: it was taken back since this count was made
            self._known.add(key)
            if state is not None:
                self._write(place, [*(self._state[place] or ()), given])
            yield self._event(
                received,
                told,
                kind=Kind.REACTION_ADDED,
                id=key[1],
                occurred_at=reaction.added_at,
                person=reaction.person,
                reaction=reaction.name,
            )

    def of(self, received: Received, incoming: Incoming) -> list[dict[str, str]] | None:
        """What to store with a message that was posted."""
        place = _place(received, incoming.message_id)
        if place in self._state:
            return _json(self._state[place])
        return _json(at_first(received, incoming))

    def store(self) -> None:
        """Write down what changed of messages that were known before."""
        rows = [row for place, row in self._rows.items() if place in self._changed]
        for row in rows:
            row.reactions = _json(self._state[row.bot_id, row.remote_id])
        bulk.update(sorted(rows, key=lambda row: row.pk), ["reactions"])

    def _removed(
        self, received: Received, told: MessageReactions, gone: Sequence[Given]
    ) -> Iterator[Incoming]:
        place, noticed_at = _place(received, told.message_id), timezone.now()
        for given in gone:
            person, name = given
            self._write(place, [one for one in self._state[place] or () if one != given])
            yield self._event(
                received,
                told,
                kind=Kind.REACTION_REMOVED,
                # When it happened nobody knows. That it is told once follows from the state.
                id=f"unreacted:{told.message_id}:{person}:{name}:{noticed_at.isoformat()}",
                occurred_at=noticed_at,
                person=self._people.get((received.space_id, person), PersonInfo(id=person)),
                reaction=name,
            )

    def _event(
        self, received: Received, told: MessageReactions, *, person: PersonInfo, **values: Any
    ) -> Incoming:
        return Incoming(
            channel_id=told.channel_id,
            message_id=told.message_id,
            person=person,
            own=person.id == self._own.get(received.bot_id),
            **values,
        )

    def _write(self, place: Place, state: list[Given] | None) -> None:
        self._state[place] = state
        self._changed.add(place)


def _place(received: Received, message_id: str) -> Place:
    return received.bot_id, remote_id(message_id)


def _given(reaction: Reaction) -> Given:
    return reaction.person.id, storable(reaction.name)


def _key_of_added(told: MessageReactions, reaction: Reaction) -> str:
    """Another one for the same that was taken back and given again."""
    person, name = _given(reaction)
    at = reaction.added_at.isoformat()
    return dedupe_key(f"reacted:{told.message_id}:{person}:{name}:{at}")


def _people(space_ids: set[int], remote_ids: set[str]) -> dict[tuple[int, str], PersonInfo]:
    if not remote_ids:
        return {}
    rows = Person.objects.filter(space_id__in=space_ids, remote_id__in=remote_ids)
    return {
        (row.space_id, row.remote_id): PersonInfo(
            id=row.remote_id,
            username=row.username,
            name=row.name,
            email=row.email,
            is_bot=row.is_bot,
        )
        for row in rows
    }


def _read(stored: list[dict[str, str]] | None) -> list[Given] | None:
    return None if stored is None else [(one["person"], one["name"]) for one in stored]


def _json(state: list[Given] | None) -> list[dict[str, str]] | None:
    return None if state is None else [{"person": p, "name": n} for p, n in state]
