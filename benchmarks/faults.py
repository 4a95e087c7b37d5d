"""Faults at random for a long while: what is lost, doubled, out of order or untrue, if anything.

python -m benchmarks faults              ten minutes
python -m benchmarks faults 60           another number of seconds
python -m benchmarks faults 600 120      and once a server that is away, for as many seconds

Storm follows upon storm, and after each it is measured how long all bots take to be live again.
SEED in the environment repeats a run; the faults go to standard error as they happen.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botadmin.tests.mattermost_company import BOTS, PEOPLE, SENDS, Company, Person
from botadmin.tests.mattermost_storm import MAY_BE_SHOWN, Storm, Witness
from botadmin.tests.processes import Install, until
from spaces.testing.mattermost import SimulatedMattermost

STORM_SECONDS = 30.0
FAULT_EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 240.0  # for everything to settle in the end
DEFAULTS = (600.0, 0.0)  # seconds of all, and of being away
Figures = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What a run found."""

    figures: Figures

    def as_json(self) -> Figures:
        return self.figures


def main() -> list[Report]:
    given = [float(number) for number in sys.argv[2:4]]
    seconds, down_seconds = (*given, *DEFAULTS[len(given) :])
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    with tempfile.TemporaryDirectory(prefix="botadmin-faults-") as folder:
        install = Install(Path(folder))
        try:
            install.start()
            with SimulatedMattermost() as server:
                company = Company(server, install)
                return [Report({"seed": seed, **_run(company, seed, seconds, down_seconds)})]
        finally:
            install.clean_up()


def _run(company: Company, seed: int, seconds: float, down_seconds: float) -> Figures:
    chance = random.Random(seed)
    company.enrol(*BOTS)
    people = [Person(company, name, chance, pause_seconds=0.4) for name in PEOPLE]
    clients = [company.client(bot, to, chance, pause_seconds=1.5) for bot, to in SENDS]
    storm = Storm(company, chance, down_seconds=5)
    witness = Witness(company, *BOTS)
    for one in (*people, *clients, witness):
        one.start()
    heals = _weather(company, storm, seconds, down_seconds)
    for writer in (*people, *clients):
        writer.stop()
        writer.join()
    started = time.monotonic()
    found = company.settle(BOTS, clients, patience_seconds=PATIENCE_SECONDS)
    settled_seconds = time.monotonic() - started
    witness.stop()
    states = company.install.records("SELECT state, count(*) FROM bots_job GROUP BY state")
    code = company.install.end(signal.SIGTERM)
    return {
        "seconds": seconds,
        "posts": found.posts,
        "caught up": found.caught_up,
        "sends": found.sends,
        "faults": dict(sorted(storm.counts.items())),
        "lost": found.lost,
        "gaps": found.gaps,
        "doubled": found.doubled,
        "sends out of order": found.sends_out_of_order,
        "events out of order": found.events_out_of_order,
        "jobs": dict(states),
        "looks at the screen": witness.looks,
        "untrue": witness.untrue,
        "unexpected states": sorted(_shown(witness) - MAY_BE_SHOWN),
        "longest seconds to heal": round(max(heals), 1),
        "longest seconds not live": round(_longest_away(witness), 1),
        "seconds to settle": round(settled_seconds, 1),
        "refused requests": [client.problem for client in clients if client.problem],
        "files with secrets": company.secrets_on_disk(),
        "tracebacks": company.install.log.read_text().count("Traceback"),
        "exit code": code,
    }


def _weather(company: Company, storm: Storm, seconds: float, down_seconds: float) -> list[float]:
    """Storms until the time is up; the seconds that the bots needed after each."""
    until_seconds = time.monotonic() + seconds
    heals: list[float] = []
    while (left := until_seconds - time.monotonic()) > 0:
        if down_seconds and left < seconds / 2:
            company.server.controls.go_down()
            time.sleep(down_seconds)  # that is what is measured
            storm.counts[f"away for {down_seconds:g} s"] += 1
            down_seconds = 0
        else:
            storm.rage(min(left, STORM_SECONDS), pause_seconds=FAULT_EVERY_SECONDS)
        storm.end()
        healed_at = time.monotonic()
        until(company.are_live, lambda: str(company.connections()))
        heals.append(time.monotonic() - healed_at)
        sys.stderr.write("\n".join([*storm.diary, f"healed in {heals[-1]:.1f} s\n"]))
        storm.diary.clear()
    return heals


def _shown(witness: Witness) -> set[str]:
    return set().union(*(one.shown for one in witness.watched.values()))


def _longest_away(witness: Witness) -> float:
    return max(one.longest_away for one in witness.watched.values())
