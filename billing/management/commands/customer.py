"""`manage.py customer`: everything about a person handed out as a ZIP, or erased."""

import json
import uuid
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from rich.table import Table

from billing.models import User
from billing.services.privacy import erasure, export, replaying
from glyphforge.database import backup, installation
from glyphforge.errors import Refused
from glyphforge.observability.terminal import print_table


class Command(BaseCommand):
    """`--json` prints one object; what is refused is one line and exit code 1."""

    help = (
        "Export everything about a customer, or erase it. Erasing previews unless --apply, and needs a second person."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        exporting = actions.add_parser("export", help="write everything about a customer into a ZIP")
        erasing = actions.add_parser("erase", help="erase all that says who a customer was; invoices and figures stay")
        for each in (exporting, erasing):
            each.add_argument("customer", metavar="EMAIL", help="the address; an id or a Stripe customer works too")
            each.add_argument("--reason", default="", help="kept in the audit log")
        exporting.add_argument("file", type=Path, nargs="?", help="default: customer-ID.zip here; never overwritten")
        erasing.add_argument(
            "--apply", action="store_true", help="ask for it, and once another person has approved it, do it"
        )
        again = actions.add_parser("erase-again", help="erase in this database, a restored one, who was erased before")
        again.add_argument("file", type=Path, help="the list beside a backup, erasures.json")
        again.add_argument("--apply", action="store_true", help="do it; without, only say who would be erased")
        for each in (exporting, erasing, again):
            each.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            if action == "export":
                self._export(**options)
            elif action == "erase":
                self._erase(**options)
            else:
                self._erase_again(**options)
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal

    def _export(self, *, customer: str, file: Path | None, reason: str, json: bool, **_: Any) -> None:
        user = _found(customer)
        path = file or Path(f"customer-{user.pk}.zip")
        counts = export.to_file(user, path, actor=installation.command_user(), reason=reason or "customer export")
        self._print(json, {"file": str(path), "rows": counts}, f"{path}: {sum(counts.values()):,} rows about {user}")

    def _erase(self, *, customer: str, apply: bool, reason: str, json: bool, **_: Any) -> None:
        user = _found(customer)
        if not apply:
            self._preview(user, as_json=json)
            return
        request = erasure.request_of(user)
        if request is None:
            request = erasure.ask(user, actor=installation.command_user(), reason=reason)
        if request.decided_by is None:
            text = f"Asked for by {request.asked_by}. Another person has to approve it on the page Approvals."
            self._print(json, {"customer": str(user.pk), "state": request.state, "rows": {}}, text)
            return
        counts = erasure.carry_out(request)
        replaying.keep(backup.folder())
        elsewhere = "\n".join(erasure.elsewhere(user))
        text = f"Customer {user.pk} is erased: {sum(counts.values()):,} rows changed.\n{elsewhere}"
        self._print(json, {"customer": str(user.pk), "state": "done", "rows": dict(counts)}, text)

    def _preview(self, user: User, *, as_json: bool) -> None:
        found = erasure.preview(user)
        values = {
            "customer": str(user.pk),
            "state": "preview",
            "rows": found.rows,
            "refused": found.refusals,
            "elsewhere": found.elsewhere,
        }
        if not as_json:
            table = Table("table", "rows")
            for name, count in found.rows.items():
                table.add_row(name, f"{count:,}")
            print_table(self.stdout, table)
        lines = [*found.elsewhere, *(f"Refused: {why}" for why in found.refusals)]
        if not found.refusals:
            lines.append("--apply --reason TEXT asks for it; another person approves it on the page Approvals.")
        self._print(as_json, values, "\n".join(lines))

    def _erase_again(self, *, file: Path, apply: bool, json: bool, **_: Any) -> None:
        known = replaying.read(file)
        done = replaying.erase_again(known) if apply else replaying.to_erase(known)
        said = "erased again" if apply else "would be erased again: --apply does it"
        values = {"applied": apply, "customers": [str(each) for each in done]}
        self._print(json, values, f"{len(done)} of {len(known)} customers {said}.")

    def _print(self, as_json: bool, values: dict[str, Any], text: str) -> None:
        self.stdout.write(json.dumps(values) if as_json else text)


def _found(text: str) -> User:
    """The customer of an address, an id, or a customer at Stripe."""
    wanted = Q(email__iexact=text) | Q(stripe_customers=text)
    with suppress(ValueError):
        wanted |= Q(pk=uuid.UUID(text))
    user = User.objects.filter(wanted).first()
    if user is None:
        raise Refused(f"No customer has the address or id {text!r}.")
    return user
