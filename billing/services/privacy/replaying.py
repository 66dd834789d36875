"""The list of who was erased, kept beside backups: a backup that is restored knows them still.

It names customers by their ids and says who decided, and nothing else of anybody.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, connections

from billing.models import User
from billing.services.privacy import erasure
from glyphforge.approval.models import Approval
from glyphforge.errors import Refused

logger = logging.getLogger(__name__)

FILE = "erasures.json"


@dataclass(frozen=True)
class Erased:
    """A customer who was erased: the request and who asked for it and approved it, times in ISO 8601."""

    customer: str
    request: str
    asked_by: str
    approved_by: str
    decided_at: str


def known(using: str = DEFAULT_DB_ALIAS) -> list[Erased]:
    """Who is, or is about to be, erased in a database; nobody where it does not know of that yet."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regclass('approvals')")
        if cursor.fetchone() == (None,):
            return []
    found = Approval.objects.using(using).filter(
        kind=erasure.KIND, state__in=(Approval.State.APPROVED, Approval.State.DONE)
    )
    columns = found.order_by("decided_at", "pk").values_list("subject", "pk", "asked_by", "decided_by", "decided_at")
    return [
        Erased(subject, str(pk), asked_by, str(decided_by), decided_at.isoformat())
        for subject, pk, asked_by, decided_by, decided_at in columns
        if decided_at
    ]


def write(folder: Path, using: str = DEFAULT_DB_ALIAS) -> None:
    """Put the list of `known` into the folder of the backups, with whom an earlier list there names."""
    path = folder / FILE
    merged = {each.request: each for each in [*(read(path) if path.exists() else []), *known(using)]}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(each) for each in merged.values()], indent=1) + "\n")
    partial.chmod(0o600)
    partial.replace(path)


def read(path: Path) -> list[Erased]:
    """The list in a file. Refuses one that is none."""
    try:
        values = json.loads(path.read_text())
        found = [Erased(**each) for each in values]
        for each in found:
            for text in (each.customer, each.request):
                uuid.UUID(text)
    except (OSError, ValueError, TypeError) as error:
        raise Refused(f"{path}: no list of erased customers ({error})") from error
    return found


def keep(folder: Path) -> None:
    """As `write`, of what has just been decided; where that cannot be, the next backup does it."""
    try:
        write(folder)
    except (OSError, Refused):
        logger.warning("The list of erased customers cannot be kept in %s", folder, exc_info=True)


def after_restore(using: str, folder: Path, source: str) -> str:
    """Erase again in a database that was restored whom the list beside the backup, or `source`, names; says so.

    The database of an earlier release has to be migrated first.
    """
    path = folder / FILE
    listed = {each.request: each for each in [*(read(path) if path.exists() else []), *known(source)]}
    if not listed:
        return ""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regclass('approvals')")
        if cursor.fetchone() == (None,):
            return f"After migrate: manage.py customer erase-again {path} --apply"
    with as_default(using):
        found = erase_again(list(listed.values()))
    return f"{len(found)} customers who were erased since are erased again" if found else ""


@contextmanager
def as_default(using: str) -> Iterator[None]:
    """Let another database be the one that all services work on."""
    own = connections[DEFAULT_DB_ALIAS]
    connections[DEFAULT_DB_ALIAS] = connections[using]
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = own


def to_erase(listed: list[Erased]) -> list[Erased]:
    """Those of the list who are here and not erased."""
    ids = [each.customer for each in listed]
    here = {str(pk) for pk in User.objects.filter(pk__in=ids, erased_at=None).values_list("pk", flat=True)}
    return [each for each in listed if each.customer in here]


def erase_again(listed: list[Erased]) -> list[Erased]:
    """Erase those of the list who are here again, by the decision that the list tells of; returns them.

    What would have refused it, a subscription that lived at the time of the backup, refuses it no more.
    """
    found = to_erase(listed)
    for each in found:
        request, _ = Approval.objects.get_or_create(
            pk=each.request,
            defaults={
                "kind": erasure.KIND,
                "subject": each.customer,
                "summary": f"Erase customer {each.customer}",
                "asked_by": each.asked_by,
                "reason": "Erased before the backup was restored",
                "state": Approval.State.APPROVED,
                "decided_by": each.approved_by,
                "decided_at": each.decided_at,
                "decision_reason": "Approved before the backup was restored",
            },
        )
        erasure.carry_out(request, again=True)
    return found
