"""Run a simulated chat server in the foreground, with a small company in it.

python manage.py simulate mattermost --port 8065
"""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Run a simulated chat server until Ctrl-C, for trying things out and for tests. It keeps"
        " everything in memory and must not be reachable by others: its controls ask for no login."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("platform", choices=["mattermost"])
        parser.add_argument("--host", default="127.0.0.1", help="where to listen [%(default)s]")
        parser.add_argument("--port", type=int, default=8065, help="0 for any [%(default)s]")

    def handle(self, **options: Any) -> None:
        try:
            from spaces.testing.mattermost import SimulatedMattermost, demo
        except ModuleNotFoundError as missing:
            raise CommandError(
                f"The simulator needs the package {missing.name!r}, which is only there for"
                " development: pip install -r requirements.txt"
            ) from missing
        server = SimulatedMattermost(host=options["host"], port=options["port"])
        try:
            server.start()
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {options['host']}:{options['port']}:"
                f" {error.strerror}. Choose another --port."
            ) from error
        try:
            told = _stop_signals()
            self.stdout.write(demo.fill(server))
            self.stdout.write("Ctrl-C ends it, and everything is forgotten.")
            self.stdout.flush()
            told.wait()
        finally:
            server.stop()


def _stop_signals() -> threading.Event:
    """Set when somebody wants this process to end."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    return told
