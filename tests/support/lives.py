"""Lives of customers, drawn: what their subscriptions at Stripe go through, each step projected in its own time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from hypothesis import strategies as st

from billing.models import User
from billing.stripe.projection import subscriptions
from glyphforge.rows import Json
from tests.support.sql import run

BEGINNING = datetime(2025, 3, 1, tzinfo=UTC)
CENTS = {"starter": 2900, "professional": 9900, "enterprise": 50_000}
STATUSES = ("active", "active", "past_due", "unpaid", "paused", "trialing")

# What happens: days after the last step, to which of the subscriptions (a new one when there are fewer), and how it is
# from then on.
steps = st.tuples(
    st.integers(1, 40),
    st.integers(0, 2),
    st.sampled_from([*STATUSES, "canceled"]),
    st.sampled_from(sorted(CENTS)),
    st.sampled_from([(100, "usd"), (100, "usd"), (150, "usd"), (0, "usd"), (100, "eur")]),
)


@dataclass
class Life:
    """A customer's subscriptions at Stripe, of which each step is projected in its own time."""

    user: User
    at: datetime

    def __post_init__(self) -> None:
        self.known: list[Json] = []

    def step(self, days: int, which: int, status: str, tier: str, terms: tuple[int, str]) -> None:
        percent, currency = terms
        self.at += timedelta(days=days)
        now = int(self.at.timestamp())
        price = {"id": f"price_{tier}", "currency": currency, "unit_amount": CENTS[tier] * percent // 100}
        price |= {"product": "prod_1", "metadata": {"tier": tier}, "recurring": {"interval": "month"}}
        items = {"data": [{"price": price, "quantity": 1, "current_period_start": now, "current_period_end": now + 9}]}
        changes = {"status": status, "currency": currency, "items": items}
        if which < len(self.known):
            known = self.known[which]
            if known["status"] == "canceled":
                return
            if known["status"] == "trialing" and status not in ("trialing", "canceled"):
                changes["trial_end"] = now
            if status == "canceled":
                changes |= {"ended_at": now, "items": known["items"], "currency": known["currency"]}
            if status == "trialing" and known["status"] != "trialing":
                changes["trial_end"] = now + 10**7
        else:
            identity = f"{self.user.stripe_customer_id}_{len(self.known)}"
            known = {"id": f"sub_{identity}", "customer": self.user.stripe_customer_id, "created": now}
            known["trial_end"] = now + 10**7 if status == "trialing" else None
            if status == "canceled":
                changes["ended_at"] = now
            self.known.append(known)
        known.update(changes)
        subscriptions.project(known)  # type: ignore[arg-type]
        happened(self.at)


def happened(at: datetime) -> None:
    """Let what this transaction booked and audited have happened then, in a transaction of its own."""
    run("SET LOCAL session_replication_role = replica")
    run(
        "UPDATE mrr_movements SET occurred_at = %s, transaction_id = '3' WHERE transaction_id = pg_current_xact_id()",
        at,
    )
    run("UPDATE audit_log SET occurred_at = %s WHERE occurred_at = now()", at)
    run("SET LOCAL session_replication_role = origin")


@contextmanager
def undone() -> Iterator[None]:
    """Forget what one example wrote."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
