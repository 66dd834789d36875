"""Backups: whether they can be written and read back here."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import connections
from django.template.defaultfilters import filesizeformat

from glyphforge.database.connection import DatabaseError, maintenance_alias, program
from monitoring.doctor.finding import Finding, critical, ok, warning


def backups() -> Iterator[Finding]:
    """The folder, its room, and the programs of PostgreSQL; without a folder, nothing is said that settings do not."""
    if not settings.BACKUP_DIR:
        yield ok("BACKUP_DIR is not set: no backups are kept on this machine")
        return
    folder = Path(settings.BACKUP_DIR)
    alias = maintenance_alias()
    if not folder.is_dir():
        yield critical(f"BACKUP_DIR: {folder} is no folder", f"mount it, or: install --directory --mode=0700 {folder}")
    elif not os.access(folder, os.W_OK | os.X_OK):
        fix = f"chown $(id -un) {folder}, as root, for the user that the worker runs as"
        yield critical(f"BACKUP_DIR: {folder} cannot be written to", fix)
    else:
        yield _room(folder, alias)
    for name in ("pg_dump", "pg_restore"):
        try:
            program(name, alias)
        except DatabaseError as error:
            version = connections[alias].cursor().connection.info.server_version // 10000
            yield critical(str(error), f"apt-get install postgresql-client-{version}")


def _room(folder: Path, alias: str) -> Finding:
    free = shutil.disk_usage(folder).free
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        (size,) = cursor.fetchone()
    text = f"{filesizeformat(free)} free in {folder}, the database has {filesizeformat(size)}"
    if free < size:
        return warning(text, "make room there, or keep fewer: BACKUP_KEEP")
    return ok(text)
