"""Everything that can break, broken at random for a long while, in an install as in production.

python -m botadmin.tests.soak              fifteen minutes
python -m botadmin.tests.soak 3600         another number of seconds
python -m botadmin.tests.soak 3600 42      and the seed that a run printed

The platform's faults come on top of those of processes, services and network. What happens goes to
standard error as it does; the report at the end to standard output. The exit code says whether
anything was lost, doubled, out of order, untrue or too late.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from botadmin.testing.services import PostgreSQL, Redis, Server
from botadmin.tests.mattermost_company import BOTS, Company
from botadmin.tests.mattermost_storm import Proxy, Storm
from botadmin.tests.processes import DEADLINE
from botadmin.tests.production import (
    HELD_ELSEWHERE_SECONDS,
    HOLDERS,
    WORKERS,
    Process,
    Production,
    Traffic,
    let_files_grow_to,
)
from spaces.testing.mattermost import SimulatedMattermost

SECONDS = 900.0
SHORT = (0.0, 15.0)  # seconds that something is broken, at least and at most
LONG = (5.0, 60.0)
FROZEN = (15.0, 60.0)  # longer than any lease of a connection
DOWN_SECONDS = 5.0  # of the platform, at most
FAULT_EVERY_SECONDS = 1.5  # of the platform
CALM_EVERY = 5  # faults; then everything must become well
HEALED_SECONDS = 30.0  # at most, until all bots are live when nothing is broken any more
PATIENCE_SECONDS = 300.0  # for everything to settle in the end
FULL_DISK_BYTES = 1024 * 1024  # no file may grow larger
LIVE = """SELECT b.slug FROM bots_connection c JOIN bots_bot b ON b.id = c.bot_id
    WHERE c.state = 'live'"""
Figures = dict[str, Any]
Broken = Callable[[], AbstractContextManager[object]]


class Trouble:
    """What can be broken outside of the platform: what breaks and mends it, and how long it stays
    broken."""

    def __init__(
        self, production: Production, networks: dict[str, Proxy], chance: random.Random
    ) -> None:
        self._production = production
        self._chance = chance
        self._lost: list[tuple[Set[str], datetime]] = []  # whose holder went away, and when
        # From when to when nobody could have written down that he has them.
        self._without_database: list[tuple[datetime, datetime]] = []
        self.kinds: dict[str, tuple[Broken, tuple[float, float]]] = {
            "kill -9 of a worker": (lambda: self._killed(*WORKERS), SHORT),
            "kill -9 of a holder": (lambda: self._killed(*HOLDERS), SHORT),
            "kill -9 of beat": (lambda: self._killed("beat"), SHORT),
            "kill -9 of the web": (lambda: self._killed("web"), SHORT),
            "kill -9 of a part of the web": (self._wounded_web, SHORT),
            "SIGTERM of a worker": (lambda: self._told_to_stop(*WORKERS), SHORT),
            "SIGTERM of a holder": (lambda: self._told_to_stop(*HOLDERS), SHORT),
            "a worker frozen": (lambda: self._frozen(*WORKERS), LONG),
            "a holder frozen": (lambda: self._frozen(*HOLDERS), FROZEN),
            "two beats": (lambda: production.another("beat"), SHORT),
            "the broker away": (lambda: _away(production.broker), SHORT),
            "the broker flushed": (lambda: _before_and_after(production.broker.flush), SHORT),
            "the database restarted": (self._no_database, (0.0, 0.0)),
            "the database away": (self._no_database, LONG),
            "its connections cut": (lambda: _before_and_after(production.database.cut), SHORT),
            "the disk full": (self._full_disk, SHORT),
        }
        for name, proxy in networks.items():
            for what, broken in (("lost", partial(_lost, proxy)), ("late", partial(_late, proxy))):
                noted = partial(self._noted, broken) if name == "database" else broken
                self.kinds[f"packets to {name} {what}"] = (noted, SHORT)

    def held_again(self) -> dict[str, float]:
        """For each bot whose holder went away, and when: the seconds until another had it, as far
        as there was a database."""
        seconds: dict[str, float] = {}
        for bots, since in self._lost:
            found = self._production.seconds_until_held(bots, since)
            for bot in bots:
                waited = found.get(bot, math.inf)
                seconds[f"{bot} at {since:%H:%M:%S}"] = waited - self._excused(since, waited)
        return seconds

    def _excused(self, since: datetime, seconds: float) -> float:
        """How many of these seconds there was no database."""
        excused = 0.0
        for begin, end in self._without_database:
            first = max(0.0, (begin - since).total_seconds())
            last = min(seconds, (end - since).total_seconds())
            excused += max(0.0, last - first)
        return excused

    @contextmanager
    def _noted(self, broken: Broken) -> Iterator[None]:
        begin = datetime.now(UTC)
        with broken():
            yield
        self._without_database.append((begin, datetime.now(UTC)))

    def _no_database(self) -> AbstractContextManager[object]:
        return self._noted(lambda: _away(self._production.database))

    def _lose(self, process: Process) -> None:
        # Only of those that are live is it written at once that another has them.
        live = {*self._production.install.rows(LIVE)}
        self._lost.append((self._production.held_by(process.name) & live, datetime.now(UTC)))

    @contextmanager
    def _killed(self, *names: str) -> Iterator[None]:
        process = self._production[self._chance.choice(names)]
        self._lose(process)
        process.kill()
        yield
        process.start()

    @contextmanager
    def _told_to_stop(self, *names: str) -> Iterator[None]:
        process = self._production[self._chance.choice(names)]
        self._lose(process)
        process.stop()
        yield
        process.start()

    @contextmanager
    def _frozen(self, *names: str) -> Iterator[None]:
        process = self._production[self._chance.choice(names)]
        self._lose(process)
        process.freeze()
        yield
        process.thaw()

    @contextmanager
    def _wounded_web(self) -> Iterator[None]:
        os.kill(self._chance.choice(self._production["web"].children()), signal.SIGKILL)
        yield

    @contextmanager
    def _full_disk(self) -> Iterator[None]:
        let_files_grow_to(self._production["web"], FULL_DISK_BYTES)
        yield
        let_files_grow_to(self._production["web"], resource.RLIM_INFINITY)


@contextmanager
def _lost(proxy: Proxy) -> Iterator[None]:
    proxy.lose_packets()
    yield
    proxy.pass_packets()


@contextmanager
def _late(proxy: Proxy) -> Iterator[None]:
    proxy.hold_packets()
    yield
    proxy.pass_packets()


@contextmanager
def _away(server: Server) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextmanager
def _before_and_after(break_it: Callable[[], None]) -> Iterator[None]:
    break_it()
    yield
    break_it()


def main() -> int:
    given = sys.argv[1:3]
    seconds = float(given[0]) if given else SECONDS
    seed = int(given[1]) if len(given) > 1 else random.randrange(10**6)
    _say(f"seed {seed}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="botadmin-soak-")))
        database, broker = (stack.enter_context(server) for server in (PostgreSQL(), Redis()))
        server = stack.enter_context(SimulatedMattermost())
        networks = {
            name: stack.enter_context(closing(Proxy(one.port)))
            for name, one in (("platform", server), ("database", database), ("broker", broker))
        }
        production = stack.enter_context(
            Production(
                folder,
                database,
                broker,
                database_url=database.url_at(networks["database"].port),
                broker_url=broker.url_at(networks["broker"].port),
            )
        )
        company = Company(server, production.install)
        company.url = networks["platform"].url
        company.enrol(*BOTS)
        figures, wrong = _run(company, production, networks, random.Random(seed), seconds)
        if wrong:
            kept = Path(tempfile.gettempdir()) / f"botadmin-soak-{seed}.log"
            shutil.copy(production.install.log, kept)
            wrong["log of all processes"] = str(kept)
    report = {"seed": seed, "seconds": seconds, **figures, "wrong": wrong}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if wrong else 0


def _run(
    company: Company,
    production: Production,
    networks: dict[str, Proxy],
    chance: random.Random,
    seconds: float,
) -> tuple[Figures, Figures]:
    """What there was, and what was wrong with it."""
    trouble = Trouble(production, networks, chance)
    storm = Storm(company, chance, down_seconds=DOWN_SECONDS)
    traffic = Traffic(company, chance)
    traffic.start()
    counts, heals = _weather(company, trouble, storm, chance, seconds)
    traffic.stop()
    started = time.monotonic()
    found = company.settle(BOTS, traffic.clients, patience_seconds=PATIENCE_SECONDS)
    again = trouble.held_again()
    states = dict(production.install.records("SELECT state, count(*) FROM bots_job GROUP BY state"))
    figures = {
        "posts": found.posts,
        "caught up": found.caught_up,
        "sends": found.sends,
        "gaps told": dict(Counter(found.gaps)),  # they are no loss of messages: that is looked for
        "faults": dict(sorted((counts + storm.counts).items())),
        "jobs": states,
        "looks at the screen": traffic.witness.looks,
        "holders lost, counted by bots": len(again),
        "longest seconds until held again": round(max(again.values(), default=0.0), 1),
        "longest seconds to heal": round(max(heals, default=0.0), 1),
        "seconds to settle": round(time.monotonic() - started, 1),
    }
    wrong = {
        **traffic.complaints(found),
        "held again too late": [
            f"{bot} after {s:.1f} s" for bot, s in again.items() if s > HELD_ELSEWHERE_SECONDS
        ],
        "did not heal in time": [s for s in heals if s > HEALED_SECONDS],
    }
    return figures, {what: list for what, list in wrong.items() if list}


def _weather(
    company: Company, trouble: Trouble, storm: Storm, chance: random.Random, seconds: float
) -> tuple[Counter[str], list[float]]:
    """Break one thing after the other. How often each, and the seconds until all was well when it
    was left in peace."""
    ends_at = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    heals: list[float] = []
    kinds: list[str] = []
    while time.monotonic() < ends_at:
        # Each kind before any a second time.
        kinds = kinds or chance.sample(sorted(trouble.kinds), len(trouble.kinds))
        kind = kinds.pop()
        counts[kind] += 1
        broken, (least, most) = trouble.kinds[kind]
        lasting = chance.uniform(least, most)
        _say(f"{datetime.now(UTC):%H:%M:%S} {kind}, {lasting:.0f} s")
        with broken():
            storm.rage(lasting, pause_seconds=FAULT_EVERY_SECONDS)
        _say(*storm.diary)
        storm.diary.clear()
        if counts.total() % CALM_EVERY == 0:
            storm.end()
            heals.append(_seconds_until_live(company))
            _say(f"all is well after {heals[-1]:.1f} s")
    storm.end()
    return counts, heals


def _seconds_until_live(company: Company) -> float:
    """As long as it takes, or as anybody waits."""
    started = time.monotonic()
    while (seconds := time.monotonic() - started) < 2 * DEADLINE:
        shown = company.connections_if_told().values()
        if shown and {one["state"] for one in shown} == {"live"}:
            break
        time.sleep(0.1)
    return seconds


def _say(*lines: str) -> None:
    sys.stderr.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
