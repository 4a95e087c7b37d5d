"""What a Celery worker of ours does beside running tasks.

`celery worker --connections N` lets it hold up to N connections, by a supervisor.
"""

from __future__ import annotations

from typing import Any

import click
from celery import bootsteps

OPTION = click.Option(
    ["--connections"],
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Hold up to this many bot connections.",
)


class BulkheadStep(bootsteps.Step):
    """Tells how many threads there are to be shared, whoever chose the number and wherever."""

    def create(self, parent: Any) -> None:
        from bots.bulkhead import bulkhead  # needs the apps to be loaded

        bulkhead().resize(parent.concurrency)


class PostOfficeStep(bootsteps.StartStopStep):
    """Runs beside the consumer: events go out while the broker is down."""

    def start(self, parent: Any) -> None:
        from bots.postoffice import PostOffice  # needs the apps to be loaded

        self._office = PostOffice()
        self._office.open()

    def stop(self, parent: Any) -> None:
        self._office.close()


class ConnectionsStep(bootsteps.StartStopStep):
    """Runs beside the consumer, not after it: connections live while the broker is down."""

    def __init__(self, parent: Any, connections: int = 0, **options: Any):
        super().__init__(parent, **options)
        self.enabled = connections > 0
        self._limit = connections

    def start(self, parent: Any) -> None:
        from bots.connections.supervisor import Supervisor  # needs the apps to be loaded

        self._supervisor = Supervisor(limit=self._limit)
        self._supervisor.start()

    def stop(self, parent: Any) -> None:
        self._supervisor.stop()
