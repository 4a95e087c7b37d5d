"""Subscribers that fail, hang, limit, die and come back, while workers are killed: each event
arrives, and where order was asked for, in order."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from botadmin.tests.processes import DEADLINE, free_port, until
from botadmin.tests.production import WORKERS, Production, Traffic
from bots.tests.receiver import Answer, Receiver

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.long]

SCRIPT = settings.BASE_DIR / "docs" / "examples" / "webhook_receiver.py"
TOLD = """SELECT 'evt_' || event_id, COALESCE(channel_id, 0) FROM bots_sequenceentry
    WHERE kind = 'message.posted' AND seq > %s ORDER BY seq"""
ON_THEIR_WAY = """SELECT 1 FROM bots_unnumbered UNION ALL
    SELECT 1 FROM bots_delivery WHERE state IN ('queued', 'running') UNION ALL
    SELECT 1 FROM bots_subscription s, bots_sequenceclock c WHERE s.position < c.last_seq"""
# In a lane of theirs, with the pid in the middle.
DELIVERING = "SELECT holder FROM bots_lane WHERE holder <> '' AND kind = 'deliveries'"
# As if the next try of everything had come.
TIME_PASSES = (
    "UPDATE bots_subscription SET rest_until = now() WHERE rest_until > now()",
    "UPDATE bots_delivery SET not_before = NULL WHERE not_before > now() AND state = 'queued'",
    "UPDATE bots_lane SET due_at = now() WHERE due_at > now() AND kind = 'deliveries'",
)


class Script:
    """The receiver of the documentation, as a process that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.taken = folder / "taken.jsonl"
        self.secret = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.port), str(self.taken)],
            env=os.environ | {"WEBHOOK_SECRET": self.secret},
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.taken.read_text().splitlines()]


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    script = Script(tmp_path)
    yield script
    script.kill()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


class Passing:
    """Time that passes quickly for whoever waits for a next try."""

    def __init__(self, production: Production) -> None:
        self._url = production.database.url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Passing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as database:
            while not self._over.wait(0.5):
                for statement in TIME_PASSES:
                    database.execute(statement)


def subscribe(traffic: Traffic, url: str, **wanted: Any) -> tuple[dict[str, Any], str]:
    """The subscription as REST tells it, and its secret."""
    wanted = {"url": url, "kinds": ["message.posted"]} | wanted
    made = traffic.company.ask("POST", "/subscriptions/", wanted)
    return made, made.pop("secret")


def kill_who_delivers(production: Production, chance: random.Random) -> None:
    """Kill a worker, in the middle of a delivery if there is one, and start it again."""
    holders = production.install.rows(DELIVERING)
    pids = {int(holder.split(":")[1]) for holder in holders}
    busy = [name for name in WORKERS if production[name].pid in pids]
    victim = production[chance.choice(busy or WORKERS)]
    victim.kill()
    victim.start()


def settle(production: Production, traffic: Traffic) -> None:
    """Let everything come to its end."""
    traffic.stop()
    with Passing(production):
        until(
            lambda: not production.install.rows(ON_THEIR_WAY),
            lambda: str(production.install.records("SELECT * FROM bots_subscription")),
            seconds=2 * DEADLINE,
        )


def assert_each_once(production: Production, made: dict[str, Any], ids: Sequence[str]) -> None:
    told = [id for id, _ in production.install.records(TOLD, made["position"])]
    assert len(told) > 50, "nothing was proved"
    assert sorted(ids) == sorted(told)


def assert_in_order(production: Production, made: dict[str, Any], ids: Sequence[str]) -> None:
    """Within each channel; the first time of each counts."""
    channels = dict(production.install.records(TOLD, made["position"]))
    expected: dict[int, list[str]] = defaultdict(list)
    for id, channel in channels.items():
        expected[channel].append(id)
    found: dict[int, list[str]] = defaultdict(list)
    for id in dict.fromkeys(ids):
        found[channels[id]].append(id)
    assert found == expected


def test_a_receiver_that_is_killed_and_comes_back_has_each_event_once_and_in_order(
    production, traffic, script
):
    chance = random.Random(3)
    made, script.secret = subscribe(traffic, script.url, ordered=True)
    with Passing(production):
        for _ in range(5):
            before = len(script.messages()) if script.taken.exists() else 0
            script.start()
            until(lambda before=before: script.taken.exists() and len(script.messages()) > before)
            kill_who_delivers(production, chance)
            script.kill()
            traffic.accept()
    script.start()

    settle(production, traffic)

    ids = [message["id"] for message in script.messages()]
    assert_each_once(production, made, ids)
    assert_in_order(production, made, ids)


@pytest.mark.parametrize("ordered", [True, False])
def test_whatever_a_receiver_answers_it_has_each_event_in_the_end(
    production, traffic, receiver, ordered
):
    chance = random.Random(4)
    made, secret = subscribe(traffic, receiver.url, ordered=ordered, enabled=False)
    one = f"/subscriptions/{made['id']}/"
    receiver.trust(secret)
    receiver.usually = in_a_bad_mood(chance)
    traffic.company.ask("PATCH", one, {"enabled": True})
    with Passing(production):
        for _ in range(4):
            taken = len(receiver.taken)
            until(lambda taken=taken: len(receiver.taken) > taken + 20)
            kill_who_delivers(production, chance)
        receiver.script.append(Answer(410))
        until(lambda: traffic.company.ask("GET", one)["state"] == "gone")
        traffic.accept()
        traffic.company.ask("PATCH", one, {"enabled": True})
    receiver.usually = lambda message: Answer()

    settle(production, traffic)

    ids = [got.id for got in receiver.taken]
    assert receiver.forged == 0
    assert {got.answer.status for got in receiver.calls} >= {204, 410, 429, 500, 503}
    assert_each_once(production, made, list(dict.fromkeys(ids)))
    if ordered:
        assert_in_order(production, made, ids)


def in_a_bad_mood(chance: random.Random) -> Callable[[dict[str, Any]], Answer]:
    answers = (
        *[Answer()] * 6,
        Answer(500),
        Answer(429, headers={"Retry-After": "1"}),
        Answer(503),
        Answer(204, seconds=0.5),
    )
    return lambda message: chance.choice(answers)
