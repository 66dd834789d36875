"""How large the company is."""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """How many rows of what matters; requests are spread over as many days."""

    users: int
    requests: int
    events: int
    audit_rows: int
    days: int = 60

    def __str__(self) -> str:
        return (
            f"{self.users:,} users, {self.requests:,} requests, {self.events:,} events, {self.audit_rows:,} audit rows"
        )


QUICK = Size(users=10_000, requests=300_000, events=20_000, audit_rows=100_000)
FULL = Size(users=100_000, requests=5_000_000, events=200_000, audit_rows=1_000_000)


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--full` for the size that the promises are about, `--fresh` for a database filled anew."""
    parser.add_argument("--full", action="store_true", help=f"at {FULL}")
    parser.add_argument("--fresh", action="store_true", help="fill the database anew, even where one was kept")


def chosen(options: argparse.Namespace) -> Size:
    """The size that was asked for."""
    return FULL if options.full else QUICK
