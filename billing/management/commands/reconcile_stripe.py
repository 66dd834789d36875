"""Compare our tables with Stripe, and repair them when asked to."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from billing.models import Difference, ReconciliationRun
from billing.services import reconciliation
from billing.stripe.reconciliation.run import REQUEST_BUDGET
from glyphforge.errors import Refused
from glyphforge.observability.terminal import console, print_table

SHOWN = 50


class Command(BaseCommand):
    """Fails when the run failed or another is under way; differences alone are no failure.

    `--json` prints the run's id, status, phase, error and counts, and its `differences`. `to_compare` is about how many
    objects there are.
    """

    help = (
        "Compare customers, subscriptions and payments with Stripe and report every difference. Preview unless "
        "--apply, which ingests events that never arrived and repairs what differs. Goes on where a paused run stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="ingest and repair; without it only report")
        parser.add_argument("--budget", type=int, default=REQUEST_BUDGET, help="requests to Stripe at most")
        parser.add_argument("--reason", default="reconcile_stripe command", help="kept in the audit log")
        parser.add_argument("--json", action="store_true", help="print JSON, with every difference")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["budget"] < 1:
            raise CommandError(f"--budget: at least 1, not {options['budget']}")
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        try:
            with Progress(*columns, console=console(self.stdout), transient=True) as bar:
                task = bar.add_task("starts", total=None)
                run = reconciliation.run(
                    ingest=options["apply"],
                    repair=options["apply"],
                    actor="command",
                    reason=options["reason"],
                    budget=options["budget"],
                    progress=lambda run: bar.update(
                        task, description=_progress(run), completed=run.compared, total=run.to_compare
                    ),
                )
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(run)))
        else:
            self._print(run, applied=options["apply"])
        if run.status == ReconciliationRun.Status.FAILED:
            raise CommandError(str(run.error))

    def _print(self, run: ReconciliationRun, *, applied: bool) -> None:
        found = run.differences.order_by("object_kind", "stripe_id", "field")
        if found:
            # The words of the page Differences.
            table = Table("Stripe object", "field", "local value", "Stripe value", "kind", "status", "note")
            for row in found[:SHOWN]:
                table.add_row(
                    f"{row.object_kind} {row.stripe_id}",
                    row.field,
                    row.local_value or "-",
                    row.stripe_value or "-",
                    row.get_kind_display(),
                    row.get_status_display(),
                    row.note or "",
                )
            print_table(self.stdout, table)
            if len(found) > SHOWN:
                self.stdout.write(f"… and {len(found) - SHOWN} more: see --json, or the page Differences.")
        still_open = found.filter(status=Difference.Status.OPEN).count()
        self.stdout.write(
            f"{run.compared} compared, {run.missing_events} missing events, {run.differences_found} differences, "
            f"{run.repaired} repaired, {still_open} open. {run.requests} requests. {run.get_status_display()}."
        )
        for left in _reasons(run):
            self.stdout.write(left)
        if still_open and not applied:
            self.stdout.write("--apply repairs them.")


def _progress(run: ReconciliationRun) -> str:
    repaired = f"{run.repaired} of " if run.repair else ""
    words = "differences repaired" if run.repair else "differences"
    return (
        f"{run.get_phase_display()}: {run.compared} of about {run.to_compare} compared,"
        f" {repaired}{run.differences_found} {words}"
    )


def _reasons(run: ReconciliationRun) -> list[str]:
    """What repairing has left, by the reason that the differences' notes give, the most frequent first."""
    left = run.differences.filter(status=Difference.Status.OPEN, note__isnull=False)
    counted = left.values_list("note").annotate(count=Count("pk")).order_by("-count", "note")
    return [f"{count} left: {note}" for note, count in counted[:SHOWN]]


def _as_json(run: ReconciliationRun) -> dict[str, Any]:
    counts = ("to_compare", "compared", "missing_events", "differences_found", "repaired", "requests", "request_budget")
    fields = (
        "kind",
        "object_kind",
        "stripe_id",
        "stripe_customer_id",
        "field",
        "local_value",
        "stripe_value",
        "status",
        "note",
    )
    return {
        "run": str(run.pk),
        "status": run.status,
        "phase": run.phase,
        "error": run.error,
        **{name: getattr(run, name) for name in counts},
        "differences": list(run.differences.order_by("object_kind", "stripe_id", "field").values(*fields)),
    }
