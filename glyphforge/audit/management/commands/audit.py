"""`manage.py audit`: is the audit log what was sealed (docs/security.md)?"""

from argparse import ArgumentTypeError
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from glyphforge.audit import seals


class Command(BaseCommand):
    """`verify` recomputes the seals; exit 1, and the first row that is not as it was, when something differs."""

    help = "Recomputes the seals of the audit log; names the first row that was changed, removed, added or moved."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        verify = actions.add_parser("verify", help=self.help)
        verify.add_argument("--since", type=_day, help="only rows sealed on this day (UTC) or later: 2026-01-31")
        verify.add_argument(
            "--anchors",
            type=Path,
            action="append",
            default=[],
            help="a file that holds anchors, ID:SHA-256, as a mailed report or a backup's manifest; may be repeated",
        )
        actions.add_parser("anchor", help="prints the anchor of this moment, to be kept elsewhere")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "anchor":
            self.stdout.write(str(seals.anchor() or "Nothing is sealed yet: the job that does it has not run."))
            return
        known = {anchor for path in options["anchors"] for anchor in _anchors_of(path)}
        if found := seals.verify(options["since"], known):
            raise CommandError(f"The audit log is not what was sealed. First, {found}.")
        last = seals.anchor()
        sealed = f"sealed up to row {last.to_id}" if last else "nothing is sealed yet"
        self.stdout.write(f"The audit log is as it was sealed: {sealed}, {len(known)} anchors fit.")


def _anchors_of(path: Path) -> set[seals.Anchor]:
    try:
        found = seals.anchors_in(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise CommandError(f"--anchors: {error}") from error
    if not found:
        raise CommandError(f"--anchors: {path} holds no anchor, such as 4711:{'0' * 64}")
    return found


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day, such as 2026-01-31") from None
