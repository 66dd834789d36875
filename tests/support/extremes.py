"""What SQL can be made to write: for each type of column the values at and beyond its ends."""

import json
import random
from typing import Any

from tests.support.sql import query, run

_random = random.Random(20261101)


def noise(length: int, first: int = 0x4E00, last: int = 0x9FA5) -> str:
    """Characters that no index compresses; by default of three octets each."""
    return "".join(chr(_random.randint(first, last)) for _ in range(length))


TEXTS = (
    *("", " ", "\n\t", "\x01\x7f", "'\"\\%_;--", "=1+1", "{}", "NaN", "infinity", "\u202e\u0301\ufeff", "ΐ" * 150),
    *(noise(length) for length in (60, 85, 166, 200, 266, 500, 666, 900, 2048, 2730, 100_000)),
    *(noise(length, 0x21, 0x7E) for length in (63, 255, 512, 800, 2000, 2704, 8192)),
    noise(2048, 0x1F300, 0x1F5FF),
)
MOMENTS = (
    *("-infinity", "infinity", "0001-01-01 00:00:00+00", "1969-12-31 23:59:59+00", "1970-01-01 00:00:00+00"),
    *("2199-12-31 23:59:59.999999+00", "2200-01-01 00:00:00+00", "9999-12-31 23:59:59+00", "294276-12-31 00:00:00+00"),
)
NESTED: Any = 1
for _ in range(300):
    NESTED = [{"a": NESTED}]
EXTREMES: dict[str, tuple[Any, ...]] = {
    "text": TEXTS,
    "timestamptz": MOMENTS,
    "date": tuple(moment.split()[0] for moment in MOMENTS),
    "int2": (-(2**15), -1, 0, 2**15 - 1),
    "int4": (-(2**31), -1, 0, 1, 100, 599, 2**31 - 1),
    "int8": (-(2**63), -1, 0, 1, 999_999_999_999, 10**15, 2**63 - 1),
    "numeric": ("NaN", "Infinity", "-Infinity", -1, 0, "1e-300", "1e8", "1e300"),
    "bool": (True, False),
    "jsonb": (
        {},
        [],
        "text",
        1e300,
        NESTED,
        {noise(5000): noise(100_000)},
        {"data": {"object": 7}},
        {"differences": 7},
    ),
    "uuid": ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "inet": ("0.0.0.0", "255.255.255.255/0", "::", "ffff::1/3"),
}


def store(table: str, usual: dict[str, str]) -> dict[str, int]:
    """Write rows of the table, of which each has one column at an extreme; how many of each column were taken.

    `usual` has expressions of the other columns, by name, in which #n is the row's number. What the database refuses,
    it must refuse by a rule: raises whatever else goes wrong, such as an index that cannot hold the row.
    """
    columns = query(
        "SELECT a.attname AS name, t.typname AS type, a.attnotnull AS required FROM pg_attribute AS a"
        " JOIN pg_type AS t ON t.oid = a.atttypid"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity <> 'a'",
        table,
    )
    taken = {}
    number = 0
    for column in columns:
        values = EXTREMES.get(column["type"], ()) + (() if column["required"] else (None,))
        taken[column["name"]] = 0
        names = [name for name in usual if name != column["name"]]
        quoted = [f'"{name}"' for name in [*names, column["name"]]]
        expressions = [*(f"({usual[name]})" for name in names), f"%L::{column['type']}"]
        statement = f"INSERT INTO {table} ({', '.join(quoted)}) VALUES ({', '.join(expressions)})"
        for value in values:
            number += 1
            text = value if value is None or isinstance(value, str) else json.dumps(value)
            ((inserted,),) = run("SELECT pg_temp.try_insert(%s, %s, %s)", statement, number, text)
            taken[column["name"]] += inserted
    return taken


TRY_INSERT = """
CREATE FUNCTION pg_temp.try_insert(statement text, n int, value text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE replace(replace(statement, '#n', n::text), '%L', quote_nullable(value));
    RETURN 1;
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR plpgsql_error OR insufficient_privilege THEN
    RETURN 0;
END
$$
"""
