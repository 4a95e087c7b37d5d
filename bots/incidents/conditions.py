"""What can be wrong: a question for each, asked of all bots or subscriptions at once.

The answers hold as of now. How long something may last before it is an incident is a matter of
`patience`, unless its rows say since when it is so. Texts stay as they are while nothing changes:
no numbers that grow, no times that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db.models import (
    Case,
    Count,
    DateTimeField,
    Exists,
    F,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    When,
)
from django.db.models.functions import Coalesce, Least

from bots import lane_names
from bots.connections import states
from bots.lanes import SCHEDULED
from bots.models import (
    Bot,
    Credential,
    Delivery,
    Ended,
    HandlerRun,
    IncidentCode,
    Job,
    Lane,
    LaneKind,
    Receive,
    Severity,
    State,
    Subscription,
    Work,
    WorkState,
)
from bots.models.lane import UNFINISHED
from bots.scrub import scrub

LATE = timedelta(minutes=4)  # and a minute of patience
CROWD = 1_000  # unfinished in one lane
FAILING = timedelta(minutes=15)
EXPIRY_TOLD = timedelta(days=14)
# Between two limits a bot sends for a moment, and is limited all the same.
LIMITED_LATELY = timedelta(minutes=1)

# Codes that are not named here are believed at once.
PATIENCE = {
    IncidentCode.CONNECTION_DOWN: timedelta(seconds=60),
    IncidentCode.LANE_LATE: timedelta(seconds=60),
    IncidentCode.RATE_LIMITED: timedelta(minutes=10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that is wrong now. An empty detail says nothing new."""

    code: IncidentCode
    severity: Severity
    key: str
    subject: str
    detail: str
    next_step: str
    bot_id: int | None = None
    subscription_id: int | None = None
    space_id: int | None = None


Condition = Callable[[datetime], Iterator[Found]]


def examine(now: datetime) -> Iterator[Found]:
    """All that is wrong, each thing once."""
    for condition in CONDITIONS:
        yield from condition(now)


def patience(code: str) -> timedelta:
    return PATIENCE.get(IncidentCode(code), timedelta())


class _Bot(NamedTuple):
    """As much of a bot as a question about it needs to group by."""

    pk: int
    slug: str
    space_id: int


SUBSCRIPTIONS = Subscription.objects.defer("secret", "old_secret")
# What makes a `_Bot` of a row that belongs to a bot.
BOT = ("bot_id", "bot__slug", "bot__space_id")


def _of_bot(
    code: IncidentCode, severity: Severity, bot: Bot | _Bot, detail: str, next_step: str
) -> Found:
    return Found(
        code=code,
        severity=severity,
        key=f"bot:{bot.pk}",
        subject=f"bot {bot.slug}",
        detail=scrub(detail),
        next_step=scrub(next_step),
        bot_id=bot.pk,
        space_id=bot.space_id,
    )


def _of_subscription(
    code: IncidentCode, severity: Severity, row: Subscription, detail: str, next_step: str
) -> Found:
    return Found(
        code=code,
        severity=severity,
        key=f"subscription:{row.pk}",
        subject=str(row),
        detail=scrub(detail),
        next_step=scrub(next_step),
        subscription_id=row.pk,
    )


# Connections ------------------------------------------------------------------------------------

REFUSALS = {
    State.BAD_CREDENTIALS: (
        IncidentCode.CREDENTIALS_REFUSED,
        "Set new credentials on the bot's page, then press Test.",
    ),
    State.MISCONFIGURED: (
        IncidentCode.MISCONFIGURED,
        "Put the bot's settings right, then press Test.",
    ),
}


