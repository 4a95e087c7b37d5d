"""Threads that are deleted as a whole, of which a platform names only the message at their top.

The answers are deleted events of their own, with the ids by which a catch-up tells of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bots.keys import remote_id
from bots.models import Message
from spaces.platforms.messages import Incoming, Kind

if TYPE_CHECKING:
    from bots.inbox import Received

New = tuple["Received", Incoming]
Place = tuple[int, str]  # a bot, and a message by the platform's id


def told(batch: Iterable[Received]) -> Sequence[New]:
    """All that a batch tells, in order, with the answers that go with what they answered."""
    everything = [(received, one) for received in batch for one in received.incoming]
    gone = [(received, one) for received, one in everything if one.with_thread]
    return list(_with_answers(everything, _answers(everything, gone))) if gone else everything


def _with_answers(everything: Sequence[New], answers: dict[Place, list[str]]) -> Iterator[New]:
    for received, incoming in everything:
        yield received, incoming
        if incoming.with_thread:
            for answer in answers[_place(received, incoming.message_id)]:
                yield received, _deleted(answer, incoming)


def _answers(everything: Sequence[New], gone: Sequence[New]) -> dict[Place, list[str]]:
    """The answers we know to messages that are gone: those stored, and those told just now."""
    places = {_place(received, root.message_id) for received, root in gone}
    rows = Message.objects.filter(
        bot_id__in={bot_id for bot_id, _ in places},
        thread__in={root_id for _, root_id in places},
        deleted_at=None,
    ).exclude(thread="")  # as the index has it
    answers: dict[Place, list[str]] = defaultdict(list)
    for bot_id, root_id, answer in rows.order_by("pk").values_list("bot_id", "thread", "remote_id"):
        answers[bot_id, root_id].append(answer)
    for received, one in everything:
        if one.kind == Kind.MESSAGE_POSTED and one.thread:
            answers[_place(received, one.thread)].append(one.message_id)
    return answers


def _deleted(answer: str, root: Incoming) -> Incoming:
    id = root.id.replace(root.message_id, answer)
    return replace(root, id=id, message_id=answer, with_thread=False, raw={}, cursor={})


def _place(received: Received, message_id: str) -> Place:
    return received.bot_id, remote_id(message_id)
