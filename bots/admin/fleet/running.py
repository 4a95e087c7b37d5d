"""Whether anybody works: the processes of the install, as their heartbeats tell. How many they are
and what they hold says something of all bots, and is for those who see them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from bots.admin.fleet.scope import Scope
from bots.connections import states
from bots.incidents.wording import lasted
from bots.models import Bot, Connection, Process, Receive
from bots.processes import ALIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is known of one kind of process; what is wrong has a next step."""

    badge: str
    tone: str
    text: str
    next_step: str = ""


def lines(scope: Scope) -> list[Line]:
    now = timezone.now()
    holds = Q(seen_at__gt=now - ALIVE, connections__gt=0)
    found = Process.objects.aggregate(
        workers=Count("pk", filter=Q(worked_at__gt=now - ALIVE)),
        worked_at=Max("worked_at"),
        holders=Count("pk", filter=holds),
        places=Sum("connections", filter=holds, default=0),
        held=Sum("held", filter=holds, default=0),
    )
    if found["workers"]:
        workers = _at_work(found["workers"] if scope.actor.sees_all else None)
    else:
        silent = lasted(now - found["worked_at"]) if found["worked_at"] else ""
        workers = _nobody_looks(silent)
    if scope.actor.sees_all:
        return [workers, _connections(found["holders"], found["places"], found["held"])]
    return [workers, _connections_of(scope.bots(), is_held=bool(found["holders"]))]


def _at_work(count: int | None) -> Line:
    """Beat leaves no mark of its own: that periodic tasks run proves that it is there."""
    if count is None:
        who = "Workers run"
    else:
        who = "1 worker runs" if count == 1 else f"{count:,} workers run"
    return Line(badge="at work", tone="ok", text=f"{who} the periodic tasks that beat gives out.")


def _nobody_looks(silent: str) -> Line:
    since = f"for {silent}" if silent else "yet"
    return Line(
        badge="nobody looks",
        tone="bad",
        text=f"No worker ran a periodic task {since}: what is said here may be old, and jobs wait.",
        next_step="Start worker and beat; manage.py doctor says which of them is missing.",
    )


def _connections(holders: int, places: int, held: int) -> Line:
    wanted = _wanted().count()
    if holders == 0:
        return _nobody_connects() if wanted else _not_needed()
    who = "1 process holds" if holders == 1 else f"{holders:,} processes hold"
    text = f"{who} {held:,} of up to {places:,} connections."
    if places < wanted:
        return Line(
            badge="too few",
            tone="warn",
            text=f"{text} {wanted:,} are wanted.",
            next_step="Start another one, or raise --connections.",
        )
    return Line(badge="connected", tone="ok", text=text)


def _connections_of(bots: QuerySet[Bot], *, is_held: bool) -> Line:
    if not _wanted().filter(bot__in=bots).exists():
        return _not_needed()
    if not is_held:
        return _nobody_connects()
    return Line(badge="connected", tone="ok", text="Connections are held.")


def _wanted() -> QuerySet[Connection]:
    return Connection.objects.filter(states.startable(), bot__receive=Receive.WEBSOCKET)


def _not_needed() -> Line:
    return Line(badge="not needed", tone="idle", text="No bot wants a connection to be held.")


def _nobody_connects() -> Line:
    return Line(
        badge="nobody connects",
        tone="bad",
        text="No process holds connections: bots that receive live hear nothing.",
        next_step="Start one: celery -A botadmin worker --pool threads --connections 500.",
    )
