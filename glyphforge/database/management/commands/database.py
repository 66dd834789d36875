"""`manage.py database …`: what an operator does to the database as a whole. Each subcommand is thin."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, transaction
from rich.filesize import decimal
from rich.table import Table

from glyphforge.database import (
    backup,
    connection,
    diagram,
    drill,
    freeze,
    installation,
    mending,
    restore,
    roles,
    status,
    verify,
)
from glyphforge.database.connection import DatabaseError
from glyphforge.database.migrate import migrate
from glyphforge.observability.terminal import print_table


class Command(BaseCommand):
    """Each subcommand calls one function of `glyphforge.database` and prints its result, as JSON with `--json`.

    Failures end in one line and exit code 1, and so does `verify` when it finds a difference.
    """

    help = "Test, initialise, verify, describe, back up and restore the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database",
            help="alias of the connection; by default MAINTENANCE_DATABASE_URL's for verify, backup, restore and drill",
        )
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        self._add(actions, "test", self._test, "connect; say server version, role and latency")
        initialising = self._add(actions, "init", self._init, "migrate; install groups and schedules")
        initialising.add_argument(
            "--roles",
            action="store_true",
            dest="with_roles",
            help="also create the SQL roles and grant them their rights (superuser)",
        )
        verifying = self._add(
            actions, "verify", self._verify, "compare the database with what the migrations define", maintenance=True
        )
        verifying.add_argument(
            "--sql", action="store_true", help="print the statements that mend each difference, for psql"
        )
        self._add(actions, "status", self._status, "migrations, sizes, partitions, last runs of jobs and backups")
        for name, text in (
            ("adopt", "make a copy production: schedules run, messages go out, Stripe is written to"),
            ("disown", "make this database a copy, which is silent; for a clone that its identity does not give away"),
        ):
            deciding = self._add(actions, name, self._decide, text, maintenance=True)
            deciding.set_defaults(name=name)
            deciding.add_argument("--apply", action="store_true", help="do it; without, only say what would be done")
        self._add(actions, "diagram", self._diagram, "print the entity-relationship diagram as Mermaid text")
        freezing = self._add(actions, "freeze", self._freeze, "write a migration's frozen SQL from the definitions")
        freezing.add_argument("app", help="the app's label")
        freezing.add_argument("name", help="NNNN_topic")
        freezing.add_argument(
            "objects", nargs="*", metavar="OBJECT", help="its kind and name, as views/NAME; default: all"
        )
        freezing.add_argument("--recreate", action="store_true", help="drop changed views and make them anew")
        taking = self._add(
            actions, "backup", self._backup, "write a verified backup with its manifest", maintenance=True
        )
        taking.add_argument("file", type=Path, nargs="?", help="default: a dated file in BACKUP_DIR, else var/backups")
        content = taking.add_mutually_exclusive_group()
        content.add_argument("--schema-only", action="store_true")
        content.add_argument("--data-only", action="store_true")
        restoring = self._add(
            actions, "restore", self._restore, "restore a backup into an empty database", maintenance=True
        )
        restoring.add_argument("file", type=Path)
        restoring.add_argument("--into", metavar="NAME", help="another database of this server, created when missing")
        drilling = self._add(
            actions,
            "drill",
            self._drill,
            "restore a backup into a scratch database, compare, drop it",
            maintenance=True,
        )
        drilling.add_argument("file", type=Path, nargs="?", help="default: the newest in BACKUP_DIR, else var/backups")

    @staticmethod
    def _add(
        actions: Any, name: str, run: Callable[..., None], text: str, *, maintenance: bool = False
    ) -> ArgumentParser:
        parser: ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.set_defaults(run=run, maintenance=maintenance)
        return parser

    def handle(self, *, run: Callable[..., None], database: str | None, maintenance: bool, **options: Any) -> None:
        alias = database or (connection.maintenance_alias() if maintenance else DEFAULT_DB_ALIAS)
        try:
            run(database=alias, **options)
        except (DatabaseError, Error) as error:
            problem = connection.one_line(error)
            if maintenance and "permission denied" in problem and alias == DEFAULT_DB_ALIAS:
                problem += ": name a role that may in MAINTENANCE_DATABASE_URL"
            raise CommandError(problem) from error

    def _test(self, *, database: str, json: bool, **_: Any) -> None:
        found = connection.probe(database)
        self._print(
            json,
            asdict(found),
            f"Connected to {found.database} as {found.role}: PostgreSQL {found.server_version}, {found.latency_ms} ms",
        )

    def _init(self, *, database: str, json: bool, with_roles: bool, **_: Any) -> None:
        connection.probe(database)
        ran = migrate(database)
        installed = roles.install(database) if with_roles else []
        text = f"Ready: {ran} migrations applied, groups and schedules in place"
        if installed:
            text += f"; SQL roles {', '.join(installed)}: give each a password with \\password in psql"
        if not installation.is_production(database):
            text += f". {installation.COPY}"
        self._print(json, {"migrations": ran, "roles": installed}, text)

    def _verify(self, *, database: str, json: bool, sql: bool, **_: Any) -> None:
        compared = verify.compare(database)
        found = compared.differences
        values: dict[str, Any] = {"differences": [asdict(each) for each in found]}
        text = "\n".join(map(str, found)) or "The database is what the migrations define."
        if sql:
            values["sql"] = text = mending.script(compared)
        self._print(json, values, text)
        if found:
            raise SystemExit(1)

    def _status(self, *, database: str, json: bool, **_: Any) -> None:
        found = status.report(database)
        if json:
            self._print(json, found, "")
            return
        waiting = found["migrations"]["unapplied"]
        missing = f", {len(waiting)} not applied: {', '.join(waiting[:5])}" if waiting else ", none missing"
        self.stdout.write(f"Database {found['database']}: {decimal(found['total_bytes'])}")
        self.stdout.write(f"Migrations: {found['migrations']['applied']} applied{missing}")
        for part, rows in found.items():
            if isinstance(rows, list):
                self._table(part, rows)

    def _decide(self, *, database: str, json: bool, name: str, apply: bool, **_: Any) -> None:
        here, before = installation.this(database), installation.adopted(database)
        decide = installation.adopt if name == "adopt" else installation.disown
        with transaction.atomic(using=database):
            decide(database, actor=installation.command_user())
            if not apply:
                transaction.set_rollback(True, using=database)
        installation.forget()
        becomes = "production" if name == "adopt" else "a copy"
        self._print(
            json,
            {"database": asdict(here), "production": asdict(before) if before else None, "applied": apply},
            f"{here} is now {becomes}" if apply else f"{here} would become {becomes}: --apply does it",
        )

    def _diagram(self, *, json: bool, **_: Any) -> None:
        drawn = diagram.entity_relationship_diagram()
        self._print(json, {"mermaid": drawn}, drawn)

    def _freeze(self, *, json: bool, app: str, name: str, objects: list[str], recreate: bool, **_: Any) -> None:
        written = freeze.freeze(app, name, objects, recreate=recreate)
        self._print(json, {"files": [str(path) for path in written]}, "\n".join(f"Wrote {path}" for path in written))

    def _backup(
        self, *, database: str, json: bool, file: Path | None, schema_only: bool, data_only: bool, **_: Any
    ) -> None:
        content: backup.Content = "schema" if schema_only else "data" if data_only else "full"
        path, made = backup.take(file, content=content, alias=database)
        rows = sum(made.row_counts.values())
        self._print(
            json,
            {"file": str(path), **asdict(made)},
            f"{path}: {decimal(made.bytes)}, {rows:,} rows, read back in full, SHA-256 {made.sha256}",
        )

    def _restore(self, *, database: str, json: bool, file: Path, into: str | None, **_: Any) -> None:
        made = restore.restore(file, into=into, alias=database)
        rows = sum(made.row_counts.values())
        text = f"Restored {file}: {rows:,} rows, as the manifest says. The database is a copy, which is silent"
        self._print(json, {"file": str(file), "rows": rows}, f"{text} until manage.py database adopt --apply")

    def _drill(self, *, database: str, json: bool, file: Path | None, **_: Any) -> None:
        done = drill.drill(file, alias=database)
        text = f"{done.file} can be restored: {done.row_count:,} rows and all definitions agree, {done.seconds} s"
        self._print(json, asdict(done), text)

    def _print(self, as_json: bool, values: dict[str, Any], text: str) -> None:
        self.stdout.write(json.dumps(values, default=str) if as_json else text)

    def _table(self, title: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            self.stdout.write(f"{title.capitalize()}: none")
            return
        table = Table(title=title.capitalize(), title_justify="left")
        for name in rows[0]:
            table.add_column(name.replace("_", " "), justify="right" if isinstance(rows[0][name], int) else "left")
        for row in rows:
            shown = [decimal(value) if name.endswith("bytes") and value else value for name, value in row.items()]
            table.add_row(
                *("" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in shown)
            )
        print_table(self.stdout, table)
