"""Start `manage.py` as people do: as a process, with an environment of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

MANAGE = settings.BASE_DIR / "manage.py"


def environment(**changes: str) -> dict[str, str]:
    """Ours without anything that is meant for the tests; each test names its data directory."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BOTADMIN_", "DJANGO_")) and not name.endswith("_URL")
    }
    return kept | changes


def manage(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(
    *arguments: str, env: Mapping[str, str], output: Path | None = None
) -> subprocess.Popen[str]:
    """What it prints goes to the end of the file, or into a pipe that the caller must empty."""
    with output.open("ab") if output else contextlib.nullcontext(subprocess.PIPE) as stdout:
        return subprocess.Popen(
            [sys.executable, str(MANAGE), *arguments],
            env=dict(env),
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
