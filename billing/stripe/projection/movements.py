"""What a charge's history moved, as dated and signed rows of `payment_movements`.

A moment is certain where Stripe dates the money itself (a balance transaction) or an event tells it; any other is the
best that the objects say, and gives way to what is held already. So the rows are the same whatever the order in which
events come. A row once written stays: what turns out otherwise on another day (UTC) is corrected by further rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from billing.models import Payment, PaymentMovement
from billing.stripe.charge_history import ChargeHistory
from billing.stripe.objects import BalanceTransaction, Charge, Dispute, Refund
from billing.stripe.projection.rows import Columns, moment

Kind = PaymentMovement.Kind
# Moments that an event tells (Unix seconds), by kind of movement and id of the object.
Told = Mapping[tuple[str, str], int]

REFUND_UNDONE = frozenset({"failed", "canceled"})
# A dispute that never took money; the first ones are inquiries: https://docs.stripe.com/disputes/how-disputes-work
HARMLESS = ("warning_needs_response", "warning_under_review", "warning_closed", "prevented", "charge_refunded")
INQUIRIES = frozenset({"warning_needs_response", "warning_under_review"})


@dataclass(frozen=True)
class Movement:
    """A row as it should be; `amount_cents` in the payment's currency, positive for what comes in."""

    kind: str
    stripe_object_id: str
    amount_cents: int
    occurred_at: datetime
    is_certain: bool = True


def is_settled(charge: Charge) -> bool:
    """Whether its money came in: a pending debit's has not, nor that of an authorization before it is captured."""
    return charge["status"] == "succeeded" and bool(charge.get("captured", True))


def amounts(charge: Charge) -> tuple[int, int]:
    """What was charged, and what of that was given back.

    Of an authorization that was captured in part, or not at all, Stripe counts the rest as refunded; nobody paid it.
    """
    amount, refunded = int(charge["amount"]), int(charge.get("amount_refunded") or 0)
    captured = charge.get("amount_captured")
    if charge["status"] != "succeeded" or captured is None:
        return amount, refunded
    if not charge.get("captured", True):
        return amount, 0
    return int(captured), max(refunded - (amount - int(captured)), 0)


def expected(history: ChargeHistory, told: Told | None = None) -> list[Movement]:
    """All that the charge moved until now. Asks nobody; ValueError for a moment outside of 1970 to 2199."""
    told = told or {}
    found = _charge(history, told)
    if found:
        found += _refunds(history, told)
        for dispute in history.disputes:
            found += _dispute(dispute, told)
    return [movement for movement in found if movement.amount_cents]


def out_of_band(invoice_id: str, amount_cents: int, paid_at: datetime) -> list[Movement]:
    """What an invoice brought in that was paid outside of Stripe."""
    return [Movement(Kind.CHARGE, invoice_id, amount_cents, paid_at)] if amount_cents else []


def _charge(history: ChargeHistory, told: Told) -> list[Movement]:
    """The settlement, and its failure where a debit bounced after it had been credited."""
    charge = history.charge
    bounced_at = _created(charge.get("failure_balance_transaction"))
    if not is_settled(charge) and bounced_at is None:
        return []
    transitions = history.invoice.get("status_transitions") if history.invoice else None
    settled_at, is_certain = _moment(
        _created(charge.get("balance_transaction")) or told.get((Kind.CHARGE, charge["id"])),
        (transitions or {}).get("paid_at") or charge["created"],
    )
    amount, _ = amounts(charge)
    came = Movement(Kind.CHARGE, charge["id"], amount, settled_at, is_certain)
    if bounced_at is None:
        return [came]
    return [came, Movement(Kind.CHARGE, charge["id"], -amount, moment(bounced_at))]


