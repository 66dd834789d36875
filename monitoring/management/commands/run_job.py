"""Run a maintenance job by hand, or from cron, systemd or Lambda."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from rich.console import Console
from rich.table import Table

from glyphforge.audit.masking import mask
from glyphforge.observability.terminal import print_table
from monitoring import reports
from monitoring.jobs import runner, schedules
from monitoring.jobs.registry import JOBS
from monitoring.models import JobRun, JobSchedule

FAILED, BUSY = 1, 3


class Command(BaseCommand):
    """A skipped job exits 0, like one whose slot was run elsewhere. A SIGTERM ends the run on the record.

    `--json` prints `outcome` (succeeded, failed, skipped, busy or taken), `message` and the run's row; with `--list`,
    the jobs. `--due` starts a process for each job that is due and fails when one of them fails.
    """

    help = (
        "Runs one job now, whatever the scheduler. Exits 0 when it succeeded, 1 when it failed, 3 when it already runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="the job; see --list")
        parser.add_argument("--list", action="store_true", help="list the jobs, their schedules and last runs")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument(
            "--scheduled",
            action="store_true",
            help="run the slot that is due now, unless another scheduler has; for cron, systemd and Lambda",
        )
        parser.add_argument("--due", action="store_true", help="run every job that is due, side by side; for cron")
        parser.add_argument("--print", action="store_true", help="report only: print it and send nothing")
        parser.add_argument("--trigger", default="manual", help="what the run's row names as its cause")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._list(as_json=options["json"])
            return
        if options["due"]:
            self._run_due(options["trigger"])
            return
        name = options["name"]
        if name not in JOBS:
            problem = f"{name}: no such job" if name else "no job is named"
            raise CommandError(f"{problem}; there are {', '.join(JOBS)}")
        if options["print"]:
            self._print_report(name)
            return
        try:
            result = self._run(name, options)
        except DatabaseError as error:
            raise CommandError(f"{name}: {mask(str(error).strip())}") from error
        if options["json"]:
            self._write_json(_as_json(result))
        if result.outcome == "failed":
            raise CommandError(result.message, returncode=FAILED)
        if result.outcome == "busy":
            raise CommandError(result.message, returncode=BUSY)
        if not options["json"]:
            self._print_result(result)

    def _print_report(self, name: str) -> None:
        if name != "report":
            raise CommandError(f"{name}: only the report can be printed")
        try:
            reports.close_day()
            self.stdout.write(reports.render_text(reports.build_report()))
        except DatabaseError as error:
            raise CommandError(f"{name}: {mask(str(error).strip())}") from error

    def _run(self, name: str, options: dict[str, Any]) -> runner.Result:
        run = runner.run_due_slot if options["scheduled"] else runner.run_by_hand
        try:
            with _sigterm_as_interrupt(), Console(stderr=True).status(f"Running {name}"):
                return run(name, trigger=options["trigger"])
        except KeyboardInterrupt:
            raise CommandError(f"{name}: stopped", returncode=FAILED) from None

    def _run_due(self, trigger: str) -> None:
        """Each in a process of its own: a long job keeps no other waiting, and one that dies takes none along."""
        command = [sys.executable, sys.argv[0], "run_job"]
        started = {
            name: subprocess.Popen([*command, name, "--scheduled", "--trigger", trigger]) for name in schedules.due()
        }
        statuses = {name: process.wait() for name, process in started.items()}
        if failed := [name for name, status in statuses.items() if status not in (0, BUSY)]:
            raise CommandError(f"failed: {', '.join(failed)}", returncode=FAILED)

    def _print_result(self, result: runner.Result) -> None:
        if result.run is None or result.run.duration is None or result.outcome == "skipped":
            self.stdout.write(result.message)
            return
        self.stdout.write(f"{result.message} in {result.run.duration.total_seconds():.1f} s")
        for key, value in result.run.detail.items():
            self.stdout.write(f"  {key}: {json.dumps(value, cls=DjangoJSONEncoder)}")

    def _write_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, cls=DjangoJSONEncoder))

    def _list(self, *, as_json: bool) -> None:
        rows = [_listed(name) for name in JOBS]
        if as_json:
            self._write_json(rows)
            return
        table = Table("job", "cron (UTC)", "limit", "next due", "last run", "status", "protects against")
        for row in rows:
            moments = [f"{row[key]:%Y-%m-%d %H:%M}" if row[key] else "-" for key in ("next_due_at", "last_run_at")]
            cron = row["cron"] if row["enabled"] else f"{row['cron']} (off)"
            table.add_row(
                row["job"],
                cron,
                f"{row['timeout_seconds']} s",
                *moments,
                row["last_status"] or "-",
                row["protects_against"],
            )
        print_table(self.stdout, table)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A service manager's SIGTERM ends the run the way Ctrl-C does: on the record."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _listed(name: str) -> dict[str, Any]:
    job = JOBS[name]
    schedule = JobSchedule.objects.filter(job=name).first()
    last = JobRun.last("latest").filter(job=name).first()
    return {
        "job": name,
        "cron": schedule.cron if schedule else job.cron,
        "enabled": schedule.enabled if schedule else False,
        "timeout_seconds": job.timeout_seconds,
        "next_due_at": schedule.next_due_at.astimezone(UTC) if schedule and schedule.next_due_at else None,
        "last_run_at": last.started_at.astimezone(UTC) if last else None,
        "last_status": last.status if last else None,
        "protects_against": job.protects_against,
    }


def _as_json(result: runner.Result) -> dict[str, Any]:
    run = result.run
    return {
        "outcome": result.outcome,
        "message": result.message,
        "run_id": run.id if run else None,
        "job": run.job if run else None,
        "scheduled_for": run.scheduled_for if run else None,
        "status": run.status if run else None,
        "started_at": run.started_at if run else None,
        "finished_at": run.finished_at if run else None,
        "rows_affected": run.rows_affected if run else None,
        "detail": run.detail if run else None,
        "error": run.error if run else None,
    }
