"""Writes a migration's frozen pair of SQL files from the definitions beside them.

Up: each object as its file defines it today. Down: as the last pair that holds it defined it, or gone. An object is
named by its kind and file, `tables/audit_log`.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.apps import AppConfig, apps
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import NOT_PROVIDED

from glyphforge.database.alteration import alter
from glyphforge.database.connection import DatabaseError
from glyphforge.database.desired import KINDS
from glyphforge.database.frozen_sql import RunSQLFile

NAME = re.compile(r"[0-9]{4}_[a-z0-9_]+")
HEADER = "-- Frozen by `manage.py database freeze`: a later migration changes what this one made.\n"
# Where an object begins, or what belongs to none.
MARK = re.compile(r"^--!(?: (?P<name>[a-z]+/\w+))?\n", re.MULTILINE)
CHECKSUMS = "checksums.sha256"
# What a changed table became stands in a comment behind the statements: the next change starts from it.
ALTERED = "The table is now:"

KEEP_RIGHTS = """DO $$ BEGIN DROP TABLE IF EXISTS pg_temp.kept_rights; END $$;
CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    c.relname,
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ({names}) AND a.grantee <> c.relowner;
"""
RESTORE_RIGHTS = """--!
DO $$
DECLARE
    kept record;
BEGIN
    -- A view that is gone has no rights.
    FOR kept IN SELECT k.statement FROM kept_rights AS k WHERE to_regclass(quote_ident(k.relname)) IS NOT NULL LOOP
        EXECUTE kept.statement;
    END LOOP;
    -- Another migration of this transaction may keep rights, too.
    DROP TABLE kept_rights;
END
$$;
"""

# What a definition makes, and how it is taken away.
_FUNCTION = re.compile(r"(?ms)^CREATE FUNCTION (?P<name>\w+)(?P<signature>\(.*?\)\s+RETURNS\s.*?)\nLANGUAGE")
_VIEW = re.compile(r"(?m)^CREATE VIEW (?P<name>\w+)")
_TABLE = re.compile(r"(?m)^CREATE (?:UNLOGGED )?TABLE (?P<name>\w+) ")
_INDEX = re.compile(r"(?m)^CREATE (?:UNIQUE )?INDEX (?P<name>\w+)")
_TRIGGER = re.compile(r"(?ms)^CREATE (?:CONSTRAINT )?TRIGGER (?P<name>\w+)\b.*?\bON (?P<table>\w+)")
_COMMENT = re.compile(r"--.*$", re.MULTILINE)
# Of a statement of alteration.alter().
_TYPE = re.compile(r"(?m)^ALTER TABLE \w+ ALTER COLUMN \w+ TYPE ")


@dataclass(frozen=True)
class Definition:
    """One object's file: its kind, its name and its text."""

    kind: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    def replace(self, before: str) -> str:
        """The statements that make it of what `before` defined; DatabaseError for a table that no ALTER makes of it."""
        if self.kind == "tables":
            return f"{alter(before, self.text)}/* {ALTERED}\n{self.text}*/\n"
        if self.kind == "views":  # columns can be appended; more than that needs it away
            return self.text.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1)
        if self.kind == "triggers":
            gone = set(_triggers(before)) - set(_triggers(self.text))
            dropped = "".join(f"DROP TRIGGER {name} ON {table};\n" for name, table in sorted(gone))
            return dropped + self.text.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER")
        if self.kind == "functions":
            new, old = _FUNCTION.search(self.text), _FUNCTION.search(before)
            if new and old and new.groups() == old.groups():
                return self.text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
        return f"{Definition(self.kind, self.name, before).drop()}\n{self.text}"

    def drop(self) -> str:
        """The statements that take it away."""
        if self.kind == "functions":
            return "".join(f"DROP FUNCTION {match['name']};\n" for match in _FUNCTION.finditer(self.text))
        if self.kind == "triggers":
            return "".join(f"DROP TRIGGER {name} ON {table};\n" for name, table in reversed(_triggers(self.text)))
        pattern, word = {
            "views": (_VIEW, "VIEW"),
            "tables": (_TABLE, "TABLE"),
            "indexes": (_INDEX, "INDEX"),
        }[self.kind]
        names = [match["name"] for match in pattern.finditer(self.text)]
        if self.kind == "tables":
            names = names[:1]  # partitions go with their parent
        return "".join(f"DROP {word} {name};\n" for name in reversed(names))

    @property
    def needs(self) -> set[str]:
        """The words that must mean something when it is made: of a function those of its signature only."""
        text = _COMMENT.sub("", self.text)
        return set(re.findall(r"\w+", text.split("AS $$")[0] if self.kind == "functions" else text))


