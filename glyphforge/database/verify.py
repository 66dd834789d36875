"""Drift: every difference between the database and what the project defines.

Our own tables, functions, triggers and views are compared with the desired state, which is built in a scratch schema
inside a transaction that is rolled back. Tables of installed packages are compared with their models, by column and
type.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db import connections, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from glyphforge.database import desired, grants, packages
from glyphforge.database.catalogue import FOR_MENDING, Catalogue, Key, read
from glyphforge.database.clock import database_time

SCRATCH = "glyphforge_verify"
MONTHS_AHEAD = 3
# On the first of a month the outermost one is not there yet: maintenance makes it until 02:00 UTC, and an hour is left
# for a late run.
MONTH_IS_DUE_AFTER = timedelta(hours=3)


@dataclass(frozen=True)
class Difference:
    """One object that is missing, extra or different; `detail` says what differs."""

    problem: Literal["missing", "extra", "different"]
    kind: str
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.problem} {self.kind} {self.name}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True)
class Comparison:
    """What differs, sorted by kind and name, and both states as far as they were compared.

    `packages` names the tables of installed packages, of which columns alone are compared.
    """

    differences: list[Difference]
    expected: Catalogue
    actual: Catalogue
    packages: frozenset[str]


def differences(alias: str = "default", *, now: datetime | None = None, with_rights: bool = True) -> list[Difference]:
    """Every difference, sorted by kind and name; see `compare`."""
    return compare(alias, now=now, with_rights=with_rights).differences


def compare(alias: str = "default", *, now: datetime | None = None, with_rights: bool = True) -> Comparison:
    """Compare the database with its definitions; needs the right to create a schema, and leaves nothing behind.

    `now` is the moment for whose months partitions must exist: for a restored backup, when it was taken. Rights are
    compared where `database init --roles` has given the tables to their owner.
    """
    theirs = packages.tables(alias)
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        actual = read(cursor, "public", search_path="public")
        owner = actual.get(Key("table", "django_migrations"), {}).get("owner")
        expected = desired_state(cursor, theirs)
        cursor.execute("RESET search_path")
        given = list(_rights(cursor)) if with_rights and owner == grants.OWNER else []
    # Of a package's table nothing is ours but the triggers that a definition puts on it.
    expected = {
        key: value
        for key, value in expected.items()
        if key.kind == "trigger" or key.name.partition(".")[0] not in theirs
    }
    for attributes in expected.values():
        if "owner" in attributes:
            attributes["owner"] = owner
    _expect_monthly_partitions(expected, actual, (now or database_time(alias)).astimezone(UTC))
    _expect_packages(expected, actual, theirs)
    found = [*_migrations(alias), *_compare(expected, actual), *(difference for difference, _ in given)]
    expected |= {Key(difference.kind, difference.name): {"statement": mends} for difference, mends in given}
    found.sort(key=lambda difference: (difference.kind, difference.name))
    return Comparison(found, expected, actual, frozenset(theirs))


def desired_state(cursor: Any, theirs: packages.Tables) -> Catalogue:
    """What the definitions make beside the tables of packages; its scratch schema is gone again."""
    alias = cursor.db.alias
    savepoint = transaction.savepoint(using=alias)
    desired.build(cursor, SCRATCH, (packages.stand_in(*table) for table in theirs.items()))
    state = read(cursor, SCRATCH, search_path=f"{SCRATCH}, public")
    transaction.savepoint_rollback(savepoint, using=alias)
    return state


def _compare(expected: Catalogue, actual: Catalogue) -> Iterator[Difference]:
    tables = {key.name for key in expected if key.kind in {"table", "view"}}
    for key, wanted in expected.items():
        if key not in actual:
            # A missing table is one difference, not one for each of its columns.
            if key.kind in {"table", "view"} or _exists(key.name.partition(".")[0], actual) or "." not in key.name:
                yield Difference("missing", key.kind, key.name)
        elif detail := _differing(wanted, actual[key]):
            yield Difference("different", key.kind, key.name, detail)
    for key in actual.keys() - expected.keys():
        holder, dot, _ = key.name.partition(".")
        if not dot or holder in tables:
            yield Difference("extra", key.kind, key.name)


def _exists(name: str, actual: Catalogue) -> bool:
    return Key("table", name) in actual or Key("view", name) in actual


def _differing(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    parts = []
    for name, value in wanted.items():
        if name in FOR_MENDING or found.get(name) == value:
            continue
        if name in {"body", "definition"} and len(f"{value}{found.get(name)}") > 160:
            parts.append(f"{name} differs")
        else:
            parts.append(f"{name} is {_shown(found.get(name))}, not {_shown(value)}")
    return "; ".join(parts)


def _shown(value: Any) -> str:
    return "none" if value in (None, "", []) else str(value)


def _expect_monthly_partitions(expected: Catalogue, actual: Catalogue, now: datetime) -> None:
    """This month and three ahead must exist; whatever months exist must look like the default partition."""
    defaults = {
        shape["of"]: shape
        for key, shape in expected.items()
        if key.kind == "partition" and shape["bounds"] == "DEFAULT"
    }
    this_month = _number(now)
    outermost = _number(now - MONTH_IS_DUE_AFTER) + MONTHS_AHEAD
    for parent, shape in defaults.items():
        covered = {}
        for key, found in actual.items():
            if key.kind == "partition" and found["of"] == parent and found["bounds"] != "DEFAULT":
                month = _month_of(found["bounds"])
                covered[month] = key
                bounds = _bounds(month) if month is not None else "one calendar month (UTC)"
                expected[key] = shape | {"bounds": bounds}
        for month in range(this_month, outermost + 1):
            if month not in covered:
                name = f"{parent}_{month // 12}_{month % 12 + 1:02}"
                expected[Key("partition", name)] = shape | {"bounds": _bounds(month)}


def _number(moment: datetime) -> int:
    """The number of its month, counted from year 0."""
    return moment.year * 12 + moment.month - 1


def _bounds(month: int) -> str:
    starts, ends = (f"{number // 12}-{number % 12 + 1:02}-01 00:00:00+00" for number in (month, month + 1))
    return f"FOR VALUES FROM ('{starts}') TO ('{ends}')"


def _month_of(bounds: str) -> int | None:
    """The number of the month, counted from year 0, that the bounds begin with."""
    match = re.match(r"FOR VALUES FROM \('(\d+)-(\d\d)-01 00:00:00\+00'\)", bounds)
    return int(match[1]) * 12 + int(match[2]) - 1 if match else None


def _expect_packages(expected: Catalogue, actual: Catalogue, tables: packages.Tables) -> None:
    """Add the tables of installed packages; their constraints, indexes and sequences are their own affair."""
    for table, columns in tables.items():
        expected[Key("table", table)] = {}
        expected |= {Key("column", f"{table}.{name}"): attributes for name, attributes in columns.items()}
    for key, found in actual.items():
        holder = found["owned by"] if key.kind == "sequence" else key.name
        if key.kind in {"constraint", "index", "sequence"} and str(holder).partition(".")[0] in tables:
            expected[key] = {}


def _rights(cursor: Any) -> Iterator[tuple[Difference, str]]:
    """What differs in the rights of our roles, an object and role at a time, with the statements that mend it."""
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [list(grants.ROLES)])
    known = {name for (name,) in cursor.fetchall()} | {"PUBLIC"}
    for role in sorted(set(grants.ROLES) - known):
        yield Difference("missing", "role", role, "a superuser makes it: manage.py database init --roles"), ""
    cursor.execute("SET LOCAL search_path = public")
    should, has = ({each for each in side(cursor) if each.role in known} for side in (grants.wanted, grants.actual))
    cursor.execute("RESET search_path")
    for kind, name, role in sorted({(each.kind, each.name, each.role) for each in should ^ has}):
        missing, surplus = (
            {each for each in side if (each.kind, each.name, each.role) == (kind, name, role)}
            for side in (should - has, has - should)
        )
        words = [
            f"{word} {', '.join(sorted(f'{each.privilege} {each.column}'.strip() for each in side))}"
            for word, side in (("lacks", missing), ("should not have", surplus))
            if side
        ]
        mends = "; ".join(grants.changes(missing, surplus))
        yield Difference("different", "right", f"{name} of {role}", "; ".join(words)), mends
    if known >= set(grants.APPLICATIONS):
        for statement in grants.default_changes(cursor):
            yield Difference("different", "right", f"default of {grants.OWNER}", statement), statement


def _migrations(alias: str) -> Iterator[Difference]:
    recorder = MigrationRecorder(connections[alias])
    applied = set(recorder.applied_migrations())
    known = MigrationLoader(None).disk_migrations
    replaced = {old for migration in known.values() for old in migration.replaces}
    for app, name in sorted(known.keys() - applied):
        yield Difference("missing", "migration", f"{app}.{name}", "not applied")
    for app, name in sorted(applied - known.keys() - replaced):
        yield Difference("extra", "migration", f"{app}.{name}", "applied, but not in this version")