def _refunds(history: ChargeHistory, told: Told) -> list[Movement]:
    """Each refund, and what came back of those that failed.

    The charge decides how much was given back in all. What no refund explains is dated by the event that tells it;
    refunds beyond it have failed, the latest first, though they do not say so yet.
    """
    charge = history.charge
    amount, wanted = amounts(charge)
    released = int(charge["amount"]) - amount
    refunds = sorted(history.refunds, key=lambda refund: (refund["created"], refund["id"]))
    undone = {refund["id"] for refund in refunds if refund.get("status") in REFUND_UNDONE}
    undone |= {object_id for kind, object_id in told if kind == Kind.REFUND_FAILED}
    over = sum(int(refund["amount"]) for refund in refunds if refund["id"] not in undone) - wanted
    if released and over >= released:
        # The rest of the authorization, which Stripe lists as a refund too: it moved no money.
        for refund in refunds:
            if refund["amount"] == released and not refund.get("balance_transaction") and refund["id"] not in undone:
                refunds.remove(refund)
                over -= released
                break
    for refund in reversed(refunds):
        if refund["id"] not in undone and int(refund["amount"]) <= over:
            undone.add(refund["id"])
            over -= int(refund["amount"])
    found = [_given_back(refund) for refund in refunds]
    found += [_came_back(refund, told) for refund in refunds if refund["id"] in undone]
    if over < 0:
        when = told.get((Kind.REFUND, charge["id"]), charge["created"])
        found.append(Movement(Kind.REFUND, charge["id"], over, moment(when), is_certain=False))
    return found


def _given_back(refund: Refund) -> Movement:
    return Movement(Kind.REFUND, refund["id"], -int(refund["amount"]), moment(refund["created"]))


def _came_back(refund: Refund, told: Told) -> Movement:
    said = _created(refund.get("failure_balance_transaction")) or told.get((Kind.REFUND_FAILED, refund["id"]))
    failed_at, is_certain = _moment(said, refund["created"])
    return Movement(Kind.REFUND_FAILED, refund["id"], int(refund["amount"]), failed_at, is_certain)


def _dispute(dispute: Dispute, told: Told) -> list[Movement]:
    """What a dispute took and gave back.

    Its balance transactions say so, the fee not counted; amounts in another currency than the dispute's are taken to
    be the whole of it. Without them the status decides: all but inquiries take the amount at once, a won one gives it
    back: https://docs.stripe.com/api/disputes/object
    """
    dispute_id, amount = dispute["id"], int(dispute["amount"])
    lines = [line for line in dispute.get("balance_transactions") or [] if not isinstance(line, str)]
    found: list[Movement] = []
    taken = 0
    for line in sorted(lines, key=lambda line: (line["created"], line["amount"])):
        if line.get("type") == "stripe_fee" or line.get("reporting_category") == "fee":
            continue
        moved = abs(int(line["amount"])) if line["currency"] == dispute["currency"] else amount
        if line["amount"] < 0:
            found.append(Movement(Kind.DISPUTE, dispute_id, -moved, moment(line["created"])))
            taken += moved
        elif line["amount"] > 0 and taken:
            found.append(Movement(Kind.DISPUTE_REVERSED, dispute_id, min(moved, taken), moment(line["created"])))
            taken -= min(moved, taken)
    if not found and dispute["status"] not in HARMLESS:
        taken_at, is_certain = _moment(told.get((Kind.DISPUTE, dispute_id)), dispute["created"])
        found.append(Movement(Kind.DISPUTE, dispute_id, -amount, taken_at, is_certain))
        taken = amount
    if taken and dispute["status"] == "won":
        said = told.get((Kind.DISPUTE_REVERSED, dispute_id))
        back_at, is_certain = _moment(said, int(found[-1].occurred_at.timestamp()))
        found.append(Movement(Kind.DISPUTE_REVERSED, dispute_id, taken, back_at, is_certain))
    return found


def _created(transaction: BalanceTransaction | str | None) -> int | None:
    return None if transaction is None or isinstance(transaction, str) else transaction["created"]


def _moment(certain: int | None, otherwise: int) -> tuple[datetime, bool]:
    return moment(otherwise if certain is None else certain), certain is not None


# The amounts of rows, by kind, object and moment; what adds up to nothing is left out.
Sums = dict[tuple[str, str, datetime], int]


