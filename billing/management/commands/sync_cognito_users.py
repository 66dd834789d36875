"""Sync customers from the Cognito user pool, as the job `cognito` does hourly."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.table import Table

from billing.cognito import sync
from billing.cognito.pool import Pool
from glyphforge.errors import Refused
from glyphforge.observability.terminal import print_table


class Command(BaseCommand):
    """Prints each action with the customer and why; what was found before a refusal is printed too."""

    help = "Sync customers from the Cognito user pool. Preview unless --apply; goes on where it was interrupted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write; without it nothing changes")
        parser.add_argument("--restart", action="store_true", help="from the first page, also after an interruption")
        parser.add_argument("--allow-many", action="store_true", help="suspend more than a tenth of the customers")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.COGNITO_USER_POOL_ID:
            raise CommandError("COGNITO_USER_POOL_ID is not set.")
        counts: Counter[str] = Counter()
        table = Table("action", "customer", "why")
        try:
            for step in sync.sync_pool(
                Pool(settings.COGNITO_USER_POOL_ID),
                apply=options["apply"],
                restart=options["restart"],
                allow_many=options["allow_many"],
            ):
                counts[step.action] += 1
                table.add_row(step.action, step.subject, step.detail)
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        finally:
            if table.rows:
                print_table(self.stdout, table)
        summary = ", ".join(f"{count} {action}" for action, count in sorted(counts.items())) or "nothing to do"
        self.stdout.write(f"{summary}{'' if options['apply'] or not counts else '; --apply does it'}.")
