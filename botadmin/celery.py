"""The Celery app, for `celery -A botadmin` and for the worker inside `manage.py up`."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import setup_logging, worker_shutdown

from bots.connections.bootstep import OPTION, BulkheadStep, ConnectionsStep, PostOfficeStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botadmin.settings")

app = Celery("botadmin", amqp="botadmin.broker:BrokerProtocol")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.user_options["worker"].add(OPTION)
app.steps["worker"].add(BulkheadStep)
app.steps["worker"].add(PostOfficeStep)
app.steps["worker"].add(ConnectionsStep)


@worker_shutdown.connect
def _leave(**_: object) -> None:
    """A worker that was stopped is not one that fell silent."""
    from bots import processes  # needs the apps to be loaded

    processes.leave()


@setup_logging.connect
def _keep_logging_of_settings(**_: object) -> None:
    """That somebody listens is what keeps Celery from setting up logging its own way."""
