"""A receiver of webhooks that checks every one with the package of the standard itself."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True, slots=True)
class Answer:
    """What it answers to one call, after some seconds."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Got:
    """One call whose signature is right, and what was answered."""

    id: str
    message: dict[str, Any]
    headers: Mapping[str, str]
    answer: Answer

    @property
    def data(self) -> dict[str, Any]:
        return self.message["data"]


class Receiver:
    """Listens on a port of its own. `script` answers the next calls, `usually` all others."""

    def __init__(self) -> None:
        self.calls: list[Got] = []
        self.forged = 0  # calls whose signature is wrong
        self.script: deque[Answer] = deque()
        self.usually: Callable[[dict[str, Any]], Answer] = lambda message: Answer()
        self._secrets: list[str] = []
        self._news = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Receiver:
        serve = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        serve.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def trust(self, secret: str) -> None:
        """From now on believe what this secret signed, too."""
        self._secrets.append(secret)

    def forget(self, secret: str) -> None:
        self._secrets.remove(secret)

    @property
    def taken(self) -> list[Got]:
        """The calls that it answered with a success."""
        return [got for got in self.calls if 200 <= got.answer.status < 300]

    def wait_for(self, quantity: int, *, seconds: float = 20.0) -> list[Got]:
        """What it has taken, as soon as that are so many."""
        until = time.monotonic() + seconds
        with self._news:
            while len(self.taken) < quantity:
                left = until - time.monotonic()
                assert left > 0, f"took {len(self.taken)} of {quantity} within {seconds} s"
                self._news.wait(left)
            return self.taken

    def _take(self, headers: Mapping[str, str], body: bytes) -> Answer:
        message = self._verified(headers, body)
        with self._news:
            if message is None:
                self.forged += 1
                return Answer(status=401)
            answer = self.script.popleft() if self.script else self.usually(message)
            self.calls.append(Got(headers["webhook-id"], message, headers, answer))
            self._news.notify_all()
        time.sleep(answer.seconds)
        return answer

    def _verified(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
        for secret in self._secrets:
            with suppress(WebhookVerificationError):
                return Webhook(secret).verify(body, dict(headers))
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # whoever sent it was killed in the middle: no call
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = take(headers, body)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body.encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler
