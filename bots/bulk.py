"""Writing many rows at once, for the tables that every event and every send pass through.

Django's `bulk_create` takes each value of each row through a dozen calls, and its `bulk_update`
builds a branch of a CASE for each; that was most of what storing cost. The statements below do the
same without signals and expressions. PostgreSQL gets all rows as one value, in JSON: a placeholder
for each value of each row cost its driver as much time as all else together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import DateTimeField, Field, JSONField, Model, UUIDField

MOST_VALUES = 30_000  # of one statement; SQLite takes 32,766
CONVERTED = (DateTimeField, JSONField, UUIDField)  # whose values are not the database's own

Fields = tuple["Field[Any, Any]", ...]
M = TypeVar("M", bound=Model)


def insert(rows: Sequence[Model]) -> None:
    """Store new rows of one model; they get their primary keys, and what the database filled in."""
    for chunk in _chunks(rows):
        filled_in = _filled_in(type(chunk[0]))
        returning = ", ".join(str(field.column) for field, _ in filled_in)
        statement, values = _insert_into(chunk)
        with connection.cursor() as cursor:
            cursor.execute(f"{statement} RETURNING {returning}", values)
            for row, stored in zip(chunk, cursor.fetchall(), strict=True):
                for (field, converters), value in zip(filled_in, stored, strict=True):
                    for convert in converters:
                        value = convert(value, None, connection)
                    setattr(row, field.attname, value)


def upsert(
    rows: Sequence[Model],
    *,
    unique: Sequence[str],
    update: Sequence[str] = (),
    fill: Sequence[str] = (),
    add: Sequence[str] = (),
) -> list[int]:
    """Store new rows of one model; where the `unique` columns are taken, `update` the old row,
    `fill` what is null in it, and `add` to its numbers.

    Returns the ids of those that were stored or changed; the rows themselves get none.
    """
    if not rows:
        return []
    table = rows[0]._meta.db_table
    changes = [f"{column} = EXCLUDED.{column}" for column in update]
    changes += [f"{column} = COALESCE({table}.{column}, EXCLUDED.{column})" for column in fill]
    changes += [f"{column} = {table}.{column} + EXCLUDED.{column}" for column in add]
    action = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
    conflict = f"ON CONFLICT ({', '.join(unique)}) DO {action}"
    ids: list[int] = []
    for chunk in _chunks(rows):
        statement, values = _insert_into(chunk)
        with connection.cursor() as cursor:
            cursor.execute(f"{statement} {conflict} RETURNING id", values)
            ids += [pk for (pk,) in cursor.fetchall()]
    return ids


def update(rows: Sequence[Model], names: Sequence[str]) -> None:
    """Write these fields of rows of one model."""
    if not rows:
        return
    model = type(rows[0])
    by_name = {field.name: field for field in model._meta.concrete_fields}
    fields = tuple(by_name[name] for name in (*names, "id"))
    changes = ", ".join(f"{field.column} = given.{field.column}" for field in fields[:-1])
    table = model._meta.db_table
    size = MOST_VALUES // len(fields)
    for start in range(0, len(rows), size):
        given, values = _as_relation(rows[start : start + size], fields)
        with connection.cursor() as cursor:
            cursor.execute(
                f"{given} UPDATE {table} SET {changes} FROM given WHERE {table}.id = given.id",
                values,
            )


def known(
    model: type[Model], unique: Sequence[str], wanted: Collection[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Those of the `wanted` values of the `unique` columns that a row has.

    By a join, which both databases do by looking up each in the unique index. Lists for each column
    let PostgreSQL read all events of the bots in question, and for pairs in a list SQLite reads all
    rows there are.
    """
    columns = ", ".join(unique)
    found: list[tuple[Any, ...]] = []
    for given, values in _looking_up(model, unique, wanted):
        with connection.cursor() as cursor:
            cursor.execute(f"{given} SELECT {columns} {_from(model, columns)}", values)
            found += cursor.fetchall()
    return found


def find(model: type[M], unique: Sequence[str], wanted: Collection[tuple[Any, ...]]) -> list[M]:
    """The rows that have the `wanted` values in the `unique` columns, found as by `known`."""
    table, columns = model._meta.db_table, ", ".join(unique)
    found: list[M] = []
    for given, values in _looking_up(model, unique, wanted):
        statement = f"{given} SELECT {table}.* {_from(model, columns)} ORDER BY {table}.id"
        found += model._default_manager.raw(statement, values)
    return found


