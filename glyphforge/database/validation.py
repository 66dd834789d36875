"""Constraints that migrations added for new rows are made to hold for the old ones too, after `migrate`."""

import logging
import re
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.apps import AppConfig
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

logger = logging.getLogger(__name__)

_BOUND = re.compile(r"octet_length\(\"?(\w+)\"?\) <= (\d+)")
_WIDEST = 4  # octets of a character


def validate(using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Read the tables whose constraints have not seen every row; returns what is wrong, one line a constraint.

    Rows that break a bound of labels are cut to it, and those that break a range of times moved into it, so that an
    upgrade never stops at them; the log says how many. Anything else is for a person to mend. Readers and writers go on
    meanwhile: https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
    """
    problems: list[str] = []
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, quote_ident(conname), coalesce(pg_get_expr(conbin, conrelid), ''),"
            " ARRAY(SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey))"
            " FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND NOT convalidated AND conparentid = 0 AND coninhcount = 0"
            " ORDER BY 1, 2"
        )
        for table, found in groupby(cursor.fetchall(), itemgetter(0)):
            constraints = [_Constraint(*rest) for _, *rest in found]
            # All at once: a row may break several.
            mended = [each for each in constraints if each.mending]
            if mended:
                settings = ", ".join(each.mending for each in mended)
                broken = " OR ".join(f"NOT ({each.expression})" for each in mended)
                problems += _run(f"UPDATE {table} SET {settings} WHERE {broken}", table, cursor, using)
            for each in constraints:
                problems += _run(f"ALTER TABLE {table} VALIDATE CONSTRAINT {each.name}", table, cursor, using)
    return problems


@dataclass(frozen=True)
class _Constraint:
    name: str
    expression: str
    columns: list[str]

    @property
    def mending(self) -> str:
        """How a row is made to fit, by the name of the constraint; nothing for one of another kind."""
        if self.name.endswith(("_texts_bounded", "_length")):
            return ", ".join(
                f'"{column}" = CASE WHEN octet_length("{column}") > {octets}'
                f' THEN left("{column}", {int(octets) // _WIDEST}) ELSE "{column}" END'
                for column, octets in _BOUND.findall(self.expression)
            )
        if self.name.endswith("_times_plausible"):
            return ", ".join(
                f"{column} = CASE WHEN {column} IS NOT NULL"
                f" THEN least(greatest({column}, '1970-01-01 00:00:00+00'), '2199-12-31 23:59:59+00') END"
                for column in self.columns
            )
        return ""


def _run(statement: str, table: str, cursor: Any, using: str) -> list[str]:
    try:
        with transaction.atomic(using=using):
            cursor.execute(statement)
    except Error as error:
        return [f"{table}: {str(error).splitlines()[0]}; mend it, then run migrate again"]
    if cursor.rowcount > 0:
        logger.warning("%s: %s rows were cut or moved to fit", table, cursor.rowcount)
    return []


def after_migrate(app_config: AppConfig, using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    """Validate once every app has migrated; a receiver of `post_migrate`. `database verify` lists what stays."""
    for problem in validate(using):
        logger.warning("%s", problem)
