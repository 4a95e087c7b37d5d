"""Trouble on purpose: what bots of the local platform meet when their options say so.

Each fault has an option with its share in percent. All stay within the contract: what is called
unavailable or limited was not done, what is told late or twice keeps its id and its order within a
channel, and no event moves the reading position past one that is still to come. So whoever
receives and sends through botadmin loses nothing by them but time.

What a call meets follows from the seed, the bot, the operation and how many calls of it the bot
made before in this process; two threads that call at once may swap their fates.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

from spaces.platforms import _local_wire as wire
from spaces.platforms._local_hub import Hub, LocalStream
from spaces.platforms.contract import Account, Option
from spaces.platforms.errors import OutcomeUnknown, RateLimited, Unavailable
from spaces.platforms.messages import Batch, Incoming, Kind

R = TypeVar("R")

GROUP = "Faults, brought about on purpose"


def _share(fault: str, label: str, help: str) -> Option:
    return Option(
        name=f"fault_{fault}_percent",
        label=f"Fault: {label}",
        type="number",
        default=0,
        unit="%",
        minimum=0,
        maximum=100,
        on=("space", "bot"),
        group=GROUP,
        help=help,
    )


DROP = _share(
    "drop",
    "dropped",
    "This share of calls reaches nothing, and this share of events ends the stream instead.",
)
STALL = _share("stall", "stalled", "This share of calls takes longer.")
RATE_LIMIT = _share("rate_limit", "rate limits", "This share of calls is refused for a while.")
LOST_ANSWER = _share(
    "lost_answer",
    "lost answers",
    "This share of calls that change something is done, and never answered.",
)
DUPLICATE = _share("duplicate", "told twice", "This share of events is told again later.")
REORDER = _share(
    "reorder",
    "other order",
    "This share of events comes late, overtaken by those of other channels.",
)
SHARES = (DROP, STALL, RATE_LIMIT, LOST_ANSWER, DUPLICATE, REORDER)
SECONDS = Option(
    name="fault_seconds",
    label="Fault: duration",
    type="number",
    default=2,
    unit="s",
    minimum=0,
    maximum=60,
    on=("space", "bot"),
    group=GROUP,
    help="How long a stall lasts, a rate limit asks to wait, and an event is held back.",
)
SEED = Option(
    name="fault_seed",
    label="Fault: seed",
    on=("space", "bot"),
    group=GROUP,
    help="The same seed brings the same faults again. Without one they differ with every start.",
)
OPTIONS = (*SHARES, SECONDS, SEED)

# These change nothing, so that a lost answer leaves nothing open.
READS = frozenset(
    {
        "connect",
        "check",
        "find_sent",
        "list_pinned",
        "list_channels",
        "list_joinable_channels",
        "find_channel",
        "find_created",
        "find_person",
        "list_participants",
        "start_cursor",
        "catch_up",
        "open_stream",
        "history",
        "download_file",
        "custom_request",  # the local platform has only requests that read
    }
)

_seed = uuid4().hex  # of this process, where the options name none
_met: Counter[str] = Counter()  # how often fate was asked, by what for
_lock = threading.Lock()  # guards the counter


class NoFaults:
    """All goes well."""

    stall_seconds = 0.0  # how much longer a call may take

    def call(self, operation: str, do: Callable[[], R]) -> R:
        return do()

    def batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        return batches

    def stream(self, hub: Hub, space_id: int, account_id: int) -> LocalStream:
        return LocalStream(hub, space_id, account_id)


class Faults(NoFaults):
    """As often as the options of one bot say."""

    def __init__(self, account: Account):
        options = account.options
        self._shares = {share: float(options.get(share.name, share.default)) for share in SHARES}
        self.seconds = float(options.get(SECONDS.name, SECONDS.default))
        self.stall_seconds = self.seconds if self._shares[STALL] else 0.0
        self._course = f"{options.get(SEED.name) or _seed}:{account.space}:{account.bot}"

    def call(self, operation: str, do: Callable[[], R]) -> R:
        fate = self.fate(operation)
        if fate.brings(STALL):
            time.sleep(self.seconds)
        if fate.brings(DROP):
            raise _dropped()
        if fate.brings(RATE_LIMIT):
            raise RateLimited(_why("The call was limited", RATE_LIMIT), retry_after=self.seconds)
        result = do()
        if operation not in READS and fate.brings(LOST_ANSWER):
            raise OutcomeUnknown(_why("The answer was lost", LOST_ANSWER))
        return result

    def batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            fate = self.fate("batch")
            told: Sequence[Incoming] = batch.incoming
            if fate.brings(REORDER):
                told = _in_another_order(told, fate)
            yield replace(batch, incoming=tuple(_some_twice(told, fate)))
            if fate.brings(DROP):
                raise _dropped()

    def stream(self, hub: Hub, space_id: int, account_id: int) -> LocalStream:
        return FaultyStream(hub, space_id, account_id, self)

    def fate(self, of: str) -> Fate:
        key = f"{self._course}:{of}"
        with _lock:
            _met[key] += 1
            number = _met[key]
        return Fate(f"{key}:{number}", self._shares)


class Fate:
    """What one call or event meets."""

    def __init__(self, seed: str, shares: Mapping[Option, float]):
        self.chance = Random(seed)
        self._shares = shares

    def brings(self, share: Option) -> bool:
        return self.chance.random() * 100 < self._shares[share]


class FaultyStream(LocalStream):
    """What the hub pushes meets its fate on the way to the reader.

    An event that is held back holds back all that follow in its room. As long as one waits, those
    that overtake it move no position: should the stream end, catching up begins before it.
    """

    def __init__(self, hub: Hub, space_id: int, account_id: int, faults: Faults):
        super().__init__(hub, space_id, account_id)
        self._faults = faults
        self._ordering = threading.Lock()
        self._late: dict[str, list[tuple[int, bytes]]] = {}  # number and frame, by room

    def push(self, frame: bytes) -> None:
        fate = self._faults.fate("event")
        if fate.brings(DROP):
            self.break_off()
        elif place := wire.place(frame):
            self._push_event(*place, frame, fate)
        else:
            super().push(frame)

    def _push_event(self, room: str, seq: int, frame: bytes, fate: Fate) -> None:
        with self._ordering:
            if room in self._late:
                self._late[room].append((seq, frame))
            elif fate.brings(REORDER):
                self._late[room] = [(seq, frame)]
                self._later(self._release, room)
            else:
                self._tell(seq, frame)

    def _release(self, room: str) -> None:
        with self._ordering:
            for seq, frame in self._late.pop(room):
                self._tell(seq, frame)

    def _tell(self, seq: int, frame: bytes) -> None:
        aside = wire.moving_nothing(frame)
        overtaking = any(waiting[0][0] < seq for waiting in self._late.values())
        super().push(aside if overtaking else frame)
        if self._faults.fate("told").brings(DUPLICATE):
            self._later(super().push, aside)

    def _later(self, do: Callable[[Any], None], what: Any) -> None:
        timer = threading.Timer(self._faults.seconds, do, (what,))
        timer.daemon = True
        timer.start()


NO_FAULTS = NoFaults()


def of(account: Account) -> NoFaults:
    """What this bot is to meet."""
    return Faults(account) if any(account.options.get(s.name) for s in SHARES) else NO_FAULTS


def _in_another_order(told: Sequence[Incoming], fate: Fate) -> Sequence[Incoming]:
    """Shuffled, but in order within each channel. A gap stays where it is, before all others."""
    if any(incoming.kind is Kind.GAP for incoming in told):
        return told
    channels: dict[str, deque[Incoming]] = defaultdict(deque)
    for incoming in told:
        channels[incoming.channel_id].append(replace(incoming, cursor={}))
    turns = [incoming.channel_id for incoming in told]
    fate.chance.shuffle(turns)
    return [channels[channel_id].popleft() for channel_id in turns]


def _some_twice(told: Iterable[Incoming], fate: Fate) -> Iterator[Incoming]:
    for incoming in told:
        yield incoming
        if fate.brings(DUPLICATE):
            yield incoming


def _dropped() -> Unavailable:
    return Unavailable(_why("The connection was dropped", DROP))


def _why(what: str, share: Option) -> str:
    return f"{what} on purpose, as the option {share.name} wants."
