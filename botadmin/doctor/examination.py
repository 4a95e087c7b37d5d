"""All checks, one after the other; none of them can break the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.db import DatabaseError, InterfaceError

from botadmin.doctor import broker, database, files, install, work
from botadmin.doctor.findings import error, first_line, warning
from spaces.platforms.messages import Finding

Check = Callable[[], Iterable[Finding]]

WORK: tuple[Check, ...] = (
    install.credentials,
    work.workers,
    work.beat,
    work.silent_processes,
    work.clock,
    work.clocks_of_processes,
    work.leases,
    work.polls,
    work.refused_bots,
    work.lanes,
    work.uncertain_jobs,
)


def examine() -> list[Finding]:
    """Everything that there is to say."""
    found = _run(install.system_checks, install.settings_of_production, files.permissions)
    found += _run(files.store)
    stored = _run(database.reachable)
    if _are_fine(stored):
        stored += _run(database.version, database.migrations)
    found += stored
    if is_usable := _are_fine(stored):
        found += _run(database.writable, database.durable)
    found += _run(broker.travels)
    if is_usable:
        found += _run(*WORK)
    else:
        text = "Credentials, workers, beat, clocks, leases, lanes and jobs were not looked at."
        found.append(warning("not_looked_at", text, "Put the database right first."))
    return found


def _are_fine(found: Iterable[Finding]) -> bool:
    return all(finding.level != "error" for finding in found)


def _run(*checks: Check) -> list[Finding]:
    return [finding for check in checks for finding in _guarded(check)]


def _guarded(check: Check) -> list[Finding]:
    name = check.__name__
    try:
        return list(check())
    except (DatabaseError, InterfaceError) as broke:
        text = f"The database did not answer the check {name}: {first_line(broke)}"
        return [error("database_failed", text, "Look into the database's log; migrate if needed.")]
    except Exception as broke:
        # The outermost loop: what else is wrong must be told all the same.
        text = f"The check {name} broke: {type(broke).__name__}."
        return [error("check_broke", text, "Report it; the other findings stand.")]