def connections(now: datetime) -> Iterator[Found]:
    """Wanted and not live, as the pages say it; with webhooks nothing is held that could be down.

    Since when it is down is not in the row: one that is lost again while it catches up begins anew.
    """
    wanted = Bot.objects.filter(enabled=True).exclude(_looks_live(now))
    for bot in wanted.select_related("connection").defer("connection__cursor", "identity"):
        shown = states.shown(bot)
        if shown.state in REFUSALS:
            code, next_step = REFUSALS[shown.state]
            yield _of_bot(code, Severity.ERROR, bot, shown.reason, shown.next_step or next_step)
        elif shown.state not in (State.LIVE, State.OFF) and bot.receive != Receive.WEBHOOK:
            next_step = shown.next_step or "Look at the bot's page if it stays."
            code = IncidentCode.CONNECTION_DOWN
            yield _of_bot(code, Severity.ERROR, bot, shown.reason, next_step)


def _looks_live(now: datetime) -> Q:
    """Those that `states.shown` need not be asked about."""
    held = Q(receive=Receive.WEBSOCKET, connection__lease_until__gte=now)
    polled = Q(receive=Receive.POLL, connection__not_before__gte=now - states.POLL_OVERDUE)
    return Q(connection__state=State.LIVE) & (held | polled)


def credentials_expiring(now: datetime) -> Iterator[Found]:
    today = now.date()
    soon = Credential.objects.filter(expires_on__lte=today + EXPIRY_TOLD, bot__enabled=True)
    for row in soon.select_related("bot").defer("value"):
        assert row.expires_on is not None
        is_over = row.expires_on < today
        yield Found(
            code=IncidentCode.CREDENTIALS_EXPIRING,
            severity=Severity.ERROR if is_over else Severity.WARNING,
            key=f"bot:{row.bot_id}:{row.name}",
            subject=f"bot {row.bot.slug}",
            detail=f"Its {row.name} {'expired' if is_over else 'expires'} on {row.expires_on}.",
            next_step="Make a new one on the platform, and set it with its date on the bot's page.",
            bot_id=row.bot_id,
            space_id=row.bot.space_id,
        )


# Work that waits --------------------------------------------------------------------------------


# The first lane of each kind among those of one bot.
OF_JOBS = Min("pk", filter=Q(kind=LaneKind.JOBS))
OF_RUNS = Min("pk", filter=Q(kind=LaneKind.HANDLERS))


def lanes_late(now: datetime) -> Iterator[Found]:
    """Lanes whose first job waits for long, or that nobody takes; none that somebody paused."""
    begin = Case(
        When(attempts=0, not_before__isnull=False, then=F("not_before")), default=F("created_at")
    )
    first = _unfinished(Job).exclude(SCHEDULED).order_by("pk").values(begin=begin)[:1]
    # Lanes of handlers have no jobs.
    since = Least("due_at", Coalesce(Subquery(first, output_field=DateTimeField()), "due_at"))
    lanes = Lane.objects.filter(bot__enabled=True, due_at__isnull=False, paused_at=None)
    late = lanes.annotate(since=since).filter(since__lt=now - LATE)
    of_bots = late.values(*BOT).annotate(
        oldest=Min("since"), lanes=Count("pk"), of_jobs=OF_JOBS, of_runs=OF_RUNS
    )
    told = of_bots.order_by("bot_id").values_list(*BOT, "oldest", "lanes", "of_jobs", "of_runs")
    for *bot, oldest, count, of_jobs, of_runs in told:
        what = " and ".join(_waiting(of_jobs, of_runs))
        yield _of_bot(
            IncidentCode.LANE_LATE,
            Severity.WARNING,
            _Bot(*bot),
            f"{what.capitalize()} wait in {_count(count, 'lane')}, the first since {_at(oldest)}.",
            f"The pages of its lanes and {what} say why. Where nothing fails, start more workers.",
        )


