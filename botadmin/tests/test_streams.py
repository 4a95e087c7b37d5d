"""Streams of whole installs: readers that are cut off, many readers, and one that does not read."""

from __future__ import annotations

import http.client
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from django.conf import settings

from botadmin.tests.processes import DEADLINE, TOKEN, Install, until

CUTS = 100
READERS = 20
PER_SECOND = 500
# Stores so many events per second until its input ends, and numbers them as a worker does.
STORM = """
import select, sys, time, django; django.setup()
from django.db import transaction
from django.utils import timezone
from bots import sequence
from bots.models import Event
from bots.postoffice import PostOffice
rate, text = int(sys.argv[1]), "x" * int(sys.argv[2])
office = PostOffice()
office.open()
began, stored = time.monotonic(), 0
while not select.select([sys.stdin], [], [], 0.01)[0]:
    due = int((time.monotonic() - began) * rate)
    values = {"kind": "gap", "occurred_at": timezone.now(), "data": {"text": text}}
    with transaction.atomic():
        sequence.store([Event(dedupe_key=f"storm {n}", **values) for n in range(stored, due)])
    stored = due
office.close()
sequence.number()
"""
NUMBERS = "SELECT seq FROM bots_sequenceentry ORDER BY seq"
BUSY_SECONDS = 0.2  # until who was refused asks again
AT_ONCE = struct.pack("ii", 1, 0)  # for SO_LINGER: closing is cutting, whatever is under way


