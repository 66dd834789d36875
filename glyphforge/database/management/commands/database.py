"""`manage.py database …`: what an operator does to the database as a whole. Each subcommand is thin."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error
from rich.filesize import decimal
from rich.table import Table

from glyphforge.database import backup, connection, diagram, drill, freeze, mending, restore, roles, status, verify
from glyphforge.database.connection import DatabaseError
from glyphforge.database.migrate import migrate
from glyphforge.observability.terminal import print_table


class Command(BaseCommand):
    """Each subcommand calls one function of `glyphforge.database` and prints its result, as JSON with `--json`.

    Failures end in one line and exit code 1, and so does `verify` when it finds a difference.
    """

    help = "Test, initialise, verify, describe, back up and restore the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the connection")
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        self._add(actions, "test", self._test, "connect; say server version, role and latency")
        initialising = self._add(actions, "init", self._init, "migrate; install groups and schedules")
        initialising.add_argument(
            "--roles",
            action="store_true",
            dest="with_roles",
            help="also create the SQL roles and grant them their rights (superuser)",
        )
        verifying = self._add(actions, "verify", self._verify, "compare the database with what the migrations define")
        verifying.add_argument(
            "--sql", action="store_true", help="print the statements that mend each difference, for psql"
        )
        self._add(actions, "status", self._status, "migrations, sizes, partitions, last runs of jobs and backups")
        self._add(actions, "diagram", self._diagram, "print the entity-relationship diagram as Mermaid text")
        freezing = self._add(actions, "freeze", self._freeze, "write a migration's frozen SQL from the definitions")
        freezing.add_argument("app", help="the app's label")
        freezing.add_argument("name", help="NNNN_topic")
        freezing.add_argument(
            "objects", nargs="*", metavar="OBJECT", help="its kind and name, as views/NAME; default: all"
        )
        freezing.add_argument("--recreate", action="store_true", help="drop changed views and make them anew")
        taking = self._add(actions, "backup", self._backup, "write a verified backup with its manifest")
        taking.add_argument("file", type=Path, nargs="?", help="default: a dated file in BACKUP_DIR, else var/backups")
        content = taking.add_mutually_exclusive_group()
        content.add_argument("--schema-only", action="store_true")
        content.add_argument("--data-only", action="store_true")
        restoring = self._add(actions, "restore", self._restore, "restore a backup into an empty database")
        restoring.add_argument("file", type=Path)
        restoring.add_argument("--into", metavar="NAME", help="another database of this server, created when missing")
        drilling = self._add(
            actions, "drill", self._drill, "restore a backup into a scratch database, compare, drop it"
        )
        drilling.add_argument("file", type=Path, nargs="?", help="default: the newest in BACKUP_DIR, else var/backups")

    @staticmethod
    def _add(actions: Any, name: str, run: Callable[..., None], text: str) -> ArgumentParser:
        parser: ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.set_defaults(run=run)
        return parser

    def handle(self, *, run: Callable[..., None], **options: Any) -> None:
        try:
            run(**options)
        except DatabaseError as error:
            raise CommandError(str(error)) from error
        except Error as error:
            raise CommandError(connection.one_line(error)) from error

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
        self._print(json, {"file": str(file), "rows": rows}, f"Restored {file}: {rows:,} rows, as the manifest says")

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
