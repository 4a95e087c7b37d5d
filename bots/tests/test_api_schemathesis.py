"""Every operation of the OpenAPI document, called with what schemathesis thinks of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bots import postoffice, processes
from bots.api.events import LONGEST_WAIT
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_space,
    make_subscription,
    make_token,
    run_lanes,
)

# More of them find more; a run by hand may take its time.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "3"))

schema = schemathesis.openapi.from_wsgi(
    "/api/v1/schema/",
    get_wsgi_application(),
    headers={"Accept": "application/vnd.oai.openapi+json"},
    config=SchemathesisConfig.from_dict(
        {"generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"}}
    ),
)
# The document cannot say which names exist, nor that a message of a bulk is judged alone.
NOT_FOR_US: list[Any] = [positive_data_acceptance]
# What exists: requests that meet nothing but 404 would prove little.
KNOWN: dict[str, str] = {"channel": "lobby"}


@schema.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Every other request is about something that exists."""
    for name, value in (path_parameters or {}).items():
        if name in KNOWN and len(str(value)) % 2:
            path_parameters[name] = KNOWN[name]
    return path_parameters


@schema.hook
def map_query(context: Any, query: dict[str, Any] | None) -> Any:
    """Who would wait for events gets as many as there are at once."""
    if query and str(query.get("wait")) in map(str, range(LONGEST_WAIT + 1)):
        query["wait"] = 0
    return query


@pytest.fixture
def _one_transaction(db: None) -> Iterator[None]:
    """Requests stay in the test's transaction, as those of Django's test client do."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def token(_one_transaction: None) -> str:
    bot = make_bot("echo", space=make_space("acme"))
    job = make_job(bot, make_channel(bot, "lobby"))
    run_lanes()
    subscription, _ = make_subscription()
    make_event(bot)
    postoffice.sort()
    KNOWN["job"], KNOWN["message"] = str(job.pk), str(bot.messages.get().pk)
    KNOWN["subscription"] = str(subscription.pk)
    KNOWN["delivery"] = str(subscription.deliveries.order_by("pk")[:1].get().pk)
    processes.worked()  # health/ready looks for a worker
    return make_token()


def call(case: schemathesis.Case, token: str) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=NOT_FOR_US)


# All requests of one test meet the same world, which is what a server is to its clients.
_one_world = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@_one_world
@schema.include(path_regex="^/api/v1/spaces/").parametrize()
def test_spaces(case: schemathesis.Case, token: str) -> None:
    KNOWN["slug"] = "acme"
    call(case, token)


@_one_world
# A stream has no end to wait for; its tests read it as it comes.
@schema.exclude(path_regex="^/api/v1/(spaces/|events/stream/)").parametrize()
def test_everything_else(case: schemathesis.Case, token: str) -> None:
    KNOWN["slug"] = "echo"
    call(case, token)