def _named(name: str, text: str) -> Definition:
    kind, _, name = name.partition("/")
    return Definition(kind, name, text)


def _triggers(text: str) -> list[tuple[str, str]]:
    return [(match["name"], match["table"]) for match in _TRIGGER.finditer(text)]


def freeze(label: str, name: str, objects: Sequence[str] = (), *, recreate: bool = False) -> list[Path]:
    """Write `<name>.up.sql`, `<name>.down.sql` and the migration `<name>.py` of the app `label`; returns the files.

    Without `objects` everything whose file is not as the last pair that holds it; an object whose file is gone is
    dropped, a table altered as alteration.alter() says. A changed view is replaced, which lets it gain columns only;
    with `recreate` it is dropped and made anew, with the app's views that read it. What the models changed goes into
    the migration's state. All or nothing: whatever is raised, nothing is left half written. Raises DatabaseError for an
    unknown app or object, a name that is taken or no NNNN_topic, a change that no statement makes, and when nothing
    would change.
    """
    if not NAME.fullmatch(name):
        raise DatabaseError(f"{name!r} is no name of a migration: use four digits and a topic, as 0002_limits")
    try:
        config = apps.get_app_config(label)
    except LookupError:
        raise DatabaseError(f"there is no app {label}; there are {', '.join(sorted(_with_definitions()))}") from None
    root = Path(config.path)
    up, down = pair = [root / "sql" / "migrations" / f"{name}.{way}.sql" for way in ("up", "down")]
    migration = root / "migrations" / f"{name}.py"
    if taken := [path for path in (*pair, migration) if path.exists()]:
        raise DatabaseError(f"{taken[0].name} exists already: a frozen pair is never written twice")
    before = frozen(config)
    chosen = dict(_chosen(config, objects, before))
    if not chosen:
        raise DatabaseError(f"nothing to freeze: every object of {label} is as its last pair says")
    after = {name: text for name, text in (before | chosen).items() if text}
    texts = {
        up: f"{HEADER}\n{_change(before, after, recreate=recreate, marked=True)}",
        # The columns that a view gained go only with the view.
        down: f"{HEADER}\n{_change(after, before, recreate=True, marked=False)}",
    }
    checksums, package = up.parent / CHECKSUMS, migration.parent / "__init__.py"
    with _undone_on_error([*pair, checksums, package, migration]):
        package.touch()
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        # Built from the pair and the package, which must be there by now.
        migration.write_text(_migration(config, name), encoding="utf-8")
        with checksums.open("a", encoding="ascii") as sums:
            sums.writelines(f"{_sha256(path)}  {path.name}\n" for path in pair)
    return [*pair, migration]


@contextmanager
def _undone_on_error(paths: Sequence[Path]) -> Iterator[None]:
    """Make the files' folders; whatever the block raises, files and folders are as they were before."""
    contents = {path: path.read_bytes() if path.exists() else None for path in paths}
    made = {path.parent for path in paths if not path.parent.exists()}
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:  # the detector of changes exits where it would ask a person
        for path, content in contents.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _with_definitions() -> Iterator[str]:
    return (config.label for config in apps.get_app_configs() if any(definitions(config)))


