"""Tell owners of keys that will expire or that nobody uses, and revoke unused ones a month after."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.table import Table

from billing.keys import ageing
from glyphforge.database import installation
from glyphforge.errors import Refused
from glyphforge.observability.terminal import print_table


class Command(BaseCommand):
    """`--json` prints `applied` and `keys`, each with `key_prefix`, `email`, `done` and `occasion`."""

    help = (
        "Tell owners of keys that will expire or are unused; revoke unused ones a month after. Preview unless --apply."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--idle-days", type=int, help="a key is unused that was not used for so many days, 30 or more"
        )
        parser.add_argument("--apply", action="store_true", help="tell and revoke; without it nothing changes")
        parser.add_argument("--reason", default="Unused keys are revoked", help="kept in the audit log")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            steps = ageing.due(options["idle_days"])
            if options["apply"]:
                steps = ageing.carry_out(steps, actor=installation.command_user(), reason=options["reason"])
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        rows = [
            {
                "key_prefix": step.key.key_prefix,
                "email": step.key.user.email,
                "done": step.done,
                "occasion": step.occasion,
            }
            for step in steps
        ]
        if options["json"]:
            self.stdout.write(json.dumps({"applied": options["apply"], "keys": rows}))
            return
        if rows:
            table = Table("key", "e-mail", "owner is told, or key revoked", "as it")
            for row in rows:
                table.add_row(row["key_prefix"], row["email"] or "", row["done"], row["occasion"])
            print_table(self.stdout, table)
        self.stdout.write(f"{len(rows)} keys {'done' if options['apply'] else 'found; --apply tells and revokes'}.")
