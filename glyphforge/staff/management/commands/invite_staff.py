"""`manage.py invite_staff`: the link by which an account sets up its first second factor (docs/security.md)."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from glyphforge import audit
from glyphforge.staff import invitations, sessions


class Command(BaseCommand):
    """Prints the link, with an audit row that holds the reason.

    Refuses an unknown name, an account that is switched off or has a second factor, and to go on without a reason.
    """

    help = "Prints the link by which an account sets up its first second factor: it works once, for a day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", default="", help="who asked, and how they proved who they are")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"No account that is switched on is named {options['username']!r}.")
        if sessions.has_factor(user.pk):
            raise CommandError(f"{user.get_username()} has a second factor; reset_second_factor takes it off.")
        if not options["reason"].strip():
            raise CommandError("--reason is needed: who asked, and how they proved who they are.")
        with audit.acting_as(actor="command", reason=options["reason"].strip()):
            audit.record("invite", table_name="auth_user", row_id=user.pk)
        self.stdout.write(invitations.link(user))
