import time

import pytest
from django.db import OperationalError, connection, transaction

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


def test_a_transaction_that_the_server_ended_is_a_connection_that_was_lost():
    with pytest.raises(OperationalError):
        idle_in_a_transaction()

    with connection.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchone() == (1,)


def idle_in_a_transaction() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 100")
        time.sleep(0.5)  # longer than the server waits
        cursor.execute("SELECT 1")
