"""The broker: whether what is put in comes out, and whether anybody takes it."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty
from typing import Any
from uuid import uuid4

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError as BrokerAway

from botadmin.doctor.findings import error, first_line, ok, warning
from bots.health import BROKER_SECONDS
from spaces.platforms.messages import Finding

TRAVEL_SECONDS = 2.0
PING_SECONDS = 1.0
MANY_WAITING = 10_000  # wake-ups expire within seconds; so many mean that nobody takes them


def travels() -> Iterator[Finding]:
    """Send a message of our own there and back."""
    if not settings.BROKER_IS_SERVER:
        yield ok("broker_in_process", "The broker is memory of the one process that runs.")
        return
    with _connection() as broker:
        try:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            _there_and_back(broker)
            waiting = _waiting(broker)
        except Empty:
            yield error(
                "broker_loses",
                "The broker took a message and did not give it back.",
                "See that it has memory left, and that BROKER_URL names no replica.",
            )
        except _errors(broker) as away:
            yield error(
                "broker_unreachable",
                f"The broker cannot be used: {first_line(away)}",
                "Start it, or correct BROKER_URL; until then work waits, and nothing is lost.",
            )
        else:
            yield ok("broker_reachable", "The broker takes messages and gives them back.")
            if waiting >= MANY_WAITING:
                yield warning(
                    "broker_full",
                    f"{waiting:,} messages wait in the broker.",
                    "Start more workers. It may be emptied: the database knows what is to do.",
                )


def answering_workers() -> int | None:
    """How many workers answer a ping within a second; None when that cannot be asked."""
    if not settings.BROKER_IS_SERVER:
        return None
    with _connection() as broker:
        try:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            inspect = current_app.control.inspect(timeout=PING_SECONDS, connection=broker)
            return len(inspect.ping() or {})
        except _errors(broker):
            return None


def _connection() -> Any:
    return current_app.connection_for_write(connect_timeout=BROKER_SECONDS)


def _errors(broker: Any) -> tuple[type[Exception], ...]:
    return (BrokerAway, OSError, *broker.connection_errors, *broker.channel_errors)


def _there_and_back(broker: Any) -> None:
    passing = {"durable": False, "auto_delete": True}
    name = f"botadmin.doctor.{uuid4().hex}"
    queue = broker.SimpleQueue(name, queue_opts=passing | {"expires": 60}, exchange_opts=passing)
    try:
        queue.put({"hello": name})
        queue.get(timeout=TRAVEL_SECONDS).ack()
    finally:
        queue.queue.delete()
        queue.close()


def _waiting(broker: Any) -> int:
    queue = settings.CELERY_TASK_DEFAULT_QUEUE
    try:
        return int(broker.default_channel.queue_declare(queue, passive=True).message_count)
    except broker.channel_errors:
        return 0  # no worker and no task has been here yet
