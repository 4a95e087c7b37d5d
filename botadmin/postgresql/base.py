"""Django's PostgreSQL, and one error told as what it is.

The server ends a transaction in which nothing happens, so that a process that was frozen in the
middle of one holds up nobody. When it thaws, its connection is gone, as after a restart of the
server; the standard calls that an internal error.
"""

from __future__ import annotations

from types import TracebackType

from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper, OperationalError
from django.utils.functional import cached_property
from psycopg.errors import IdleInTransactionSessionTimeout


class ErrorWrapper(DatabaseErrorWrapper):
    def __init__(self, wrapper: base.DatabaseWrapper):
        super().__init__(wrapper)
        self._connection = wrapper

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc_value, IdleInTransactionSessionTimeout):
            self._connection.errors_occurred = True  # so that it is not used again
            raise OperationalError(*exc_value.args) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        return ErrorWrapper(self)
