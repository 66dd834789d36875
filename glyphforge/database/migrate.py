"""Migrating with visible progress: the vendors' migrations take most of a minute on a new database."""

from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.core.management.commands.migrate import Command as MigrateCommand
from django.core.management.sql import emit_post_migrate_signal
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from glyphforge.observability.terminal import Advance, progress


def unapplied(alias: str = "default") -> list[str]:
    """The migrations that `migrate` would run, as `app.name`, in order."""
    executor = MigrationExecutor(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def migrate(alias: str = "default") -> int:
    """Run `migrate` with a progress bar; returns how many migrations it ran.

    Without any to run it still installs what the apps keep in step after migrating: permissions, groups, schedules.
    """
    pending = len(unapplied(alias))
    if not pending:
        # What `migrate` would do too, less the ten seconds in which it rebuilds the vendors' models.
        emit_post_migrate_signal(verbosity=0, interactive=False, db=alias, plan=[], apps=apps)
        return 0
    with progress("Migrating the database", pending) as advance:
        call_command(_migrate_with(advance), database=alias, verbosity=0, interactive=False)
    return pending


def _migrate_with(advance: Advance) -> MigrateCommand:
    class Migrate(MigrateCommand):
        def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
            if action == "apply_start":
                advance(0, str(migration))
            elif action == "apply_success":
                advance(1)

    return Migrate()
