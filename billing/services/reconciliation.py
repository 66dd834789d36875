"""Comparing our tables with Stripe, for the daily job, the command and support."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import QuerySet

from billing.models import Difference, ReconciliationRun
from billing.services.errors import Refused
from billing.services.stripe_calls import refusing
from billing.stripe import healing, reconciliation
from glyphforge.audit import acting_as, record


def run(
    *,
    actor: str,
    reason: str,
    take_in: bool = True,
    heal: bool = False,
    budget: int = reconciliation.REQUEST_BUDGET,
    seconds: float | None = None,
    progress: Callable[[ReconciliationRun], None] | None = None,
) -> ReconciliationRun:
    """Go on with the unfinished run of the same kind, or start one, and work until it ends or is paused.

    ``take_in`` stores and processes events that never arrived; ``heal`` brings differing rows in
    line; without both nothing but the report is written. At most about ``budget`` requests are
    made, within about ``seconds``; what is left waits for the next call. Refuses while another run is
    under way.
    """
    with acting_as(actor=actor, reason=reason):
        opened = reconciliation.open_run(take_in=take_in, heal=heal, actor=actor, reason=reason, budget=budget)
        if opened is None:
            raise Refused("Another reconciliation is under way.")
        reconciliation.advance(opened, seconds=seconds, progress=progress)
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
                "healed": opened.healed,
            },
        )
    return opened


def heal(differences: QuerySet[Difference], *, actor: str, reason: str) -> int:
    """Bring the selected open differences in line with Stripe; returns how many were healed."""
    chosen = list(differences.values_list("pk", flat=True))
    with acting_as(actor=actor, reason=reason):
        for pk in chosen:
            record("heal_difference", table_name="reconciliation_differences", row_id=pk, reason=reason)
        with refusing():
            return healing.heal(Difference.objects.filter(pk__in=chosen))
