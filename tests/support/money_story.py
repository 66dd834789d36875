"""What happens to charges at Stripe, step by step, and a reckoning of it by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json

DAY = 86_400
# Payments whose totals are not the sums of their movements.
MISMATCH = """
SELECT count(*) FROM payment_history AS p LEFT JOIN payment_totals AS t ON t.payment_id = p.id
WHERE (p.refunded_cents, p.disputed_cents, p.paid_at)
    IS DISTINCT FROM (coalesce(t.refunded_cents, 0), coalesce(t.disputed_cents, 0), t.paid_at)
"""


@dataclass(frozen=True)
class Given:
    """A refund or dispute: its amount, how many days after the settlement, what became of it and how much later."""

    cents: int
    after_days: int
    outcome: str
    outcome_days: int = 3


@dataclass(frozen=True)
class Paid:
    """A charge: `way` is card, debit, capture or undated (a card without balance transaction)."""

    cents: int
    currency: str
    created: int
    way: str
    settles_after_days: int
    refunds: tuple[Given, ...] = ()
    disputes: tuple[Given, ...] = ()


@dataclass(frozen=True)
class Fact:
    """What moved, when (Unix seconds) and how much of what currency: what the figures have to add up to."""

    kind: str
    at: int
    cents: int
    currency: str

    @property
    def month(self) -> str:
        return f"{datetime.fromtimestamp(self.at, UTC):%Y-%m}"


@dataclass
class Story:
    """Steps at Stripe in the order of time, each of which changes the world and is told by one event."""

    world: StripeWorld
    like: Json
    steps: list[tuple[int, str, str, Callable[[], None]]] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    def add(self, number: int, paid: Paid) -> None:
        """Let a charge happen, with all that comes of it."""
        charge_id = f"ch_story{number}"
        settled = paid.created + (paid.settles_after_days * DAY if paid.way in ("debit", "capture") else 0)
        charge = copy.deepcopy(self.like) | {
            "id": charge_id, "amount": paid.cents, "amount_captured": paid.cents, "created": paid.created,
            "currency": paid.currency, "payment_intent": None, "balance_transaction": None,
        }  # fmt: skip
        came_in = {} if paid.way == "undated" else {"balance_transaction": f"txn_{charge_id}"}
        if paid.way == "debit":
            self._step(paid.created, "charge.pending", charge, status="pending", paid=False)
            self._step(settled, "charge.succeeded", charge, status="succeeded", paid=True, **came_in)
        elif paid.way == "capture":
            self._step(paid.created, "charge.succeeded", charge, captured=False, amount_captured=0)
            self._step(settled, "charge.captured", charge, captured=True, amount_captured=paid.cents, **came_in)
        else:
            self._step(settled, "charge.succeeded", charge, **came_in)
        self.world.put(transaction(f"txn_{charge_id}", settled, paid.cents))
        self._fact("charge", settled, paid.cents, paid)
        for position, refund in enumerate(paid.refunds):
            self._refund(f"re_story{number}_{position}", charge, settled, refund, paid)
        for position, dispute in enumerate(paid.disputes):
            self._dispute(f"du_story{number}_{position}", charge, settled, dispute, paid)

    def _refund(self, refund_id: str, charge: Json, settled: int, given: Given, paid: Paid) -> None:
        made = settled + given.after_days * DAY
        refund: Json = {
            "id": refund_id, "object": "refund", "amount": given.cents, "charge": charge["id"], "created": made,
            "currency": paid.currency, "status": "succeeded", "balance_transaction": None,
            "failure_balance_transaction": None,
        }  # fmt: skip
        self._step(made, "refund.created", refund)
        self._step(made, "charge.refunded", charge, add=("amount_refunded", given.cents))
        self._fact("refund", made, -given.cents, paid)
        if given.outcome == "failed":
            failed = made + given.outcome_days * DAY
            self.world.put(transaction(f"txn_{refund_id}", failed, given.cents))
            self._step(failed, "charge.updated", charge, add=("amount_refunded", -given.cents))
            self._step(failed, "refund.failed", refund, status="failed", failure_balance_transaction=f"txn_{refund_id}")
            self._fact("refund_failed", failed, given.cents, paid)

    def _dispute(self, dispute_id: str, charge: Json, settled: int, given: Given, paid: Paid) -> None:
        opened = settled + given.after_days * DAY
        closed = opened + given.outcome_days * DAY
        inquiry = given.outcome == "inquiry"
        taken = line(f"txn_{dispute_id}", opened, -given.cents, paid.currency)
        dispute: Json = {
            "id": dispute_id, "object": "dispute", "amount": given.cents, "charge": charge["id"], "created": opened,
            "currency": paid.currency, "payment_intent": None, "reason": "general", "livemode": False, "metadata": {},
            "status": "warning_needs_response" if inquiry else "needs_response", "is_charge_refundable": inquiry,
            "balance_transactions": [] if inquiry else [taken], "evidence": {}, "evidence_details": {"due_by": closed},
        }  # fmt: skip
        self._step(opened, "charge.updated", charge, disputed=True)
        self._step(opened, "charge.dispute.created", dispute)
        if inquiry:
            self._step(closed, "charge.dispute.closed", dispute, status="warning_closed")
            return
        self._fact("dispute", opened, -given.cents, paid)
        if given.outcome == "won":
            back = line(f"txn_{dispute_id}_back", closed, given.cents, paid.currency)
            self._step(closed, "charge.dispute.closed", dispute, status="won", balance_transactions=[taken, back])
            self._fact("dispute_reversed", closed, given.cents, paid)
        elif given.outcome == "lost":
            self._step(closed, "charge.dispute.closed", dispute, status="lost")

    def _fact(self, kind: str, at: int, cents: int, paid: Paid) -> None:
        self.facts.append(Fact(kind, at, cents, paid.currency))

    def _step(
        self, at: int, event_type: str, item: Json, *, add: tuple[str, int] | None = None, **changes: Any
    ) -> None:
        def happen() -> None:
            known = self.world.objects.setdefault(item["id"], copy.deepcopy(item))
            known.update(copy.deepcopy(changes))
            if add:
                known[add[0]] += add[1]

        self.steps.append((at, event_type, item["id"], happen))

    def events(self) -> Iterator[Json]:
        """Each step happens, then its event is given; in the order of time."""
        for at, event_type, object_id, happen in sorted(self.steps, key=lambda step: step[0]):
            happen()
            yield self.world.emit(event_type, self.world.objects[object_id]) | {"created": at}


def transaction(transaction_id: str, created: int, cents: int) -> Json:
    """A balance transaction as an object of its own."""
    return line(transaction_id, created, cents, "usd")


def line(transaction_id: str, created: int, cents: int, currency: str) -> Json:
    """A balance transaction as the recorded dispute has them, fee and all."""
    known = recordings.load("dispute").objects.values()
    recorded = next(item for item in known if item["object"] == "dispute")["balance_transactions"][0]
    return recorded | {"id": transaction_id, "created": created, "amount": cents, "currency": currency}
