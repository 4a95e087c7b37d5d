"""Events stored per second through the inbox, beside Django storing the very same rows.

By as many writers as in every process that holds connections; each event comes by itself, as from
many bots at once, and the inbox makes its batches.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count

from django.db import transaction

from benchmarks.figures import Figure, side_by_side
from benchmarks.scene import CHANNELS, make_bots
from bots.inbox import Inbox, Received
from bots.models import Bot, Connection, Direction, Event, Message
from spaces.models import Channel
from spaces.platforms.messages import Incoming, Kind, PersonInfo

EVENTS = 10_000  # a run
ROWS = 200  # that Django stores in one go
BOTS = 10
EVENT_BYTES = 1_300
PEOPLE = [
    PersonInfo(id=f"person-{n}", username=f"user{n}", email=f"user{n}@example.com")
    for n in range(50)
]
_numbers = count()


def main() -> list[Figure]:
    bots = make_bots(BOTS)
    Connection.objects.filter(bot__in=bots).update(fence=1)
    connections = {bot.pk: bot.connection.pk for bot in bots}
    channels = {channel.remote_id: channel for channel in Channel.objects.all()}
    inbox = Inbox()
    inbox.start()

    def through_the_inbox() -> float:
        pieces = [_received(bot, connections[bot.pk], told) for bot, told in _told(bots, channels)]
        started = time.perf_counter()
        for piece in pieces:
            inbox.put(piece)
        inbox.wait_stored()
        return EVENTS / (time.perf_counter() - started)

    def in_bulk() -> float:
        told = list(_told(bots, channels))
        events = [_event(bot, incoming, channels) for bot, incoming in told]
        messages = [_message(bot, incoming, channels) for bot, incoming in told]
        started = time.perf_counter()
        for start in range(0, EVENTS, ROWS):
            with transaction.atomic():
                Event.objects.bulk_create(events[start : start + ROWS])
                Message.objects.bulk_create(messages[start : start + ROWS])
        return EVENTS / (time.perf_counter() - started)

    figure = Figure(
        what=f"events of {EVENT_BYTES / 1000} kB with their messages stored through the inbox",
        unit="events/s",
        aim="10,000 or more",
        yardstick=f"bulk_create({ROWS}) of the same rows, made beforehand",
        **side_by_side(through_the_inbox, in_bulk),
    )
    inbox.stop(timeout=10)
    return [figure]


def _told(bots: Sequence[Bot], channels: dict[str, Channel]) -> Iterator[tuple[Bot, Incoming]]:
    """New messages, by turns for all bots and from all channels and people."""
    remote_ids = sorted(channels)[:CHANNELS]
    for turn in range(EVENTS):
        number = next(_numbers)
        person = PEOPLE[turn % len(PEOPLE)]
        raw = {
            "event": "posted",
            "seq": number,
            "data": {
                "id": f"message-{number}",
                "channel": remote_ids[turn % CHANNELS],
                "sender": person.id,
                "text": "The quick brown fox jumps over the lazy dog. " * 10,
                "props": {},
            },
        }
        raw["padding"] = "x" * (EVENT_BYTES - len(json.dumps(raw)) - len(', "padding": ""'))
        yield (
            bots[turn % len(bots)],
            Incoming(
                kind=Kind.MESSAGE_POSTED,
                id=f"event-{number}",
                occurred_at=datetime.now(UTC),
                channel_id=raw["data"]["channel"],
                person=person,
                message_id=raw["data"]["id"],
                text=raw["data"]["text"],
                raw=raw,
                cursor={"seq": number},
            ),
        )


def _received(bot: Bot, connection_id: int, incoming: Incoming) -> Received:
    return Received(
        connection_id=connection_id,
        bot_id=bot.pk,
        space_id=bot.space_id,
        fence=1,
        incoming=[incoming],
        cursor=incoming.cursor,
    )


def _event(bot: Bot, incoming: Incoming, channels: dict[str, Channel]) -> Event:
    return Event(
        bot=bot,
        kind=incoming.kind.value,
        dedupe_key=incoming.id,
        channel=channels[incoming.channel_id],
        occurred_at=incoming.occurred_at,
        data={
            "person": {"id": incoming.person.id, "username": incoming.person.username},
            "message": {"remote_id": incoming.message_id, "text": incoming.text},
        },
        raw=incoming.raw,
    )


def _message(bot: Bot, incoming: Incoming, channels: dict[str, Channel]) -> Message:
    return Message(
        bot=bot,
        channel=channels[incoming.channel_id],
        remote_id=incoming.message_id,
        direction=Direction.IN,
        text=incoming.text,
        sent_at=incoming.occurred_at,
    )
