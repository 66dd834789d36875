"""Process the queue and the schedules, under a watchdog."""

import signal
from datetime import timedelta
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from monitoring.jobs import schedules
from monitoring.worker.watchdog import Watchdog

STUCK_AFTER_SECONDS = 120


class Command(BaseCommand):
    """Returns when the tasks that were running at SIGTERM or Ctrl-C have ended."""

    help = "Runs qcluster, and starts it again when it dies or hangs. SIGTERM lets running tasks end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--stuck-after",
            type=int,
            default=STUCK_AFTER_SECONDS,
            metavar="SECONDS",
            help=f"how long a pulled task may wait for an idle worker (default {STUCK_AFTER_SECONDS})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["stuck_after"] < 1:
            raise CommandError(f"--stuck-after: at least 1 second, not {options['stuck_after']}")
        watchdog = Watchdog(
            stuck_after=timedelta(seconds=options["stuck_after"]), skipped_jobs=schedules.skipped_elsewhere
        )

        def stop(number: int, frame: FrameType | None) -> None:
            watchdog.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        watchdog.run()