def _looking_up(
    model: type[Model], unique: Sequence[str], wanted: Collection[tuple[Any, ...]]
) -> Iterator[tuple[str, list[Any]]]:
    by_column = {str(field.column): field for field in model._meta.concrete_fields}
    fields = tuple(by_column[column] for column in unique)
    for some in _batched(wanted, MOST_VALUES // len(unique)):
        yield _relation(some, fields)


def _from(model: type[Model], columns: str) -> str:
    return f"FROM given JOIN {model._meta.db_table} USING ({columns})"


def delete(model: type[Model], ids: Sequence[int]) -> None:
    """Remove rows, and nothing else: who refers to them was removed before, or the database objects
    at the end of the transaction. Django would read all of them again to find out who does."""
    for start in range(0, len(ids), MOST_VALUES):
        some = ids[start : start + MOST_VALUES]
        places = ", ".join(["%s"] * len(some))
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {model._meta.db_table} WHERE id IN ({places})", some)


def _batched(values: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    remaining = iter(values)
    while some := tuple(islice(remaining, size)):
        yield some


@cache
def types(model: type[Model], *, without: str) -> dict[str, str]:
    """The database's types of the columns that an INSERT writes, but for one."""
    return {column: kind for column, kind in _types(_inserted(model)) if column != without}


def records(rows: Sequence[Model], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as PostgreSQL's `json_to_recordset` takes them, for `as_json`."""
    read = attrgetter(*columns)
    return [dict(zip(columns, read(row), strict=True)) for row in rows]


def as_json(records: Sequence[dict[str, Any]]) -> str:
    return json.dumps(records, default=_as_text)


def _as_text(value: Any) -> str:
    if isinstance(value, datetime | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")


def _chunks(rows: Sequence[Model]) -> Iterator[Sequence[Model]]:
    if rows:
        size = MOST_VALUES // len(_inserted(type(rows[0])))
        yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _insert_into(rows: Sequence[Model]) -> tuple[str, list[Any]]:
    """The beginning of a statement, and its values."""
    model = type(rows[0])
    fields = _inserted(model)
    given, values = _as_relation(rows, fields)
    columns = ", ".join(str(field.column) for field in fields)
    # What would follow ON without the WHERE, SQLite takes for a join.
    insert = (
        f"INSERT INTO {model._meta.db_table} ({columns}) SELECT {columns} FROM given WHERE true"
    )
    return f"{given} {insert}", values


def _as_relation(rows: Sequence[Model], fields: Fields) -> tuple[str, list[Any]]:
    return _relation(list(map(attrgetter(*(field.attname for field in fields)), rows)), fields)


def _relation(rows: Sequence[tuple[Any, ...]], fields: Fields) -> tuple[str, list[Any]]:
    """A WITH clause that calls these values `given`, in columns as the fields', and its values."""
    columns = [str(field.column) for field in fields]
    if connection.vendor == "postgresql":
        kinds = ", ".join(map(" ".join, _types(fields)))
        records = as_json([dict(zip(columns, row, strict=True)) for row in rows])
        return f"WITH given AS (SELECT * FROM json_to_recordset(%s) AS r ({kinds}))", [records]
    place = f"({', '.join(['%s'] * len(fields))})"
    values = [value for row in rows for value in _converted(row, fields)]
    return f"WITH given ({', '.join(columns)}) AS (VALUES {', '.join([place] * len(rows))})", values


@cache
def _types(fields: Fields) -> list[tuple[str, str]]:
    """Columns and the database's types of them."""
    return [(str(field.column), str(field.db_type(connection))) for field in fields]


@cache
def _inserted(model: type[Model]) -> Fields:
    """What is written; the database itself fills in keys and defaults."""
    fields = model._meta.concrete_fields
    return tuple(f for f in fields if not f.primary_key and not f.has_db_default())


@cache
def _filled_in(model: type[Model]) -> list[tuple[Field[Any, Any], list[Callable[..., Any]]]]:
    """What the database fills in, with what makes Python's values of its own."""
    fields = [f for f in model._meta.concrete_fields if f.primary_key or f.has_db_default()]
    columns = [field.get_col(model._meta.db_table) for field in fields]
    return [
        (f, [*connection.ops.get_db_converters(column), *f.get_db_converters(connection)])
        for f, column in zip(fields, columns, strict=True)
    ]


def _converted(row: tuple[Any, ...], fields: Fields) -> Iterator[Any]:
    for value, field in zip(row, fields, strict=True):
        is_other = value is not None and isinstance(field, CONVERTED)
        yield field.get_db_prep_save(value, connection) if is_other else value