def definitions(config: AppConfig) -> Iterator[Definition]:
    """Every object that the app's files define."""
    for kind in KINDS:
        folder = Path(config.path) / "sql" / kind
        for path in sorted(folder.glob("*.sql")):
            yield Definition(kind, path.stem, path.read_text(encoding="utf-8"))


def frozen(config: AppConfig) -> dict[str, str]:
    """The text of every object, by its name, in the last pair that holds it."""
    found: dict[str, str] = {}
    for path in sorted((Path(config.path) / "sql" / "migrations").glob("*.up.sql")):
        text = path.read_text(encoding="utf-8")
        marks = list(MARK.finditer(text))
        for mark, following in zip(marks, [*marks[1:], None], strict=False):  # of a pair of data there are none
            end = following.start() if following else len(text)
            if mark["name"]:
                found[mark["name"]] = _as_defined(text[mark.end() : end])
    return {name: text for name, text in found.items() if text}


def _as_defined(text: str) -> str:
    """The definition in what a pair runs, "" of what is gone: as the comment behind it says, or without the drops."""
    _, altered, definition = text.partition(f"/* {ALTERED}\n")
    if altered:
        return definition.rpartition("*/")[0]
    text = re.sub(r"\A(?:DROP [^\n]*;\n+|-- Gone\.\n+)+", "", text)
    text = re.sub(r"CREATE OR REPLACE (FUNCTION|VIEW|TRIGGER)", r"CREATE \1", text)
    return text.strip() and text.strip() + "\n"


