"""`manage.py doctor`: says what is wrong with this install, and what to do about it."""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from botadmin.doctor.examination import examine
from spaces.platforms.messages import Finding

EXIT_ERRORS = 1


class Command(BaseCommand):
    help = "Check settings, database, broker, processes and work; exit 1 when something is broken."
    requires_system_checks = []  # they are among the findings

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.disable(logging.CRITICAL)  # what drivers have to say is in the findings
        try:
            found = examine()
        finally:
            logging.disable(logging.NOTSET)
        counts = Counter(finding.level for finding in found)
        if options["json"]:
            told = {"ok": not counts["error"], "findings": [asdict(one) for one in found]}
            self.stdout.write(json.dumps(told, indent=2))
        else:
            self._tell(found, counts)
        if counts["error"]:
            raise SystemExit(EXIT_ERRORS)

    def _tell(self, found: Sequence[Finding], counts: Counter[str]) -> None:
        styles = {
            "ok": self.style.SUCCESS,
            "warning": self.style.WARNING,
            "error": self.style.ERROR,
        }
        for finding in found:
            level = styles[finding.level](f"{finding.level:8}")
            self.stdout.write(f"{level} {finding.text} [{finding.code}]")
            if finding.remedy:
                self.stdout.write(f"{'':8} {finding.remedy}")
        self.stdout.write(f"\n{counts['error']} errors, {counts['warning']} warnings.")