class Reader:
    """Reads the stream and remembers what it got; resumes where it was."""

    def __init__(self, port: int, after: int = 0) -> None:
        self.port = port
        self.last_id = str(after)
        self.numbers: list[int] = []
        self.ids = 0  # of events, and of comments
        self._text = b""

    def read(self, seconds: float) -> bool:
        """For so long, unless the stream ends; then the connection is cut, in the middle of
        whatever comes. False when there was no place."""
        end = time.monotonic() + seconds
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        headers = {"Authorization": f"Bearer {TOKEN}", "Last-Event-ID": self.last_id}
        connection.request("GET", "/api/v1/events/stream/", headers=headers)
        sock = connection.sock  # which the response takes over, as nothing comes after it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        with connection.getresponse() as response:
            if response.status == 503:  # those it left have places until they are missed
                connection.close()
                time.sleep(BUSY_SECONDS)
                return False
            assert response.status == 200, response.read()
            self._text = b""
            while (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    some = response.read1(65536)
                except (TimeoutError, ConnectionResetError, http.client.IncompleteRead):
                    break
                if not some:
                    break
                self.take(some)
            connection.close()
        return True

    def take(self, some: bytes) -> None:
        """Whole events only: the rest of what was cut in two comes again."""
        *blocks, self._text = (self._text + some).split(b"\n\n")
        for block in blocks:
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
            self.last_id = fields[b"id"].decode()
            self.ids += 1
            if b"data" in fields:
                self.numbers.append(int(fields[b"id"]))


@contextmanager
def storm(install: Install, *, size: int = 20) -> Iterator[None]:
    """Events happen meanwhile, with texts of so many characters."""
    command = [sys.executable, "-c", STORM, str(PER_SECOND), str(size)]
    with subprocess.Popen(
        command, env=install.env, cwd=settings.BASE_DIR, stdin=subprocess.PIPE
    ) as writer:
        try:
            yield
        finally:
            assert writer.stdin
            writer.stdin.close()
            assert writer.wait(DEADLINE) == 0


def until_it_has_all(reader: Reader, install: Install) -> list[int]:
    """Let a reader go on until it has what there is; all numbers that were given."""
    numbers: list[int] = install.rows(NUMBERS)
    deadline = time.monotonic() + DEADLINE
    while int(reader.last_id) < numbers[-1]:
        assert time.monotonic() < deadline, (reader.last_id, numbers[-1])
        reader.read(0.5)
    return [number for number in numbers if number <= int(reader.last_id)]


def is_cut_at_random(install: Install) -> None:
    chance = random.Random(36)
    reader = Reader(install.port)
    with storm(install):
        until(lambda: len(install.rows(NUMBERS)) > PER_SECOND)
        cuts = 0
        while cuts < CUTS:
            cuts += reader.read(chance.uniform(0.0, 0.15))

    assert until_it_has_all(reader, install) == reader.numbers


def does_not_read(install: Install) -> None:
    """One reader fills its window and leaves it shut; the other goes on."""
    reader, other = Reader(install.port), Reader(install.port)
    with storm(install, size=2_000), socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", install.port))
        head = f"GET /api/v1/events/stream/?after=0 HTTP/1.0\r\nAuthorization: Bearer {TOKEN}"
        stuck.sendall(f"{head}\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert _server_has(stuck)
        deadline = time.monotonic() + 2 * DEADLINE
        while _server_has(stuck):
            assert time.monotonic() < deadline, "the server holds on to it"
            other.read(1.0)
        reader.take(_left_in(stuck).partition(b"\r\n\r\n")[2])

    assert len(other.numbers) > 10 * len(reader.numbers)
    assert until_it_has_all(reader, install) == reader.numbers
    assert until_it_has_all(other, install) == other.numbers


def _server_has(client: socket.socket) -> bool:
    """Whether the other end of the connection is there, as the system says."""
    ports = [client.getpeername()[1], client.getsockname()[1]]
    ends = " ".join(f"0100007F:{port:04X}" for port in ports)
    return any(ends in line for line in Path("/proc/net/tcp").read_text().splitlines())


def _left_in(client: socket.socket) -> bytes:
    """What had arrived, from a connection whose other end is gone."""
    found = b""
    client.settimeout(1.0)
    try:
        while some := client.recv(65536):
            found += some
    except (TimeoutError, ConnectionResetError):
        pass
    return found


@pytest.fixture
def install(tmp_path: Path, tables: Path) -> Iterator[Install]:
    """As `manage.py up` has it by default."""
    install = Install(tmp_path)
    install.begin_with(tables)
    install.start()
    yield install
    install.clean_up()
    print(install.log.read_text())  # noqa: T201 - shown when the test fails


@pytest.mark.long
def test_a_reader_that_is_cut_off_again_and_again_has_each_number_once(install):
    is_cut_at_random(install)


@pytest.mark.long
def test_many_read_at_once_while_others_are_answered_and_all_stop_when_asked(install):
    readers = [Reader(install.port) for _ in range(READERS)]
    threads = [threading.Thread(target=one.read, args=(DEADLINE,)) for one in readers]
    for thread in threads:
        thread.start()
    seconds = []
    with storm(install), requests.Session() as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        until(lambda: all(len(one.numbers) > 100 for one in readers))
        for _ in range(20):
            answer = client.get(f"http://127.0.0.1:{install.port}/api/v1/bots/", timeout=DEADLINE)
            assert answer.status_code == 200
            seconds.append(answer.elapsed.total_seconds())
    numbers = install.rows(NUMBERS)
    until(lambda: all(int(one.last_id) >= numbers[-1] for one in readers))

    began = time.monotonic()
    assert install.end(signal.SIGTERM) == 0
    stopped_after = time.monotonic() - began
    for thread in threads:
        thread.join()

    assert all(one.numbers[: len(numbers)] == numbers for one in readers)
    assert statistics.median(seconds) < 5.0
    assert stopped_after < 20.0


@pytest.mark.long
@pytest.mark.services
def test_a_reader_that_does_not_read_is_dropped_and_loses_nothing(install):
    does_not_read(install)


@pytest.mark.long
@pytest.mark.services
def test_in_production_a_reader_that_is_cut_off_again_and_again_has_each_number_once(production):
    is_cut_at_random(production.install)


@pytest.mark.long
@pytest.mark.services
def test_in_production_a_reader_that_does_not_read_is_dropped_and_loses_nothing(production):
    does_not_read(production.install)


@pytest.mark.long
@pytest.mark.services
def test_in_production_streams_hold_no_connections_and_do_not_keep_web_processes(production):
    connections = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    (before,) = production.install.rows(connections)
    readers = [Reader(production.install.port) for _ in range(READERS)]
    threads = [threading.Thread(target=one.read, args=(DEADLINE,)) for one in readers]
    for thread, reader in zip(threads, readers, strict=True):
        thread.start()
        until(lambda one=reader: one.ids > 0)
    (after,) = production.install.rows(connections)

    began = time.monotonic()
    production["web"].stop()

    stopped_after = time.monotonic() - began
    for thread in threads:
        thread.join()

    assert after - before < READERS / 2
    assert stopped_after < 15.0
