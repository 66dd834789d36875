"""Examine the installation, and say how to mend what is wrong."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from monitoring.doctor.examination import LIMIT_SECONDS, examine
from monitoring.doctor.finding import STATUSES
from monitoring.doctor.registry import checks


class Command(BaseCommand):
    """Prints a line for each finding, with its fix; exits 1 when one is critical.

    `--json` prints one object: `status`, the worst, and `findings`, a list of `check`, `status`, `message`, `fix`.
    """

    help = "Tries the installation in its real roles and addresses; each line says what is wrong and how to mend it."
    requires_system_checks = ()  # its own check says what they say

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--send", action="store_true", help="send a test message over each channel")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument(
            "--seconds",
            type=float,
            default=LIMIT_SECONDS,
            help=f"how long to wait for answers (default {LIMIT_SECONDS:.0f})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for name, found in examine(checks(send=options["send"]), seconds=options["seconds"]):
            findings += [{"check": name, **asdict(finding)} for finding in found]
            if not options["json"]:
                for finding in found:
                    self._print(name, finding.status, finding.message, finding.fix)
        worst = max((finding["status"] for finding in findings), key=STATUSES.index, default="ok")
        if options["json"]:
            self.stdout.write(json.dumps({"status": worst, "findings": findings}))
        else:
            counts = [f"{sum(each['status'] == status for each in findings)} {status}" for status in STATUSES]
            self.stdout.write(f"{', '.join(counts)}.")
        if worst == "critical":
            raise SystemExit(1)

    def _print(self, check: str, status: str, message: str, fix: str) -> None:
        style = {"ok": self.style.SUCCESS, "warning": self.style.WARNING, "critical": self.style.ERROR}[status]
        self.stdout.write(f"{style(f'{status:<8}')}  {check}: {message}")
        if fix:
            self.stdout.write(f"          to mend it: {fix}")
