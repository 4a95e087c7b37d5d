"""How the connection of a bot was during the last day: as a band, in sums, change by change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.safestring import SafeString

from bots.admin import looks
from bots.connections import states
from bots.connections.states import Shown
from bots.incidents.wording import lasted
from bots.models import AuditEntry, Bot, Event, State
from spaces.platforms.messages import Kind

DAY = timedelta(days=1)
READ = 300  # changes; who has more in a day is told that the first ones are left out
LISTED = 10
UNKNOWN = "unknown"
_OFF = {"field": "Enabled", "before": "yes", "after": "no"}  # as the form of a bot is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time in one state."""

    state: str
    since: datetime
    until: datetime
    reason: str = ""

    @property
    def lasted(self) -> timedelta:
        return self.until - self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A span as the band shows it; `percent` of its width."""

    tone: str
    percent: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """How long it was in one state altogether."""

    tone: str
    state: str
    lasted: str
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    badge: SafeString
    at: str
    reason: str
    lasted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    band: list[Stretch]
    sums: list[Sum]
    changes: list[Change]
    begins: str
    is_cut: bool  # there were more changes than were read


def of(bot: Bot) -> History:
    """Two queries, however much happened."""
    now = timezone.now()
    told = Event.objects.filter(bot=bot, kind=Kind.CONNECTION_CHANGED).order_by("-pk")
    events = list(told.only("occurred_at", "data")[:READ])
    spans = _spans(list(reversed(events)), states.shown(bot), now)
    start = now - DAY
    is_cut = len(events) == READ and events[-1].occurred_at > start
    before = [] if is_cut or not events else [_before(events[-1], bot)]
    of_day = list(_within([*before, *spans], start, now))
    return History(
        band=[_stretch(span) for span in _merged(of_day)],
        sums=_sums(_merged(of_day)),
        changes=_changes(bot, spans, now),
        begins=f"{timezone.localtime(start):%H:%M}",
        is_cut=is_cut,
    )


def _spans(events: Sequence[Event], shown: Shown, now: datetime) -> list[Span]:
    """All that is known, oldest first; the last one is what is shown now, whatever was written."""
    spans = []
    ends = [*(event.occurred_at for event in events[1:]), now]
    for event, until in zip(events, ends, strict=False):
        spans.append(
            Span(
                state=str(event.data.get("state", UNKNOWN)),
                since=event.occurred_at,
                until=max(until, event.occurred_at),
                reason=str(event.data.get("reason", "")),
            )
        )
    if not spans or spans[-1].state != shown.state:
        since = min(shown.since, now)
        before = [span for span in spans if span.since < since]
        if before:
            last = before.pop()
            before.append(Span(state=last.state, since=last.since, until=since, reason=last.reason))
        spans = [*before, Span(state=shown.state, since=since, until=now, reason=shown.reason)]
    return spans


def _before(first: Event, bot: Bot) -> Span:
    """As it was until the first change: older ones are pruned after more than a day."""
    was = str(first.data.get("was", UNKNOWN))
    return Span(state=was, since=min(bot.created_at, first.occurred_at), until=first.occurred_at)


def _within(spans: Iterable[Span], start: datetime, end: datetime) -> Iterable[Span]:
    """Their parts between the two; what nobody knows of stands before the first."""
    at = start
    for span in spans:
        if span.until <= start:
            continue
        if span.since > at:
            yield Span(state=UNKNOWN, since=at, until=span.since)
        at = span.until
        yield Span(state=span.state, since=max(span.since, start), until=min(span.until, end))


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Without changes of nothing but the reason."""
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].state == span.state:
            span = Span(state=span.state, since=merged.pop().since, until=span.until)
        merged.append(span)
    return merged


def _stretch(span: Span) -> Stretch:
    times = [f"{timezone.localtime(at):%H:%M}" for at in (span.since, span.until)]
    return Stretch(
        tone=looks.TONES.get(span.state, "none"),
        percent=f"{100 * span.lasted / DAY:.2f}",
        title=f"{_words(span.state)}, {times[0]} to {times[1]}",
    )


def _sums(spans: Iterable[Span]) -> list[Sum]:
    by_state: dict[str, list[timedelta]] = defaultdict(list)
    for span in spans:
        by_state[span.state].append(span.lasted)
    longest_first = sorted(by_state.items(), key=lambda one: -sum(one[1], timedelta()))
    return [
        Sum(
            tone=looks.TONES.get(state, "none"),
            state=_words(state),
            lasted=lasted(sum(times, timedelta())),
            times=len(times),
        )
        for state, times in longest_first
        if sum(times, timedelta()) >= timedelta(seconds=1)
    ]


def _changes(bot: Bot, spans: Sequence[Span], now: datetime) -> list[Change]:
    """The latest, newest first. What nobody gave a reason for when it was written is what somebody
    did: the audit log knows who."""
    stops = _stops(bot)
    told: list[Span] = []
    before = min(bot.created_at, spans[0].since)
    for span in spans:
        # Somebody switches it off, then its holder lets go of it.
        until = now if span.until >= now and not bot.enabled else span.since
        by = next((stop for stop in stops if before <= stop.at <= until), None)
        if span.state == State.OFF and by is not None:
            span = replace(span, reason=f"Switched off by {by.actor_label}.")
        told.append(span)
        before = span.since
    return [_change(span, now) for span in told[: -LISTED - 1 : -1]]


def _stops(bot: Bot) -> list[AuditEntry]:
    """When somebody switched it off, the latest first."""
    of_bot = AuditEntry.objects.filter(kind="bot", object_id=str(bot.pk)).order_by("-pk")
    entries = of_bot.filter(action__in=("bot.stopped", "bot.changed"))
    newest = entries.only("at", "action", "actor_label", "changes")[:READ]
    return [one for one in newest if one.action == "bot.stopped" or _OFF in one.changes]


def _change(span: Span, now: datetime) -> Change:
    goes_on = span.until >= now
    return Change(
        badge=looks.state(span.state),
        at=looks.moment(span.since),
        reason=span.reason,
        lasted=f"{lasted(span.lasted)}{', until now' if goes_on else ''}",
    )


def _words(state: str) -> str:
    return "nothing known" if state == UNKNOWN else state.replace("_", " ")