def held_by(payment: Payment) -> Sums:
    """What the payment's rows come to."""
    if payment._state.adding:  # noqa: SLF001 - Django has no public name for "not in the table yet"
        return {}
    sums: Sums = defaultdict(int)
    for kind, object_id, at, cents in PaymentMovement.objects.filter(payment=payment).values_list(
        "kind", "stripe_object_id", "occurred_at", "amount_cents"
    ):
        sums[kind, object_id, at] += cents
    return {key: cents for key, cents in sums.items() if cents}


def settled_with(wanted: Iterable[Movement], held: Sums) -> Sums:
    """What the rows should come to: `wanted`, at the moments that are held for them already where those will do.

    They do on the same day (UTC), and on any day for a moment that is not certain.
    """
    by_fact: dict[tuple[str, str], dict[datetime, int]] = defaultdict(dict)
    for (kind, object_id, at), cents in sorted(held.items()):
        by_fact[kind, object_id][at] = cents
    sums: Sums = defaultdict(int)
    for movement in wanted:
        kind, object_id, left = movement.kind, movement.stripe_object_id, movement.amount_cents
        known = by_fact[kind, object_id]
        if movement.is_certain:
            at = next((at for at in known if _day(at) == _day(movement.occurred_at)), movement.occurred_at)
            sums[kind, object_id, at] += left
            continue
        for at, cents in known.items():
            if cents * left > 0:
                part = min(cents, left, key=abs)
                sums[kind, object_id, at] += part
                left -= part
        if left:
            sums[kind, object_id, movement.occurred_at] += left
    return {key: cents for key, cents in sums.items() if cents}


def lacking(wanted: Iterable[Movement], held: Sums) -> Sums:
    """What has to be added to the rows that are held so that they come to `wanted`; nothing where they agree."""
    right = settled_with(wanted, held)
    missing = {key: right.get(key, 0) - held.get(key, 0) for key in sorted(right.keys() | held.keys())}
    return {key: cents for key, cents in missing.items() if cents}


def readable(items: Iterable[tuple[tuple[str, str, datetime], int]]) -> str | None:
    """Movements in the order of time, for a person: `refund re_1 -500 2026-11-28T08:00:00+00:00`; None for none."""
    lines = [f"{kind} {object_id} {cents} {at.isoformat()}" for (kind, object_id, at), cents in items]
    return "; ".join(sorted(lines, key=lambda line: line.rpartition(" ")[2])) or None


def totals(sums: Sums) -> Columns:
    """The columns of a payment that are sums of its rows, as the database works them out."""
    charged: dict[datetime, int] = defaultdict(int)
    given_back = taken = 0
    for (kind, _, at), cents in sums.items():
        if kind == Kind.CHARGE:
            charged[at] += cents
        elif kind in (Kind.REFUND, Kind.REFUND_FAILED):
            given_back -= cents
        else:
            taken -= cents
    paid = sum(charged.values()) > 0
    return {
        "refunded_cents": given_back,
        "disputed_cents": taken,
        "paid_at": min((at for at, cents in charged.items() if cents > 0), default=None) if paid else None,
    }


def post(payment: Payment, wanted: Iterable[Movement]) -> bool:
    """Add the rows that are missing, and read the totals that the database made of them; True when there were any.

    The caller holds the customer's lock.
    """
    missing = lacking(wanted, held_by(payment))
    if not missing:
        return False
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    for kind, object_id, number in payment.movements.values_list("kind", "stripe_object_id", "number"):
        numbers[kind, object_id] = max(numbers[kind, object_id], number)
    rows = []
    for (kind, object_id, at), cents in sorted(missing.items(), key=lambda item: (item[0][2], -item[1])):
        numbers[kind, object_id] += 1
        rows.append(
            PaymentMovement(
                payment=payment,
                kind=kind,
                stripe_object_id=object_id,
                number=numbers[kind, object_id],
                amount_cents=cents,
                currency=payment.currency,
                occurred_at=at,
            )
        )
    PaymentMovement.objects.bulk_create(rows)
    payment.refresh_from_db(fields=["refunded_cents", "disputed_cents", "paid_at", "updated_at"])
    return True


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()
