"""`manage.py reset_second_factor`: for staff who lost phone and recovery codes (docs/security.md)."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from glyphforge import audit


class Command(BaseCommand):
    """Removes app and recovery codes of one account, with an audit row that holds the reason.

    Refuses an unknown name, an account without a second factor, and to write without a reason.
    """

    help = (
        "Takes the second factor off an account whose phone and recovery codes are lost; prints first, --apply does it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", default="", help="who asked, and how they proved who they are")
        parser.add_argument("--apply", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"No account is named {options['username']!r}.")
        authenticators = Authenticator.objects.filter(user=user)
        found = ", ".join(sorted(authenticators.values_list("type", flat=True)))
        if not found:
            raise CommandError(f"{user.get_username()} has no second factor.")
        if not options["apply"]:
            self.stdout.write(f"Would remove {found} of {user.get_username()}. Run again with --apply and --reason.")
            return
        if not options["reason"].strip():
            raise CommandError("--reason is needed: who asked, and how they proved who they are.")
        with audit.acting_as(actor="command", reason=options["reason"].strip()), transaction.atomic():
            authenticators.delete()
            audit.record("reset_second_factor", table_name="auth_user", row_id=user.pk)
        self.stdout.write(f"Removed {found} of {user.get_username()}. The next sign-in sets up a new one.")
