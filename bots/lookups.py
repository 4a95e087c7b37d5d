"""The lookup `among`: as `in`, for ids that were asked for before.

They go to the database as one value, whose length it knows when it plans; Django's `in` makes a
parameter of each, and of some thousand it takes longer than the query. Give it a set: each in a
list Django would look at by itself, for it might be an expression.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, ForeignKey, Lookup
from django.db.models.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    _Lookup = Lookup[Any]
else:
    _Lookup = Lookup


@ForeignKey.register_lookup
@BigIntegerField.register_lookup  # ids are, too
class Among(_Lookup):
    lookup_name = "among"
    prepare_rhs = False

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        # As text: of a list the driver asks whether each id has to be quoted.
        ids = f"{{{','.join(map(str, self.rhs))}}}"
        return f"{column} = ANY(%s::bigint[])", [*parameters, ids]

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        ids = json.dumps(list(self.rhs))
        return f"{column} IN (SELECT value FROM json_each(%s))", [*parameters, ids]
