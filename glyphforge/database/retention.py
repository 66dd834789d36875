"""How many backups are kept, and which files are ours to delete."""

import re
import time
from pathlib import Path

from django.db import connections

from glyphforge.database import backup, manifest
from glyphforge.database.connection import DatabaseError
from glyphforge.errors import LeftOut

# What `backup.NAME` makes, with what a backup that was killed leaves beside it.
DUMP = re.compile(r"glyphforge-\d{8}T\d{6}Z\.dump")
LEFTOVER = re.compile(rf"\.{DUMP.pattern}\.\d+\.partial")
# Longer than any backup takes: what is younger may be one that is being written.
LEFTOVER_SECONDS = 24 * 3600


def prune(keep: int, *, alias: str = "default") -> list[Path]:
    """Delete the good backups in `backup.folder()` but the newest `keep`, and what killed ones left; the files deleted.

    Ours is only what backup_runs names as made by this database under a name of its own choice: files of others, of
    other databases and with names that somebody gave stay, and so do damaged ones. A damaged one counts for nothing, so
    the newest good one is always among those that stay. Raises ValueError for a `keep` below 1, and LeftOut, when the
    others are deleted, with those that cannot be.
    """
    if keep < 1:
        raise ValueError(f"at least one backup is kept, not {keep}")
    deleted, left = [], []
    for path in (*_good(alias)[keep:], *_leftovers()):
        try:
            path.unlink(missing_ok=True)
            if DUMP.fullmatch(path.name):
                # The manifest last: without it the file could no longer be told from a damaged one, were this killed.
                manifest.path_for(path).unlink(missing_ok=True)
            deleted.append(path)
        except OSError as error:
            left.append(f"{error.filename}: {error.strerror}")
    if left:
        raise LeftOut(left, done=len(deleted))
    return deleted


def _good(alias: str) -> list[Path]:
    """This database's own full backups of the right size, the newest first."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT file FROM backup_runs WHERE kind = 'backup' AND status = 'succeeded'")
        ours = {file for (file,) in cursor.fetchall()}
    named = (path for path in backup.folder().iterdir() if DUMP.fullmatch(path.name) and str(path) in ours)
    return sorted(filter(_is_whole, named), reverse=True)


def _is_whole(path: Path) -> bool:
    try:
        made = manifest.read(path)
        return made.content == "full" and path.stat().st_size == made.bytes
    except (DatabaseError, OSError):
        return False


def _leftovers() -> list[Path]:
    """Partial files, and manifests without their file, of backups that were killed a day ago or earlier."""
    found = []
    for path in backup.folder().iterdir():
        orphan = DUMP.fullmatch(path.stem) and path.suffix == ".json" and not path.with_suffix("").exists()
        if (orphan or LEFTOVER.fullmatch(path.name)) and time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
            found.append(path)
    return found
