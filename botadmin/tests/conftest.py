"""What the stories about whole installs stand on."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from botadmin.tests.processes import environment, manage


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, migrated once for all workers of this run."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    data = run / "migrated"
    with (run / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data.exists():
            migrated = manage("migrate", env=environment(BOTADMIN_DATA_DIR=str(data)))
            assert migrated.returncode == 0, migrated.stderr
    return data / "db.sqlite3"
