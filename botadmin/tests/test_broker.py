import pytest
from kombu.exceptions import OperationalError

from botadmin.celery import app
from botadmin.tests.processes import free_port


def test_a_broker_that_is_away_is_looked_for_every_few_seconds():
    pauses: list[float] = []

    with (
        app.connection_for_read(f"redis://127.0.0.1:{free_port()}/0") as connection,
        pytest.raises(OperationalError),
    ):
        connection.ensure_connection(lambda error, pause: pauses.append(pause), max_retries=2)

    assert pauses == [1, 2]
