"""A receiver of webhooks that answers 204 at once and remembers how long each was on its way.

`/hang` never answers. `GET /times` tells the seconds from storing an event to its arrival, of all
that arrived since the last time somebody asked.
"""

from __future__ import annotations

import json
import time
from datetime import datetime

from benchmarks.quick_server import Client, response

TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver(Client):
    seconds: list[float] = []

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self.write(response(b"200 OK", json.dumps(self.seconds).encode()))
            self.seconds.clear()
        elif not head.startswith(b"POST /hang"):
            stored_at = datetime.fromisoformat(json.loads(body)["data"]["stored_at"])
            self.seconds.append(time.time() - stored_at.timestamp())
            self.write(TAKEN)
