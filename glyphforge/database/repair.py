"""Mends chosen differences of the schema at once, for a person who asked for it on a page."""

from collections.abc import Collection
from contextlib import nullcontext
from itertools import groupby

from django.db import Error, connections, transaction
from psycopg.errors import InsufficientPrivilege

from glyphforge import audit
from glyphforge.database import mending, verify
from glyphforge.database.connection import one_line
from glyphforge.database.mending.step import Step
from glyphforge.errors import Refused

# What can be made anew without touching a row.
KINDS = ("index", "trigger", "function", "view")
# Less than a proxy lets a page wait.
LONGEST = "25s"


def repair(names: Collection[tuple[str, str]], *, alias: str, actor: str, reason: str) -> int:
    """Mend the differences of these kinds and names; returns how many there were.

    `alias` is the connection of the owner. Indexes are built CONCURRENTLY where that is possible, everything between
    them in one transaction. The audit row, with the statements, is written before: an index cannot be built in its
    transaction. Refuses kinds that hold rows, what no longer differs, and what the database refuses, with its reason.
    """
    if other := {kind for kind, _ in names} - set(KINDS):
        raise Refused(
            f"{', '.join(sorted(other))}: run what manage.py database verify --sql prints; no page repairs it."
        )
    try:
        comparison = verify.compare(alias)
        chosen = [
            each for each in comparison.differences if (each.kind, each.name) in names and each.problem != "extra"
        ]
        steps = [step for step in mending.plan(comparison, chosen) if step.statement]
        if not steps:
            raise Refused(
                "Nothing to repair: it does not differ any more. Run the job verify to bring the page up to date."
            )
        with transaction.atomic(), audit.acting_as(actor=actor, reason=reason):
            audit.record(
                "repair_schema",
                table_name="schema",
                row_id=", ".join(f"{each.kind} {each.name}" for each in chosen),
                new_values={"statements": mending.text(steps)},
            )
        _run(alias, steps)
    except Error as error:
        hint = " Name a role that may in MAINTENANCE_DATABASE_URL." if _is_want_of_rights(error) else ""
        raise Refused(f"The database refused: {one_line(error)}{hint}") from error
    return len(chosen)


def _is_want_of_rights(error: Error) -> bool:
    return isinstance(error.__cause__, InsufficientPrivilege)


def _run(alias: str, steps: list[Step]) -> None:
    connection = connections[alias]
    # A transaction around all of it, as that of a test, forbids CONCURRENTLY.
    within = connection.in_atomic_block
    with connection.cursor() as cursor:
        for setting in (*mending.SETTINGS, f"SET statement_timeout = '{LONGEST}'"):
            cursor.execute(setting)
        try:
            for alone, group in groupby(steps, key=_is_concurrent):
                with nullcontext() if alone and not within else transaction.atomic(using=alias):
                    for step in group:
                        cursor.execute(step.statement.replace(" CONCURRENTLY", "", 1) if within else step.statement)
        finally:
            for name in ("search_path", "check_function_bodies", "lock_timeout", "statement_timeout"):
                cursor.execute(f"RESET {name}")


def _is_concurrent(step: Step) -> bool:
    return " INDEX CONCURRENTLY " in step.statement.partition("\n")[0]
