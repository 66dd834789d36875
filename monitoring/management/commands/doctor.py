"""Examine the installation, and say how to mend what is wrong."""

import json
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from monitoring.doctor.examination import LIMIT_SECONDS, examine
from monitoring.doctor.finding import STATUSES
from monitoring.doctor.registry import checks

STYLES = {"ok": attrgetter("SUCCESS"), "warning": attrgetter("WARNING"), "critical": attrgetter("ERROR")}


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
                    status, *rest = finding.text(name).partition(" ")
                    self.stdout.write("".join([STYLES[finding.status](self.style)(status), *rest]))
        worst = max((finding["status"] for finding in findings), key=STATUSES.index, default="ok")
        if options["json"]:
            self.stdout.write(json.dumps({"status": worst, "findings": findings}))
        else:
            counts = [f"{sum(each['status'] == status for each in findings)} {status}" for status in STATUSES]
            self.stdout.write(f"{', '.join(counts)}.")
        if worst == "critical":
            raise SystemExit(1)
