"""Taking over a Stripe account that has a past, for the command."""

from __future__ import annotations

from collections.abc import Callable

from billing.models import BackfillList
from billing.stripe import pace
from billing.stripe.backfill import run as backfill
from billing.stripe.reconciliation import holder
from glyphforge.audit import acting_as


def run(
    *,
    actor: str,
    reason: str,
    rate: float,
    apply: bool = False,
    anew: bool = False,
    progress: Callable[[BackfillList, int], None] = lambda state, done: None,
) -> backfill.Run:
    """Go on with the takeover that was interrupted, or begin one, at most `rate` requests a second; returns it.

    Without `apply` it is a preview, which writes nothing; with `anew` an interrupted one is not gone on with.
    `progress` is called after each page with its list and number of objects. Raises UnderWayError while another one is
    under way; one that Stripe or the database ended is returned, with the row's `status` failed and its `error`.
    """

    def tell(state: BackfillList, done: int) -> None:
        alive()
        progress(state, done)

    with holder.held("takeover") as alive, acting_as(actor=actor, reason=reason), pace.at_most(rate):
        opened = backfill.opened(applies=apply, anew=anew, actor=actor, reason=reason)
        opened.advance(tell)
    return opened
