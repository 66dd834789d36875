"""`manage.py reencrypt_second_factors`: the last step when DJANGO_SECRET_KEY is rotated (docs/rotate-secrets.md)."""

from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from glyphforge import audit
from glyphforge.staff.adapters import reencrypt


class Command(BaseCommand):
    """All or nothing: a second factor that no key can read stops it, and none is changed."""

    help = "Encrypts staff's second factors under today's DJANGO_SECRET_KEY, the last step of its rotation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write; without it nothing changes")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["apply"]:
            self.stdout.write(f"Would encrypt {Authenticator.objects.count()} second factors anew; --apply does it.")
            return
        with audit.acting_as(actor="command", reason="Rotation of DJANGO_SECRET_KEY"), transaction.atomic():
            authenticators = list(Authenticator.objects.select_for_update().select_related("user"))
            for authenticator in authenticators:
                try:
                    reencrypt(authenticator)
                except InvalidToken as error:
                    raise CommandError(
                        f"The second factor of {authenticator.user.get_username()} cannot be read with any key; add the"
                        " old one to DJANGO_SECRET_KEY_FALLBACKS, or use reset_second_factor."
                    ) from error
        self.stdout.write(f"{len(authenticators)} second factors encrypted anew.")
