"""How a program and its test talk: JSON objects, one a line.

The test sends `{"do": verb, "with": {…}}` and gets `{"done": …}`, or `{"refused": status}` when the
server said no. Lines `{"event": …}` come in between, whenever the websocket brings one.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

# The clients print as well. Their words go where the test shows them when something fails.
_lines = sys.stdout
sys.stdout = sys.stderr
_one_at_a_time = threading.Lock()


def tell(**line: Any) -> None:
    with _one_at_a_time:
        _lines.write(json.dumps(line) + "\n")
        _lines.flush()


async def obey(
    person: object, refusal: type[Exception], status_of: Callable[[Any], int | None]
) -> None:
    """Carry out orders, each a method of `person`, until the test closes its end."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        try:
            done = getattr(person, order["do"])(**order["with"])
            if inspect.isawaitable(done):
                done = await done
        except refusal as error:
            tell(refused=status_of(error))
        else:
            tell(done=done)
