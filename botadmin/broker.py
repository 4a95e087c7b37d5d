"""How often a broker that is away is looked for; Celery has no setting for that."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection

# Seconds between two looks. By itself kombu waits up to 30: after an outage of some minutes, what
# waits would wait for as long once more.
PAUSES: dict[str, Any] = {"interval_start": 1, "interval_step": 1, "interval_max": 3}


class BrokerConnection(Connection):
    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        return super().ensure_connection(*args, **{**PAUSES, **kwargs})


class BrokerProtocol(AMQP):
    """What Celery calls AMQP, whatever its broker speaks."""

    Connection = BrokerConnection
