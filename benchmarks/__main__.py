"""Run all benchmarks, each in a process of its own, into results.json and docs/performance.md.

python -m benchmarks                    all of them
python -m benchmarks inbox              one of them, printed
python -m benchmarks production rest    one of them on a PostgreSQL and a Redis of its own
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

from benchmarks import report
from botadmin.testing import services

PRODUCTION = "production"
SUITE = (
    *(("rest",), ("delivery",), ("sends",), ("inbox",), ("reader",), ("idle",)),
    *((PRODUCTION, "rest"), (PRODUCTION, "delivery"), (PRODUCTION, "growth")),
    *((PRODUCTION, "http_sends"), (PRODUCTION, "webhooks"), (PRODUCTION, "inbox")),
    *((PRODUCTION, "starts"), (PRODUCTION, "catch_up")),
)
FOLDER = Path(__file__).parent


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and with us go the servers we started
    arguments = sys.argv[1:]
    if arguments[:1] == [PRODUCTION]:
        with services.postgresql({}) as database_url, services.redis() as broker_url:
            _print(run(arguments[1], DATABASE_URL=database_url, BROKER_URL=broker_url))
    elif arguments:
        _print(run(arguments[0]))
    else:
        run_all()


def run_all() -> None:
    started = time.monotonic()
    figures: list[dict[str, Any]] = []
    for words in SUITE:
        print(f"{' '.join(words)} …", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *words],
            cwd=FOLDER.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        figures += json.loads(done.stdout)
    report.write(figures, seconds=time.monotonic() - started)
    print(report.table(figures))


def run(name: str, **urls: str) -> list[dict[str, Any]]:
    """One benchmark, in an install of its own that is removed afterwards."""
    for variable in [v for v in os.environ if v.startswith("BOTADMIN_") or v.endswith("_URL")]:
        del os.environ[variable]
    os.environ |= urls
    os.environ["DJANGO_SETTINGS_MODULE"] = "botadmin.settings"
    os.environ["BOTADMIN_LOG_LEVEL"] = "ERROR"  # waitress warns of every request that waits
    with tempfile.TemporaryDirectory(prefix="botadmin-bench-", ignore_cleanup_errors=True) as data:
        os.environ["BOTADMIN_DATA_DIR"] = data
        django.setup()
        call_command("migrate", verbosity=0)
        figures = import_module(f"benchmarks.{name}").main()
        install = "PostgreSQL and Redis" if urls else "SQLite"
        return [{"benchmark": name, "install": install, **figure.as_json()} for figure in figures]


def _print(figures: list[dict[str, Any]]) -> None:
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
