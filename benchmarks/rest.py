"""Messages accepted per second over REST, single and in bulk, beside a view that does nothing.

botadmin runs in processes of its own, and so does the empty view on the same web server; the
clients are threads of this process. What one bot sends into one channel is one lane, and the lane
is locked until a message for it is stored: so each client has a channel of its own, and one figure
tells what a single channel takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from django.conf import settings

from benchmarks import load, servers
from benchmarks.figures import Figure, side_by_side
from benchmarks.scene import make_rooms
from benchmarks.waiting import wait_for_jobs
from bots.models import Bot, Job

CLIENTS = 8
SECONDS = 1.0  # a run
BULK = 100
TEXT = "The quick brown fox jumps over the lazy dog. " * 4
BOT = "/api/v1/bots/echo/"
EMPTY = f"an empty Django view on the same server with {CLIENTS} clients"


def main() -> list[Figure]:
    with servers.botadmin("worker", "beat") as port, servers.empty_view() as empty_port:
        wait_for_jobs()
        messages = messages_for_all()
        singles = [wire("messages/", message) for message in messages]
        bulks = [wire("messages/bulk/", {"messages": [m] * BULK}) for m in messages]
        nothing = [load.request("/", message, servers.TOKEN) for message in messages]
        empty = partial(load.answers_per_second, empty_port, nothing, SECONDS)

        def figure(what: str, measure: Callable[[], float], aim: str = "") -> Figure:
            pairs = side_by_side(measure, empty)
            aim = aim if settings.DATABASE_IS_SERVER else ""
            return Figure(what=what, unit="messages/s", aim=aim, yardstick=EMPTY, **pairs)

        def accepted(wires: Sequence[bytes], size: int = 1) -> float:
            return size * load.answers_per_second(port, wires, SECONDS)

        def while_delivering() -> float:
            rate = accepted(singles)
            wait_for_jobs()
            return rate

        load.ask(port, wire("stop/", {}))  # what is accepted waits: this is about that alone
        figures = [
            figure("messages accepted one by one", partial(accepted, singles), "1,000 or more"),
            figure(
                "messages accepted one by one, all for one channel",
                partial(accepted, singles[:1] * CLIENTS),
            ),
            figure(
                f"messages accepted in bulks of {BULK}",
                partial(accepted, bulks, size=BULK),
                "15,000 or more",
            ),
        ]
        Job.objects.all().delete()
        load.ask(port, wire("start/", {}))
        figures.append(
            figure(
                "messages accepted one by one, while the same machine delivers them",
                while_delivering,
            )
        )
        return figures


def messages_for_all() -> list[dict[str, str]]:
    """A message for each client, each into a channel of its own."""
    bot = Bot.objects.select_related("space").get(slug="echo")
    return [{"channel": room.name, "text": TEXT} for room in make_rooms(bot, CLIENTS)]


def wire(path: str, body: object) -> bytes:
    """A request to the bot of the demo."""
    return load.request(f"{BOT}{path}", body, servers.TOKEN)
