"""Giving turns: which handlers meet which events, in which lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from bots import audit, clients, lanes
from bots.handling import commands, registry
from bots.handling.commands import Command
from bots.handling.registry import Handler
from bots.models import Bot, Event, HandlerRun, LaneKind, WorkState
from bots.refusals import Conflict
from spaces.models import Channel
from spaces.platforms.messages import Incoming

# How many lanes the turns of one handler of a bot are dealt out to when they need no order.
CONCURRENT_LANES = 16


def queue(stored: Iterable[tuple[Event, Incoming]], answer_seconds: float = 0) -> None:
    """Give the enabled handlers of each bot their turns; in the transaction that stores events.

    For so many seconds from now somebody waits for their answers.
    """
    interesting = {kind for handler in registry.registered().values() for kind in handler.kinds}
    by_bot: dict[int, list[Event]] = defaultdict(list)
    for event, incoming in stored:
        if event.bot_id is None or incoming.own or incoming.system:
            continue
        if incoming.kind in interesting:
            by_bot[event.bot_id].append(event)
    if not by_bot:
        return
    answering = Bot.objects.filter(pk__in=by_bot).exclude(handlers=[])
    bots = list(answering.select_related("space", "person").order_by("pk"))
    told = [event.channel_id for bot in bots for event in by_bot[bot.pk]]
    channels = Channel.objects.in_bulk({pk for pk in told if pk}) if told else {}
    for bot in bots:
        ordered = clients.options(bot)["event_handling"] == "in_order"
        entries = [
            lanes.Entry(
                key=f"{handler.name} {_place(channels, event) if ordered else _any(event)}"[:300],
                work=HandlerRun(bot=bot, event=event, handler=handler.name),
                ordered=ordered,
            )
            for event, handler in _turns(bot, by_bot[bot.pk], channels)
        ]
        lanes.put(LaneKind.HANDLERS, bot, entries)
        if answer_seconds:
            runs = HandlerRun.objects.filter(pk__in=[entry.work.pk for entry in entries])
            runs.update(answer_until=Now() + timedelta(seconds=answer_seconds))


def _turns(
    bot: Bot, events: Sequence[Event], channels: Mapping[int, Channel]
) -> Iterator[tuple[Event, Handler]]:
    """No query: what is not meant for a handler costs it no turn."""
    handlers = registry.enabled(bot)
    prefix = commands.prefix_of(bot)
    for event in events:
        channel = channels.get(event.channel_id) if event.channel_id else None
        interested = [h for h in handlers if event.kind in h.kinds and h.is_for(bot, channel)]
        yield from ((event, h) for h in interested if not isinstance(h, Command))
        known = [h for h in interested if isinstance(h, Command)]
        if asked := commands.asked(known, bot, prefix, event, channel):
            yield event, asked


def _place(channels: Mapping[int, Channel], event: Event) -> str:
    channel = channels.get(event.channel_id) if event.channel_id else None
    return f"channel:{channel.remote_id}" if channel else "bot"


def _any(event: Event) -> str:
    return f"any:{event.pk % CONCURRENT_LANES}"


def retry(run: HandlerRun) -> None:
    """Give a failed run its tries anew, at its old place. Raises `Conflict` for any other state."""
    with transaction.atomic():
        moved = HandlerRun.objects.filter(pk=run.pk, state=WorkState.FAILED).update(
            state=WorkState.QUEUED, attempts=0, not_before=None, finished_at=None
        )
        if not moved:
            raise Conflict(f"Handler run {run.pk} is {run.state}, not failed.")
        lanes.put_again(run.lane_id)
        audit.record("handler_run.retried", run)
