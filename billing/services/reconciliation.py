"""Comparing our tables with Stripe, for the daily job, the command and support."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import QuerySet

from billing.models import Difference, ReconciliationRun
from billing.services.stripe_calls import errors_as_refused
from billing.stripe.reconciliation import holder
from billing.stripe.reconciliation import repair as repairing
from billing.stripe.reconciliation import run as reconciliation
from glyphforge.audit import acting_as, record


def run(
    *,
    actor: str,
    reason: str,
    ingest: bool = True,
    repair: bool = False,
    budget: int = reconciliation.REQUEST_BUDGET,
    seconds: float | None = None,
    progress: Callable[[ReconciliationRun], None] | None = None,
) -> ReconciliationRun:
    """Go on with the unfinished run of the same kind, or start one, and work until it ends or is paused.

    `ingest` stores and processes events that never arrived; `repair` brings differing rows in line; without both
    nothing but the report is written. At most about `budget` requests are made, within about `seconds`; what is left
    waits for the next call. `progress` is called after each page and each customer. Raises UnderWayError while another
    run is under way; a run that Stripe ended is returned, with `status` failed and its `error`.
    """

    def tell(run: ReconciliationRun) -> None:
        alive()
        if progress:
            progress(run)

    with holder.held() as alive, acting_as(actor=actor, reason=reason):
        opened = reconciliation.open_run(ingest=ingest, repair=repair, actor=actor, reason=reason, budget=budget)
        reconciliation.advance(opened, seconds=seconds, progress=tell)
        record(
            "reconcile",
            table_name="reconciliation_runs",
            row_id=opened.pk,
            reason=reason,
            new_values={
                "status": opened.status,
                "compared": opened.compared,
                "missing_events": opened.missing_events,
                "differences_found": opened.differences_found,
                "repaired": opened.repaired,
            },
        )
    return opened


def repair(differences: QuerySet[Difference], *, actor: str, reason: str) -> int:
    """Bring the selected open differences in line with Stripe; returns how many were repaired.

    The others say in their note why not. Refuses when Stripe does not answer; what was repaired until then stays.
    """

    def audit(keys: list[int]) -> None:
        for key in keys:
            record("repair_difference", table_name="reconciliation_differences", row_id=key, reason=reason)

    with acting_as(actor=actor, reason=reason), errors_as_refused():
        return repairing.repair(differences, audit)
