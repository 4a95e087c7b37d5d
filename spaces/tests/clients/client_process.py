"""A foreign client in a process of its own, at the command of a test.

`python/wire.py` says how the two talk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
JAVASCRIPT = Path(__file__).parent / "javascript"
PATIENCE_SECONDS = 20

Event = dict[str, Any]


class ClientProcess:
    """Use as a context manager. pytest shows what the program printed when the test failed."""

    def __init__(self, command: Sequence[str]):
        self._command = command
        self._answers: Queue[dict[str, Any] | None] = Queue()
        self._events: Queue[Event | None] = Queue()
        self._unread: list[Event] = []

    def __enter__(self) -> ClientProcess:
        self._printed = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command,
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"]},  # no proxies
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_lines)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()
        self._printed.seek(0)
        sys.stderr.write(self._printed.read())
        self._printed.close()

    def do(self, verb: str, **arguments: Any) -> Any:
        """What the client returned."""
        answer = self._order(verb, arguments)
        assert "done" in answer, f"{verb} was refused: {answer}"
        return answer["done"]

    def refused(self, verb: str, **arguments: Any) -> int:
        """The status with which the server refused it."""
        answer = self._order(verb, arguments)
        assert "refused" in answer, f"{verb} was not refused: {answer}"
        status: int = answer["refused"]
        return status

    def event(self, name: str, where: Callable[[Event], bool] = lambda event: True) -> Event:
        """The first such event nobody asked for yet, as soon as it has come."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            for event in self._unread:
                if event.get("event") == name and where(event):
                    self._unread.remove(event)
                    return event
            self._unread.append(self._next(self._events, deadline, f"the event {name}"))

    def has_seen(self, name: str) -> bool:
        """Whether such an event came before the last one that `event` waited for."""
        return any(event.get("event") == name for event in self._unread)

    def _order(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self._process.stdin.write(json.dumps({"do": verb, "with": arguments}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = self._next(
            self._answers, time.monotonic() + PATIENCE_SECONDS, f"an answer to {verb}"
        )
        return answer

    def _next(self, queue: Queue[Any], deadline: float, what: str) -> Any:
        try:
            item = queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise AssertionError(f"waited in vain for {what}; unread: {self._unread}") from None
        assert item is not None, f"the client ended without {what}"
        return item

    def _read_lines(self) -> None:
        for line in self._process.stdout:
            message = json.loads(line)
            if "event" in message:
                self._events.put(message["event"])
            else:
                self._answers.put(message)
        self._answers.put(None)
        self._events.put(None)


def python(program: str, *arguments: str) -> list[str]:
    module = f"spaces.tests.clients.python.{program}"
    return [str(CHECKOUT / ".venv-clients/bin/python"), "-m", module, *arguments]


def javascript(program: str) -> list[str]:
    return ["node", str(JAVASCRIPT / program)]
