"""Kill `manage.py up` while clients send and a person talks: nothing is lost, nothing comes twice.

Three kills at random moments are part of every run. For more of them, say before a release:

    BOTADMIN_TEST_KILLS=50 pytest botadmin/tests/test_durability.py

The moments follow from a seed that a failing test prints; BOTADMIN_TEST_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from django.conf import settings

from botadmin.tests.processes import DEADLINE, TOKEN, Install, until

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("BOTADMIN_TEST_KILLS", "3"))
SEED = int(os.environ.get("BOTADMIN_TEST_SEED", random.randrange(10**6)))
PER_KILL = 120  # messages, so that a kill finds work under way
TARGETS: tuple[dict[str, str], ...] = (
    {"channel": "lobby"},
    {"channel": "ops"},
    {"person": "bob"},
)
# A person of the local platform says each line of standard input in the lobby.
PERSON = """
import sys, django; django.setup()
from spaces.platforms import local
from spaces.platforms.messages import Outgoing
alice = local.person("local", "alice")
lobby = alice.find_channel(name="lobby").id
for line in sys.stdin:
    alice.post_message(Outgoing(key=line.strip(), channel=lobby, text=line.strip()))
    print("said", flush=True)
"""


class Sender:
    """A client that sends to one target, one request after the other. What broke without an answer
    is sent again under the same key."""

    def __init__(self, install: Install, to: dict[str, str], count: int, chance: random.Random):
        self.to = to
        self.accepted: list[str] = []  # in this order
        self._name = next(iter(to.values()))
        self._url = f"http://127.0.0.1:{install.port}/api/v1/bots/echo/messages/"
        self._count = count
        self._chance = chance
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {TOKEN}"
        self._session.trust_env = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def progress(self) -> int:
        """How many were accepted so far."""
        assert self.thread.is_alive() or len(self.accepted) == self._count, "see the log above"
        return len(self.accepted)

    def _run(self) -> None:
        with self._session:
            while (left := self._count - len(self.accepted)) > 0:
                size = min(left, self._chance.choice((1, 1, 1, 1, 5, 20)))
                first = len(self.accepted)
                texts = [f"{self._name} {number}" for number in range(first, first + size)]
                messages = [{**self.to, "text": text} for text in texts]
                if size == 1:
                    self._post("", messages[0])
                else:
                    self._post("bulk/", {"messages": messages})
                self.accepted += texts

    def _post(self, path: str, body: dict[str, Any]) -> None:
        headers = {"Idempotency-Key": uuid4().hex}
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                answer = self._session.post(
                    self._url + path, json=body, headers=headers, timeout=DEADLINE
                )
            except requests.RequestException as error:  # no answer, or half of one
                if time.monotonic() > deadline:
                    raise AssertionError("it does not come back") from error
                time.sleep(0.05)  # a client's patience, not ours
                continue
            assert answer.status_code == 202, f"{answer.status_code} {answer.text}"
            return


class Talker:
    """A person who talks until told to stop, in a process that nobody kills."""

    def __init__(self, install: Install) -> None:
        self.said: list[str] = []
        self._over = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PERSON],
            env=install.env,
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        with self._process as person:
            assert person.stdin
            assert person.stdout
            while not self._over.wait(0.06):
                line = f"line {len(self.said)}"
                person.stdin.write(f"{line}\n")
                person.stdin.flush()
                assert person.stdout.readline() == "said\n"
                self.said.append(line)


@pytest.fixture
def install(tmp_path: Path, tables: Path) -> Iterator[Install]:
    install = Install(tmp_path)
    install.begin_with(tables)
    yield install
    install.clean_up()


def test_killed_at_any_moment_it_delivers_all_once_and_in_order(install):
    storm(install, [signal.SIGKILL] * KILLS, count=PER_KILL * KILLS)


def test_told_to_stop_in_the_middle_it_delivers_all_once_and_in_order(install):
    storm(install, [signal.SIGTERM], count=150)


def storm(install: Install, ends: list[signal.Signals], *, count: int) -> None:
    """Clients send and a person talks, while the process ends in these ways and is started anew;
    then look for everything that was accepted and said."""
    print(f"BOTADMIN_TEST_SEED={SEED}")  # noqa: T201 - shown when the test fails
    chance = random.Random(SEED)
    install.start()
    senders = [
        Sender(install, to, count // len(TARGETS) + (n < count % len(TARGETS)), chance)
        for n, to in enumerate(TARGETS)
    ]
    talker = Talker(install)
    for one in (talker, *senders):
        one.thread.start()
    for at in sorted(chance.sample(range(count // 20, count), len(ends))):
        until(lambda at=at: sum(sender.progress() for sender in senders) >= at)
        time.sleep(chance.random() * 0.1)  # between two requests as well as in one
        code = install.end(ends[0])
        assert code == (0 if ends[0] == signal.SIGTERM else -ends[0])
        install.start()
    for sender in senders:
        sender.thread.join(DEADLINE)
        assert not sender.thread.is_alive()
    talker.stop()
    talker.thread.join(DEADLINE)

    until_quiet(install, talker.said)

    assert install.rows("SELECT DISTINCT state FROM bots_job") == ["succeeded"]
    for sender in senders:
        assert sent_to(install, sender.to) == sender.accepted
    heard = install.rows(HEARD)
    assert Counter(heard) == Counter(talker.said)
    assert Counter(install.rows(KEPT)) == Counter(talker.said)
    assert Counter(install.rows(SENT, "line %")) == Counter(talker.said)
    log = install.log.read_text()
    assert "database is locked" not in log
    assert "Traceback" not in log, log
    assert install.end(signal.SIGTERM) == 0
    assert install.survivors() == []


HEARD = """SELECT json_extract(data, '$.message.text') FROM bots_event
    WHERE kind = 'message.posted' AND json_extract(data, '$.message.text') LIKE 'line %'
    AND json_extract(data, '$.own') IS NULL"""
KEPT = "SELECT text FROM bots_message WHERE direction = 'in' AND text LIKE 'line %'"
SENT = """SELECT text FROM spaces_localmessage m
    JOIN spaces_localaccount a ON a.id = m.author_id
    WHERE a.username = 'echo' AND text LIKE ? ORDER BY m.id"""
UNFINISHED = "SELECT id FROM bots_job WHERE state IN ('queued', 'running')"


def sent_to(install: Install, to: dict[str, str]) -> list[str]:
    return install.rows(SENT, f"{next(iter(to.values()))} %")


def until_quiet(install: Install, said: list[str]) -> None:
    """Wait until the bot has answered all that was said and has nothing left to do."""
    until(
        lambda: len(install.rows(SENT, "line %")) >= len(said) and not install.rows(UNFINISHED),
        lambda: (
            f"{len(install.rows(SENT, 'line %'))} of {len(said)} answered, "
            f"{len(install.rows(UNFINISHED))} jobs left\n{install.log.read_text()}"
        ),
    )