def lanes_growing(now: datetime) -> Iterator[Found]:
    """Lanes with a crowd in them; no more than that is counted of any. In one that somebody paused,
    a crowd is no wonder."""
    lanes = Lane.objects.filter(due_at__isnull=False, paused_at=None)
    of_bots = lanes.filter(_crowded(Job) | _crowded(HandlerRun), bot__enabled=True)
    by_bot = of_bots.values(*BOT).annotate(of_jobs=OF_JOBS, of_runs=OF_RUNS).order_by("bot_id")
    found = [
        (_Bot(*bot), *next(iter(_waiting(of_jobs, of_runs).items())))
        for *bot, of_jobs, of_runs in by_bot.values_list(*BOT, "of_jobs", "of_runs")
    ]
    told = Lane.objects.filter(pk__in=[lane_id for _, _, lane_id in found])
    names = lane_names.names(told.select_related("bot"))
    for bot, what, lane_id in found:
        if lane_id not in names:
            continue  # its bot was deleted meanwhile
        yield _of_bot(
            IncidentCode.LANE_GROWING,
            Severity.WARNING,
            bot,
            f"More than {CROWD:,} {what} wait in the lane “{names[lane_id]}”.",
            f"Look at its {what}: what makes so many, and what holds them up.",
        )
    # While a receiver takes nothing, its deliveries wait for that: `subscriptions_failing` tells.
    of_others = lanes.filter(
        _crowded(Delivery), subscription__enabled=True, subscription__failing_since=None
    )
    for row in SUBSCRIPTIONS.filter(pk__in=of_others.values("subscription")):
        yield _of_subscription(
            IncidentCode.LANE_GROWING,
            Severity.WARNING,
            row,
            f"More than {CROWD:,} deliveries wait in one lane.",
            "Its receiver takes them more slowly than they come: see how long it needs for each.",
        )


def _waiting(of_jobs: int | None, of_runs: int | None) -> dict[str, int]:
    """What waits, with the id of a lane in which it does."""
    return {what: pk for what, pk in (("jobs", of_jobs), ("handler runs", of_runs)) if pk}


def rate_limited(now: datetime) -> Iterator[Found]:
    for bot in Bot.objects.filter(enabled=True, limited_until__gt=now - LIMITED_LATELY):
        yield _of_bot(
            IncidentCode.RATE_LIMITED,
            Severity.WARNING,
            bot,
            "The platform makes it wait, again and again.",
            "Let it send less, or set messages per second among its options.",
        )


def jobs_uncertain(now: datetime) -> Iterator[Found]:
    uncertain = Job.objects.filter(state=WorkState.UNCERTAIN)
    by_bot = uncertain.order_by("bot_id").values(*BOT).annotate(jobs=Count("pk"))
    for *bot, count in by_bot.values_list(*BOT, "jobs"):
        yield _of_bot(
            IncidentCode.JOBS_UNCERTAIN,
            Severity.WARNING,
            _Bot(*bot),
            f"Nobody knows whether {_count(count, 'job')} of its did what they were to do.",
            "Look into the channels, then resolve the jobs on their pages.",
        )


def _unfinished(model: type[Work]) -> QuerySet[Work]:
    return model._default_manager.filter(lane=OuterRef("pk"), state__in=UNFINISHED)


def _crowded(model: type[Work]) -> Q:
    one_too_many = _unfinished(model).order_by("pk")[CROWD : CROWD + 1]
    return Q(Exists(one_too_many))


# Subscriptions ----------------------------------------------------------------------------------


def subscriptions_failing(now: datetime) -> Iterator[Found]:
    for row in SUBSCRIPTIONS.filter(enabled=True, failing_since__lt=now - FAILING):
        yield _of_subscription(
            IncidentCode.SUBSCRIPTION_FAILING,
            Severity.WARNING,
            row,
            row.error_detail or row.error_code,
            "Look at its receiver. Deliveries are tried again by themselves, for three days.",
        )


def subscriptions_ended(now: datetime) -> Iterator[Found]:
    for row in SUBSCRIPTIONS.filter(enabled=False).exclude(ended=Ended.NO):
        yield _of_subscription(
            IncidentCode.SUBSCRIPTION_ENDED,
            Severity.ERROR,
            row,
            f"It was switched off: {row.get_ended_display()}.",
            "Put its receiver right and resume it; it goes on where it stopped. Or delete it.",
        )


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


CONDITIONS: tuple[Condition, ...] = (
    connections,
    credentials_expiring,
    lanes_late,
    lanes_growing,
    rate_limited,
    jobs_uncertain,
    subscriptions_failing,
    subscriptions_ended,
)
