"""Take over a Stripe account that has a past."""

import time
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.table import Table

from billing.models import Backfill, BackfillList
from billing.services import backfill
from billing.stripe.backfill.run import Run
from glyphforge.errors import Refused
from glyphforge.observability.terminal import print_table, progress

# What Stripe allows in test mode: https://docs.stripe.com/rate-limits
REQUESTS_A_SECOND = 20.0
SHOWN = 50


class Command(BaseCommand):
    """Fails when it was interrupted, and when something was left out, which is named at the end."""

    help = (
        "Bring in the customers, subscriptions, invoices, charges and disputes of a Stripe account, with Stripe's "
        "dates, by its lists of 100 an answer. Preview unless --apply. One that was interrupted goes on "
        "where it stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write; without it only say what would be written")
        parser.add_argument(
            "--rate", type=float, default=REQUESTS_A_SECOND, help="requests a second at most (default: %(default)s)"
        )
        parser.add_argument("--anew", action="store_true", help="begin with the first list again")
        parser.add_argument("--reason", default="backfill_stripe command", help="kept in the audit log")

    def handle(self, *, apply: bool, rate: float, anew: bool, reason: str, **options: Any) -> None:
        if not 0 < rate <= 1000:
            raise CommandError(f"--rate: more than 0 and at most 1000 requests a second, not {rate:g}")
        with ExitStack() as stack:
            try:
                run = backfill.run(
                    actor="command", reason=reason, rate=rate, apply=apply, anew=anew, progress=Teller(stack).tell
                )
            except Refused as refusal:
                raise CommandError(str(refusal)) from refusal
        self._print(run)
        if run.row.status != Backfill.Status.FINISHED:
            raise CommandError(f"{run.row.error} The same command goes on where it stopped.")
        if run.problems:
            raise CommandError(f"{len(run.problems)} left out; all else is {'done' if apply else 'ready'}.")

    def _print(self, run: Run) -> None:
        table = Table("Stripe's list", "listed", "new", "changed")
        for state in run.lists:
            table.add_row(_name(state), *(f"{count:,}" for count in (state.listed, state.added, state.changed)))
        print_table(self.stdout, table)
        for line in run.changes[:SHOWN]:
            self.stdout.write(line)
        for (kind, stripe_id), text in list(run.problems.items())[:SHOWN]:
            self.stdout.write(f"left out: {kind} {stripe_id}: {text}")
        if len(run.problems) > SHOWN:
            self.stdout.write(f"… and {len(run.problems) - SHOWN} more: see the table stripe_backfill_problems.")
        self.stdout.write(
            f"{run.row.requests:,} requests.{'' if run.applies else ' Nothing was written: --apply does.'}"
        )


class Teller:
    """A bar for each list: how far, how fast, back to which day, and how long it may still take.

    Stripe does not say how long a list is. Nothing but customers is older than the oldest customer, so of the lists
    after theirs the time that is left can be told.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.kind = ""
        self.so_far = 0
        self.begun = self.last = time.monotonic()
        self.first: float | None = None
        self.oldest_customer: float | None = None

    def tell(self, state: BackfillList, done: int) -> None:
        """Say that `done` more objects of a list were worked through."""
        if state.kind != self.kind:
            self.stack.close()
            self.kind, self.begun, self.first, self.so_far = state.kind, self.last, None, 0
            self.advance = self.stack.enter_context(progress(_name(state), None))
        self.so_far, self.last = self.so_far + done, time.monotonic()
        at = state.created_at.timestamp() if state.created_at else None
        if state.kind == "customer":
            self.oldest_customer = at
        doing = f"{self.so_far / (self.last - self.begun):,.0f} a second"
        if state.created_at and at is not None:
            doing += f", back to {state.created_at:%Y-%m-%d}{self._left(at)}"
        self.advance(done, doing)

    def _left(self, at: float) -> str:
        self.first = self.first or at
        covered, whole = self.first - at, self.first - (self.oldest_customer or at)
        if self.kind == "customer" or covered <= 0 or whole <= covered:
            return ""
        seconds = (self.last - self.begun) * (whole - covered) / covered
        return f", about {seconds / 60:,.0f} min left" if seconds >= 60 else f", about {seconds:,.0f} s left"


def _name(state: BackfillList) -> str:
    return f"{state.kind}s"
