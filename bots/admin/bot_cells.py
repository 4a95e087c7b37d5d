"""What the list of bots says of each one now, a cell of the table each.

The cells that change while one looks are sent anew by the list's own view; everything else in a row
stays, and with it what is ticked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from django.db.models import Max, Min, OuterRef, Subquery, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from bots import tallies
from bots.admin import counting, looks
from bots.admin.counting import CountUpTo
from bots.connections import states
from bots.lanes import SCHEDULED
from bots.models import Bot, Job, Lane, LaneKind, WorkState
from bots.tallies import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The jobs of a bot that nobody has begun."""

    count: str = "0"
    oldest: datetime | None = None  # of those that were not put off on purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    name: str  # of its element on the page
    html: SafeString


class Cells:
    """What changes by itself, for all bots of a page: two queries, however many they are."""

    def __init__(self, bots: Sequence[Bot]):
        self._queues = _queues(bots)
        self._rates = tallies.rate(bots)
        self._bots = bots

    def all(self) -> list[Cell]:
        return [
            Cell(name=_name(kind, bot), html=getattr(self, kind)(bot))
            for bot in self._bots
            for kind in ("state", "last_event", "queue", "rate")
        ]

    def place(self, kind: str, bot: Bot) -> SafeString:
        """One of them, in the element that is filled anew later."""
        html = getattr(self, kind)(bot)
        return format_html('<div id="{}" class="cell">{}</div>', _name(kind, bot), html)

    def state(self, bot: Bot) -> SafeString:
        now = states.shown(bot)
        if not now.reason:
            return looks.state(now.state)
        return format_html(
            '{}<div class="below reason" title="{} {}">{} <strong>{}</strong></div>',
            looks.state(now.state),
            now.reason,
            now.next_step,
            now.reason,
            now.next_step,
        )

    def last_event(self, bot: Bot) -> SafeString:
        at = bot.connection.last_event_at
        if at is None:
            return format_html("{}", looks.NOTHING)
        return format_html('<span title="{}">{}</span>', looks.moment(at), ago(at))

    def queue(self, bot: Bot) -> SafeString:
        queue = self._queues.get(bot.pk, Queue())
        if queue.count == "0":
            return format_html('<span class="below">{}</span>', "empty")
        jobs = reverse("admin:bots_job_changelist")
        url = f"{jobs}?bot__id__exact={bot.pk}&state__exact={WorkState.QUEUED}"
        return format_html(
            '<a class="text-link" href="{}">{} queued</a><div class="below">for {}</div>',
            url,
            queue.count,
            lasting(timezone.now() - queue.oldest) if queue.oldest else "later",
        )

    def rate(self, bot: Bot) -> SafeString:
        rate: Rate = self._rates[bot.pk]
        return format_html(
            "<div>{}\xa0in</div><div>{}\xa0out</div>", _number(rate.heard), _number(rate.sent)
        )


def identity(bot: Bot) -> SafeString:
    url = reverse("admin:bots_bot_change", args=[bot.pk])
    return format_html(
        '<div class="who"><a class="name" href="{}">{}</a><div class="below">{}</div></div>',
        url,
        bot.name,
        bot.slug,
    )


def two_lines(first: str, second: str) -> SafeString:
    return format_html('<div>{}<div class="below">{}</div></div>', first, second)


def labels(bot: Bot) -> SafeString | str:
    if not (names := [label.name for label in bot.labels.all()]):
        return looks.NOTHING
    return format_html(
        '<ul class="labels" aria-label="Labels">{}</ul>',
        format_html_join("", '<li><a href="?label={}">{}</a></li>', ((quote(n), n) for n in names)),
    )


def ago(at: datetime) -> str:
    lasted = timezone.now() - at
    return "just now" if lasted < timedelta(minutes=1) else f"{lasting(lasted)} ago"


def lasting(duration: timedelta) -> str:
    """In the one unit that says most."""
    seconds = max(0, int(duration.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "under a minute"


def _name(kind: str, bot: Bot) -> str:
    return f"{kind}-{bot.pk}"


def _queues(bots: Iterable[Bot]) -> dict[int, Queue]:
    """Counted in each lane as far as anybody reads, for this is asked all the time."""
    queued = Job.objects.filter(lane=OuterRef("pk"), state=WorkState.QUEUED).order_by("pk")
    first = queued.exclude(SCHEDULED)[:1]
    lanes = Lane.objects.filter(bot__in=[bot.pk for bot in bots], kind=LaneKind.JOBS).annotate(
        queued=CountUpTo(queued), first_at=Subquery(first.values("created_at"))
    )
    found = (
        lanes.order_by()
        .values_list("bot")
        .annotate(count=Sum("queued"), longest=Max("queued"), oldest=Min("first_at"))
    )
    return {
        pk: Queue(
            # Where a lane was not counted to its end, its count is one too many, and says so.
            count=counting.told(longest) if longest > counting.MOST else f"{count:,}",
            oldest=oldest,
        )
        for pk, count, longest, oldest in found
    }


def _number(per_minute: float) -> str:
    if 0 < per_minute < 0.1:
        return "<0.1"
    return f"{per_minute:,.1f}".removesuffix(".0")
