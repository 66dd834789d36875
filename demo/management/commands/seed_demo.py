"""`manage.py seed_demo`: demo data of any size, written into the database that the settings name."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from demo.seed import seeding


class Command(BaseCommand):
    """Refuses less than one customer, a negative number of requests and, where DEBUG is off, a run without `--force`.

    A database that has demo data already stays as it is without `--more`.
    """

    help = "Write synthetic customers, subscriptions, payments, keys, usage and troubles, for demo and load tests."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--users", type=int, default=3000, help="how many customers (default: %(default)s)")
        parser.add_argument("--usage", type=int, default=300_000, help="how many API requests (default: %(default)s)")
        parser.add_argument("--seed", type=int, default=1, help="another number gives other people")
        parser.add_argument("--more", action="store_true", help="add to a database that has demo data already")
        parser.add_argument("--force", action="store_true", help="write even where DEBUG is off")

    def handle(self, *, users: int, usage: int, seed: int, more: bool, force: bool, **options: Any) -> None:
        if not settings.DEBUG and not force:
            raise CommandError("DEBUG is off, so this may be a real database; --force writes all the same")
        if users < 1:
            raise CommandError(f"--users: {users} is not at least 1")
        if usage < 0:
            raise CommandError(f"--usage: {usage} is negative")
        if seeding.is_seeded() and not more:
            self.stdout.write("This database has demo data already; --more adds to it.")
            return
        seeding.seed(users=users, usage=usage, seed=seed)
        self.stdout.write(f"Seeded {users:,} customers and {usage:,} requests.")
