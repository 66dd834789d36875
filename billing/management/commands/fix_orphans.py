"""Give the free plan to customers with a Stripe customer but no live subscription."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand
from rich.table import Table

from billing.services import orphans
from glyphforge.observability.terminal import print_table


class Command(BaseCommand):
    """`--json` prints `applied` and `orphans`, each with `user_id`, `email`, `stripe_customer_id` and `action`."""

    help = "Give customers with a Stripe customer but no live subscription the free plan. Preview unless --apply."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write; without it nothing changes")
        parser.add_argument("--reason", default="fix_orphans command", help="kept in the audit log")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        found = orphans.fix(actor="command", reason=options["reason"]) if options["apply"] else orphans.preview()
        if options["json"]:
            rows = [asdict(orphan) for orphan in found]
            self.stdout.write(json.dumps({"applied": options["apply"], "orphans": rows}))
            return
        if found:
            table = Table("customer", "e-mail", "Stripe customer", "action")
            for orphan in found:
                table.add_row(orphan.user_id, orphan.email or "", orphan.stripe_customer_id, orphan.action)
            print_table(self.stdout, table)
        self.stdout.write(f"{len(found)} orphans {'fixed' if options['apply'] else 'found; --apply fixes them'}.")
