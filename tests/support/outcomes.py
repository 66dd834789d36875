"""What comes of calling every function, and where two such runs differ."""

from collections import defaultdict
from typing import Any

Rows = list[dict[str, Any]]
# What came of a run: the rows of each table and of each function's answer, by name. A failure is a row too.
Outcome = dict[str, Rows]
# Columns that are equal in two runs of the same minute only, or as quick.
OF_THE_CLOCK = {"duration_ms", "window_start", "expires_at", "reset_at"}


def volatile(one: Outcome, other: Outcome) -> dict[str, set[str]]:
    """The columns, by source, in which two equal runs differ, or might: clocks, sequences, random numbers."""
    differing: dict[str, set[str]] = defaultdict(set)
    for source, rows in one.items():
        differing[source] |= OF_THE_CLOCK
        for column in {name for row in rows for name in row}:
            if _values(rows, column) != _values(other.get(source, []), column):
                differing[source].add(column)
    return differing


def _values(rows: Rows, column: str) -> list[str]:
    return sorted(repr(row.get(column)) for row in rows)


def differences(expected: Outcome, found: Outcome, ignored: dict[str, set[str]]) -> dict[str, tuple[Rows, Rows]]:
    """The rows, by source, that only one of the two runs has, without the columns that are `ignored`."""
    differing = {}
    for source in expected.keys() | found.keys():
        known, seen = (_without(run_.get(source, []), ignored.get(source, set())) for run_ in (expected, found))
        if sorted(map(repr, known)) != sorted(map(repr, seen)):
            differing[source] = ([row for row in known if row not in seen], [row for row in seen if row not in known])
    return differing


def _without(rows: Rows, columns: set[str]) -> Rows:
    return [{name: value for name, value in row.items() if name not in columns} for row in rows]
