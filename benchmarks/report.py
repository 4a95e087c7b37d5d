"""Where the figures go: benchmarks/results.json, and from there the table in the documentation."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
DOCUMENT = FOLDER.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"
PACKAGES = (
    "Django",
    "djangorestframework",
    "celery",
    "psycopg",
    "granian",
    "waitress",
    "websocket-client",
)


def write(figures: Sequence[dict[str, Any]], *, seconds: float) -> None:
    results = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "machine": _machine(),
        "versions": {
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            **{package: version(package) for package in PACKAGES},
        },
        "figures": figures,
    }
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{_told(results)}\n{END}{after}")


def table(figures: Iterable[dict[str, Any]]) -> str:
    lines = [
        "| measured | median | aim | beside | median | ratio |",
        "| --- | ---: | --- | --- | ---: | ---: |",
    ]
    for figure in figures:
        unit, yardstick = figure["unit"], figure["yardstick"]
        lines.append(
            f"| {figure['install']}: {figure['what']}"
            f" | {_number(figure['median'])} {unit} | {figure['aim']}"
            f" | {yardstick['what']} | {_number(yardstick['median'])} | {figure['ratio']:.2f} |"
        )
    return "\n".join(lines)


def _told(results: dict[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return (
        f"{results['made_at'][:10]}, {machine['processor']}, {machine['cores']} cores,"
        f" {machine['memory_gb']} GB; {versions}.\n\n{table(results['figures'])}\n"
    )


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        # Somebody else's work slows down ours: about 1 is our own.
        "load_of_last_minute": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
