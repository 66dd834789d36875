"""What load balancers and orchestrators ask: is the process up, and can it do its work?"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from django.core.cache import cache
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from glyphforge.database.budget import LOCK_SECONDS, SECONDS, limited
from monitoring.models import ReadinessRequest
from monitoring.worker.heartbeat import Throttle, queue_state

# Reading every migration takes a tenth of a second; only the answer "all applied" is kept.
MIGRATED_SECONDS = 60
_noting = Throttle(seconds=60)

logger = logging.getLogger(__name__)


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers; touches neither database nor queue."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database is reachable, every migration applied and a worker alive; else 503, naming what is not."""
    checks: dict[str, str] = {}
    for name, problem in CHECKS.items():
        if checks.get("database", "ok") != "ok":
            checks[name] = "not asked: the database does not answer"  # each would wait for it in vain
            continue
        try:
            checks[name] = problem() or "ok"
        except Error as error:
            # The class says enough to a prober; the message may name hosts and roles.
            checks[name] = f"database error ({type(error.__cause__ or error).__name__})"
    if checks["database"] == "ok":
        _note_asked()
    ready = all(result == "ok" for result in checks.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)


def _limited() -> AbstractContextManager[None]:
    # A prober gives up after a few seconds, and then nobody learns what is wrong.
    return limited(lock_seconds=LOCK_SECONDS, statement_seconds=SECONDS)


def _note_asked() -> None:
    if _noting.passes():
        try:
            with _limited():
                ReadinessRequest.note()
        except Error:
            # The answer says what is wrong with the database.
            logger.warning("It cannot be noted that /readyz was asked", exc_info=True)


def _database() -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return None


def _migrations() -> str | None:
    if cache.get("readyz:migrated"):
        return None
    with _limited():
        loader = MigrationLoader(connection)
    # Not a plan up to the last ones: that would overlook one that is missing in between.
    missing = loader.graph.nodes.keys() - loader.applied_migrations.keys()
    if missing:
        return f"{len(missing)} migrations are not applied"
    cache.set("readyz:migrated", True, MIGRATED_SECONDS)
    return None


def _worker() -> str | None:
    with _limited():
        state = queue_state()
    if state.alive:
        return None
    if state.seconds_since_sign_of_life is None:
        return "no worker has given a sign of life"
    return f"no sign of life for {state.seconds_since_sign_of_life:.0f} seconds"


CHECKS: dict[str, Callable[[], str | None]] = {"database": _database, "migrations": _migrations, "worker": _worker}
