"""Run all benchmarks, each in a process of its own, into results.json and docs/performance.md.

python -m benchmarks            all of them
python -m benchmarks inbox      one of them, printed
"""

from __future__ import annotations

import json
import os
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

SUITE = ("rest", "delivery", "sends", "inbox", "reader")
FOLDER = Path(__file__).parent


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1]), indent=2))
    else:
        run_all()


def run_all() -> None:
    started = time.monotonic()
    figures: list[dict[str, Any]] = []
    for name in SUITE:
        print(f"{name} …", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", name],
            cwd=FOLDER.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        figures += json.loads(done.stdout)
    report.write(figures, seconds=time.monotonic() - started)
    print(report.table(figures))


def run(name: str) -> list[dict[str, Any]]:
    """One benchmark, in an install of its own that is removed afterwards."""
    for variable in [v for v in os.environ if v.startswith("BOTADMIN_") or v.endswith("_URL")]:
        del os.environ[variable]
    os.environ["DJANGO_SETTINGS_MODULE"] = "botadmin.settings"
    os.environ["BOTADMIN_LOG_LEVEL"] = "ERROR"  # waitress warns of every request that waits
    with tempfile.TemporaryDirectory(prefix="botadmin-bench-", ignore_cleanup_errors=True) as data:
        os.environ["BOTADMIN_DATA_DIR"] = data
        django.setup()
        call_command("migrate", verbosity=0)
        figures = import_module(f"benchmarks.{name}").main()
        return [{"benchmark": name, **figure.as_json()} for figure in figures]


if __name__ == "__main__":
    main()
