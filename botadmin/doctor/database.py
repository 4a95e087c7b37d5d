"""The database: there, of a version we know, migrated, writable, and keeping what it promised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from django.db import DatabaseError, InterfaceError, NotSupportedError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models.functions import Now

from botadmin.doctor.findings import error, first_line, ok, warning
from bots.models import Process
from spaces.platforms.messages import Finding

CONNECT_SECONDS = 3
MANY_CONNECTIONS = 0.8  # of those that the server allows
SQLITE_FULL = 2  # of PRAGMA synchronous; 3 is EXTRA


def reachable() -> Iterator[Finding]:
    try:
        _try_once()
        _ask("SELECT 1")
    except (DatabaseError, InterfaceError) as away:
        yield error(
            "database_unreachable",
            f"The database cannot be reached: {first_line(away)}",
            "Start it, or correct DATABASE_URL; nothing works without it.",
        )
    else:
        yield ok("database_reachable", f"The database answers ({connection.display_name}).")


def version() -> Iterator[Finding]:
    number = ".".join(map(str, connection.get_database_version()))
    try:
        connection.check_database_version_supported()
    except NotSupportedError as old:
        yield error("database_too_old", first_line(old), "Upgrade the database server.")
    else:
        yield ok("database_version", f"{connection.display_name} {number} is new enough.")


def migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    loader = executor.loader
    missing = executor.migration_plan(loader.graph.leaf_nodes())
    ours = {key for key in loader.applied_migrations if key[0] in loader.migrated_apps}
    unknown = sorted(ours - loader.disk_migrations.keys() - loader.replacements.keys())
    if missing:
        yield error(
            "database_not_migrated",
            f"{len(missing)} migrations are missing, the first is {missing[0][0]}.",
            "Stop beat and workers, run `manage.py migrate`, and start them again.",
        )
    elif unknown:
        yield warning(
            "database_newer",
            f"The database was migrated by a newer version: {'.'.join(unknown[-1])} is not known.",
            "Run the version of botadmin that migrated it.",
        )
    else:
        yield ok("database_migrated", "All migrations are applied.")


def writable() -> Iterator[Finding]:
    try:
        with transaction.atomic():
            Process.objects.create(name=f"doctor {uuid4().hex}", seen_at=Now())
            transaction.set_rollback(True)
    except (DatabaseError, InterfaceError) as refused:
        yield error(
            "database_not_writable",
            f"Nothing can be written: {first_line(refused)}",
            "See that it is no replica, that its disk has room, and that nobody holds it locked.",
        )
    else:
        yield ok("database_writable", "The database can be written.")


def durable() -> Iterator[Finding]:
    """Whether what was accepted outlives a power cut, and whether there is room for everybody."""
    yield from (_sqlite() if connection.vendor == "sqlite" else _postgresql())


def _sqlite() -> Iterator[Finding]:
    mode = str(_ask("PRAGMA journal_mode"))
    if mode != "wal":
        yield warning(
            "sqlite_journal",
            f"SQLite's journal mode is {mode}: readers and writers wait for each other.",
            "Put the data on a local disk, and let no other program change the journal mode.",
        )
    if int(_ask("PRAGMA synchronous")) < SQLITE_FULL:
        yield warning(
            "database_forgetful",
            "SQLite does not wait for the disk: a power cut loses what was accepted last.",
            "Remove PRAGMA synchronous from the options of DATABASE_URL.",
        )


def _postgresql() -> Iterator[Finding]:
    for name in ("fsync", "synchronous_commit"):
        if _ask(f"SHOW {name}") == "off":
            yield warning(
                "database_forgetful",
                f"PostgreSQL runs with {name} off: a power cut loses what was accepted last.",
                f"Set {name} = on in postgresql.conf, and reload it.",
            )
    most = int(_ask("SHOW max_connections"))
    used = int(_ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    if used >= MANY_CONNECTIONS * most:
        yield warning(
            "database_connections",
            f"{used} of PostgreSQL's {most} connections are taken.",
            "Raise max_connections, or run fewer processes or threads.",
        )


def _try_once() -> None:
    """A pool would try for longer, and not say why it got no connection."""
    if connection.vendor == "sqlite" or connection.connection is not None:
        return
    server: Any = connection  # that of PostgreSQL, which has more than the stubs know
    parameters = server.get_connection_params() | {"connect_timeout": CONNECT_SECONDS}
    with server.wrap_database_errors:
        server.Database.connect(**parameters).close()


def _ask(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]