def _chosen(config: AppConfig, objects: Sequence[str], before: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The objects to freeze, by name, with today's text; "" of one whose file is gone."""
    known = {str(each): each.text for each in definitions(config)}
    for name in objects:
        if name not in known and name not in before:
            raise DatabaseError(f"{name}: {config.label} defines no such object; name it by kind and file: views/NAME")
    for name in objects or dict.fromkeys([*known, *before]):
        if before.get(name, "").strip() != known.get(name, "").strip():
            yield name, known.get(name, "")


def _in_order(wanted: Iterable[Definition]) -> list[Definition]:
    """So that each comes after what it needs; kinds in their order where nothing else decides."""
    waiting = sorted(wanted, key=lambda each: (KINDS.index(each.kind), each.name))
    names = {each.name for each in waiting if each.kind in {"tables", "functions", "views"}}
    ordered: list[Definition] = []
    while waiting:
        made = {each.name for each in ordered}
        ready = next(
            (each for each in waiting if not (each.needs & names) - made - {each.name}),
            waiting[0],  # a circle, which PostgreSQL will name
        )
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def _change(old: dict[str, str], new: dict[str, str], *, recreate: bool, marked: bool) -> str:
    """The statements that turn what the app's texts `old` define, by name, into what `new` defines."""
    before, after = ([_named(name, text) for name, text in texts.items()] for texts in (old, new))
    gone = [each for each in before if str(each) not in new]
    changed = [each for each in after if old.get(str(each)) != each.text]
    # Views that go, or that change more than by columns at their end, are away meanwhile, with their readers.
    away = [each for each in before if each.kind == "views" and (each in gone or (recreate and each not in after))]
    away += _readers(away, before)
    # A new view may read one of them.
    names_of_back = {str(each) for each in away} | ({str(each) for each in after} - set(old) if away else set())
    back = [each for each in after if each.kind == "views" and str(each) in names_of_back]
    # A column cannot go, or change its type, while a trigger names it.
    altered = [each for each in changed if each.kind == "tables" and str(each) in old]
    retyped = {each.name for each in altered if _TYPE.search(alter(old[str(each)], each.text))}
    changed += [
        each
        for each in after
        if each.kind == "triggers" and each not in changed and {table for _, table in _triggers(each.text)} & retyped
    ]
    swapped = {
        str(each): each for each in before if each.kind == "triggers" and altered and str(each) in map(str, changed)
    }
    statements = [
        (each, each.text if str(each) in swapped else _made(each, old.get(str(each))))
        for each in _in_order(changed)
        if each not in back
    ]
    # Triggers of partitions, which no file names, go with their tables: their functions go last.
    last_first = _in_order(gone)[::-1]
    rest = sorted(last_first, key=lambda each: "RETURNS trigger" in each.text)
    dropped = [(each, "-- Gone.\n" if each in away else each.drop()) for each in rest]
    remade = [(each, each.text) for each in _in_order(back)]
    # Bodies may name what a later statement makes.
    parts = ["SET LOCAL check_function_bodies = off;\n"]
    if away:
        names = ", ".join(f"'{each.name}'" for each in _in_order(away))
        parts += [KEEP_RIGHTS.format(names=names), "".join(each.drop() for each in _in_order(away)[::-1])]
    parts += [each.drop() for each in swapped.values()]
    parts += [f"--! {each}\n{text}" if marked else text for each, text in (*statements, *remade, *dropped)]
    if away:
        parts.append(RESTORE_RIGHTS)
    return "\n".join(parts)


def _made(each: Definition, before: str | None) -> str:
    return each.replace(before) if before else each.text


def _readers(views: Sequence[Definition], among: Sequence[Definition]) -> list[Definition]:
    """The other views among those that read one of the views, directly or through each other."""
    found = list(views)
    for _ in among:
        names = {each.name for each in found}
        found += [each for each in among if each.kind == "views" and each.name not in names and each.needs & names]
    return found[len(views) :]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _NobodyAsked(NonInteractiveMigrationQuestioner):
    """What a new column holds in the rows that are there is for the SQL to say."""

    def ask_not_null_addition(self, field_name: str, model_name: str) -> object:
        return NOT_PROVIDED


def _migration(config: AppConfig, name: str) -> str:
    """The migration's text: it runs the pair, and its state is that of today's models."""
    loader = MigrationLoader(None)
    detector = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps), _NobodyAsked())
    changes = detector.changes(graph=loader.graph, trim_to_apps={config.label}).get(config.label, [])
    states = [operation for change in changes for operation in change.operations]
    others = {needed for change in changes for needed in change.dependencies if needed[0] != config.label}
    others |= _last_of_others(config, loader)
    made = type("Migration", (Migration,), {})(name, config.label)
    made.operations = [RunSQLFile(config.name, name, state_operations=states)]
    made.dependencies = [*loader.graph.leaf_nodes(config.label), *sorted(others)]
    imports, rest = MigrationWriter(made, include_header=False).as_string().split("\n\n", 1)
    ours = f"import {__package__}."
    # As the linter sorts them: the packages that are installed, then those of the project.
    groups = [[line for line in imports.splitlines() if line.startswith(ours) is own] for own in (False, True)]
    return "\n\n".join(["\n".join(group) for group in groups] + [rest])


def _last_of_others(config: AppConfig, loader: MigrationLoader) -> set[tuple[str, str]]:
    """The last migrations of the other apps with SQL, which run as they were written, before this one.

    And of those whose tables its SQL names: `sql_needs` of the app's configuration.

    This package knows no app of the project that it is put into: where one of its migrations changes what such an app
    calls as it is made, the app's own migration says `run_before`.
    """
    package = __package__.partition(".")[0] + "."
    others = {
        each.label
        for each in apps.get_app_configs()
        if (Path(each.path) / "sql").is_dir()
        and each is not config
        and (each.name.startswith(package) or not config.name.startswith(package))
    }
    leaves = {leaf for app in others for leaf in loader.graph.leaf_nodes(app)}
    # A package's migrations may be replaced by others, of other names.
    return leaves | {(app, "__latest__") for app in getattr(config, "sql_needs", ())}
