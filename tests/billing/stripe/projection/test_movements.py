"""The money of payments as dated, signed rows, whatever the order in which Stripe tells of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from billing.models import Payment
from billing.stripe import gateway
from billing.stripe.charge_history import ChargeHistory
from billing.stripe.events.event_object import of_event
from billing.stripe.events.told_moments import told_moments
from billing.stripe.projection import movements
from billing.stripe.reconciliation import comparison
from billing.stripe.resync import resync
from demo.stripe.server import StripeServer
from tests.support.event_stream import EventStream
from tests.support.money_story import DAY, MISMATCH, line
from tests.support.money_story import transaction as balance_transaction
from tests.support.sql import run, scalar

pytestmark = pytest.mark.django_db

CREATED = 1_790_000_000


def rows(payment: Payment) -> list[tuple[str, str, int, int]]:
    """Kind, object, amount and Unix seconds of each movement, in the order of time."""
    found = payment.movements.order_by("occurred_at", "created_at", "number")
    return [(row.kind, row.stripe_object_id, row.amount_cents, int(row.occurred_at.timestamp())) for row in found]


def charge(**changes: Any) -> Any:
    return {
        "id": "ch_1", "amount": 9900, "amount_captured": 9900, "amount_refunded": 0, "created": CREATED,
        "currency": "usd", "status": "succeeded", "captured": True, "balance_transaction": None,
    } | changes  # fmt: skip


def dispute(status: str, *lines: tuple[int, int], amount: int = 2000, currency: str = "usd", **changes: Any) -> Any:
    moved = [line(f"txn_{n}", CREATED + days * DAY, cents, currency) for n, (days, cents) in enumerate(lines)]
    return {
        "id": "du_1", "amount": amount, "currency": "usd", "created": CREATED + DAY, "status": status,
        "balance_transactions": moved,
    } | changes  # fmt: skip


def refund(cents: int, days: int = 2, **changes: Any) -> Any:
    return {"id": "re_1", "amount": cents, "created": CREATED + days * DAY, "status": "succeeded"} | changes


def moved(history: ChargeHistory, told: movements.Told | None = None) -> list[tuple[str, int, float]]:
    """Kind, amount and the day after the charge, of all movements but the charge's."""
    return [
        (found.kind, found.amount_cents, (found.occurred_at.timestamp() - CREATED) / DAY)
        for found in movements.expected(history, told)
        if found.kind != "charge"
    ]


class TestExpected:
    """What a charge's history comes to, without any row."""

    @pytest.mark.parametrize(
        "changes",
        [{"status": "pending"}, {"status": "failed"}, {"captured": False, "amount_captured": 0}],
    )
    def test_nothing_came_in_before_the_settlement(self, changes: dict[str, Any]) -> None:
        assert movements.expected(ChargeHistory(charge(**changes), [refund(100)], [dispute("lost")])) == []

    @pytest.mark.parametrize(
        ("status", "lines", "expected"),
        [
            ("needs_response", [], [("dispute", -2000, 1)]),
            ("lost", [], [("dispute", -2000, 1)]),
            ("a_new_one", [], [("dispute", -2000, 1)]),
            ("warning_needs_response", [], []),
            ("warning_closed", [], []),
            ("prevented", [], []),
            ("won", [], [("dispute", -2000, 1), ("dispute_reversed", 2000, 1)]),
            ("lost", [(3, -2000)], [("dispute", -2000, 3)]),
            ("won", [(3, -2000)], [("dispute", -2000, 3), ("dispute_reversed", 2000, 3)]),
            ("won", [(3, -2000), (9, 2000)], [("dispute", -2000, 3), ("dispute_reversed", 2000, 9)]),
            ("won", [(3, -2000), (9, 500), (10, 1500)],
             [("dispute", -2000, 3), ("dispute_reversed", 500, 9), ("dispute_reversed", 1500, 10)]),
            ("lost", [(3, -2000), (9, 2000), (12, -2000)],
             [("dispute", -2000, 3), ("dispute_reversed", 2000, 9), ("dispute", -2000, 12)]),
            ("lost", [(3, -2000), (9, 2500)], [("dispute", -2000, 3), ("dispute_reversed", 2000, 9)]),
        ],
    )  # fmt: skip
    def test_dispute_moves_what_its_balance_transactions_say(
        self, status: str, lines: list[tuple[int, int]], expected: list[Any]
    ) -> None:
        assert moved(ChargeHistory(charge(), [], [dispute(status, *lines)])) == expected

    def test_fee_of_a_dispute_is_no_movement_of_the_payment(self) -> None:
        fee = line("txn_fee", CREATED + 3 * DAY, -1500, "usd") | {"reporting_category": "fee", "type": "stripe_fee"}
        found = dispute("lost", (3, -2000))
        found["balance_transactions"].append(fee)
        assert moved(ChargeHistory(charge(), [], [found])) == [("dispute", -2000, 3)]

    def test_dispute_settled_in_another_currency_counts_in_the_payments(self) -> None:
        found = dispute("won", (3, -1850), (9, 1830), currency="eur")
        assert moved(ChargeHistory(charge(), [], [found])) == [("dispute", -2000, 3), ("dispute_reversed", 2000, 9)]

    def test_disputes_of_one_charge_count_each(self) -> None:
        found = [dispute("lost"), dispute("won", id="du_2", amount=1000)]
        assert sum(cents for _, cents, _ in moved(ChargeHistory(charge(), [], found))) == -2000

    def test_failed_refund_comes_back_when_it_failed(self) -> None:
        failed = refund(500, status="failed", failure_balance_transaction=line("txn_f", CREATED + 9 * DAY, 500, "usd"))
        assert moved(ChargeHistory(charge(), [failed])) == [("refund", -500, 2), ("refund_failed", 500, 9)]

    def test_event_tells_when_a_refund_failed(self) -> None:
        told = {("refund_failed", "re_1"): CREATED + 5 * DAY}
        failed = refund(500, status="canceled", failure_balance_transaction=None)
        assert moved(ChargeHistory(charge(), [failed]), told) == [("refund", -500, 2), ("refund_failed", 500, 5)]

    @pytest.mark.parametrize("listed", [True, False])
    def test_rest_of_an_authorization_moves_nothing(self, listed: bool) -> None:
        partly = charge(amount_captured=7000, amount_refunded=2900 + 1000)
        rest = [refund(2900, 1, id="re_rest", balance_transaction=None)] if listed else []
        history = ChargeHistory(partly, [*rest, refund(1000, balance_transaction="txn_2")])
        assert moved(history) == [("refund", -1000, 2)]
        assert movements.expected(history)[0].amount_cents == 7000

    def test_what_no_refund_explains_is_dated_by_the_event(self) -> None:
        history = ChargeHistory(charge(amount_refunded=800), [refund(500)])
        told = {("refund", "ch_1"): CREATED + 6 * DAY}
        assert moved(history, told) == [("refund", -500, 2), ("refund", -300, 6)]

    def test_debit_that_bounced_after_its_credit_goes_out_again(self) -> None:
        bounced = charge(
            status="failed",
            balance_transaction=line("txn_1", CREATED + DAY, 9900, "usd"),
            failure_balance_transaction=line("txn_2", CREATED + 4 * DAY, -9900, "usd"),
        )
        found = movements.expected(ChargeHistory(bounced))
        assert [row.amount_cents for row in found] == [9900, -9900]
        sums = movements.settled_with(found, {})
        assert movements.totals(sums) == {"refunded_cents": 0, "disputed_cents": 0, "paid_at": None}

    @pytest.mark.parametrize(
        ("known", "told", "day"),
        [("transaction", 5, 3), (None, 5, 5), (None, None, 4)],
    )
    def test_settlement_is_dated_by_the_best_that_is_known(self, known: str | None, told: int | None, day: int) -> None:
        credited = line("txn_1", CREATED + 3 * DAY, 9900, "usd") if known else None
        invoice: Any = {"id": "in_1", "status_transitions": {"paid_at": CREATED + 4 * DAY}}
        history = ChargeHistory(charge(balance_transaction=credited), invoice=invoice)
        (found,) = movements.expected(history, {("charge", "ch_1"): CREATED + told * DAY} if told else None)
        assert (found.occurred_at.timestamp() - CREATED) / DAY == day


@pytest.mark.parametrize(
    ("event_type", "item", "previous", "kind"),
    [
        ("charge.succeeded", {"id": "ch_1", "status": "succeeded", "captured": True}, None, "charge"),
        ("charge.succeeded", {"id": "ch_1", "status": "succeeded", "captured": False}, None, None),
        ("charge.captured", {"id": "ch_1", "status": "succeeded", "captured": True}, None, "charge"),
        ("refund.failed", {"id": "re_1", "status": "failed"}, None, "refund_failed"),
        ("refund.updated", {"id": "re_1", "status": "canceled"}, {"status": "pending"}, "refund_failed"),
        ("refund.updated", {"id": "re_1", "status": "failed"}, {"metadata": {}}, None),
        ("charge.dispute.closed", {"id": "du_1", "status": "won"}, None, "dispute_reversed"),
        ("charge.dispute.closed", {"id": "du_1", "status": "lost"}, None, None),
        ("charge.updated", {"id": "ch_1", "status": "succeeded"}, None, None),
    ],
)
def test_event_dates_what_it_tells_first(
    event_type: str, item: dict[str, Any], previous: dict[str, Any] | None, kind: str | None
) -> None:
    event = {"created": CREATED, "data": {"object": item, "previous_attributes": previous}}
    about = of_event(event_type, event)
    assert about
    assert told_moments(about) == ({(kind, item["id"]): CREATED} if kind else {})


def debit(stream: EventStream, **changes: Any) -> Any:
    """A debit of four days ago that is on its way."""
    return stream.copy_of(
        stream.charge, id="py_1", status="pending", paid=False, amount=9900, amount_captured=9900, created=CREATED,
        balance_transaction=None, payment_intent=None, **changes,
    )  # fmt: skip


def test_debit_is_paid_on_the_day_it_settles(stream: EventStream) -> None:
    item = debit(stream)
    stream.announce("charge.pending", item)
    payment = Payment.objects.get(stripe_charge_id="py_1")
    assert (payment.status, payment.paid_at, rows(payment)) == ("pending", None, [])
    stream.world.put(balance_transaction("txn_py", CREATED + 4 * DAY, 9900))
    item.update(status="succeeded", paid=True, balance_transaction="txn_py")
    for _ in range(2):
        stream.announce("charge.succeeded", item)
    payment.refresh_from_db()
    assert rows(payment) == [("charge", "py_1", 9900, CREATED + 4 * DAY)]
    assert (payment.status, payment.paid_at) == ("succeeded", datetime.fromtimestamp(CREATED + 4 * DAY, UTC))


@pytest.mark.parametrize("first", ["charge.captured", "charge.updated"])
def test_capture_is_dated_by_its_event_whatever_came_first(stream: EventStream, first: str) -> None:
    item = debit(stream) | {"status": "succeeded", "captured": False, "amount_captured": 0}
    stream.world.put(item)
    stream.announce("charge.succeeded", item)
    item = stream.world.objects["py_1"]
    item.update(captured=True, amount_captured=9900)
    for event_type in {first: None, "charge.captured": None, "charge.updated": None}:
        stream.deliver(stream.world.emit(event_type, item) | {"created": CREATED + 5 * DAY})
    payment = Payment.objects.get(stripe_charge_id="py_1")
    assert payment.paid_at == datetime.fromtimestamp(CREATED + 5 * DAY, UTC)
    by_day = movements.held_by(payment)
    assert by_day == {("charge", "py_1", payment.paid_at): 9900}
    assert scalar(MISMATCH) == 0


def test_partial_dispute_leaves_the_rest_refundable(stream: EventStream) -> None:
    stream.charge["disputed"] = True
    lost = dispute("lost", amount=900) | story_of(stream)
    stream.world.put(lost)
    stream.announce("charge.dispute.closed", lost)
    payment = stream.payment
    assert (payment.status, payment.disputed_cents, payment.left_cents) == ("disputed", 900, 2000)
    won = dispute("won", amount=1000, id="du_2") | story_of(stream)
    stream.world.put(won)
    stream.announce("charge.dispute.closed", won)
    assert (stream.payment.disputed_cents, stream.payment.left_cents) == (900, 2000)


def story_of(stream: EventStream) -> dict[str, Any]:
    """What Stripe needs of a dispute beside its money."""
    return {
        "object": "dispute", "charge": stream.charge["id"], "livemode": False, "metadata": {}, "payment_intent": None,
        "reason": "general", "evidence": {}, "evidence_details": {},
    }  # fmt: skip


def test_inquiry_takes_nothing(stream: EventStream) -> None:
    stream.charge["disputed"] = True
    asked = dispute("warning_needs_response", amount=2900) | story_of(stream)
    stream.world.put(asked)
    for event_type, status in (("created", "warning_needs_response"), ("closed", "warning_closed")):
        stream.world.objects["du_1"]["status"] = status
        stream.announce(f"charge.dispute.{event_type}", asked)
        assert (stream.payment.status, stream.payment.disputed_cents) == ("succeeded", 0)


def test_repeating_anything_adds_no_row(stream: EventStream) -> None:
    stream.world.refund({"charge": stream.charge["id"], "amount": "100"})
    for event in stream.world.events[-2:]:
        stream.deliver(event)
    known = rows(stream.payment)
    assert len(known) == 2
    stream.announce("charge.updated", stream.charge)
    assert resync(stream.customer["id"]) == []
    assert rows(stream.payment) == known


def test_charge_of_many_refunds_is_read_whole(stream: EventStream) -> None:
    for _ in range(12):
        stream.world.refund({"charge": stream.charge["id"], "amount": "100"})
    stream.announce("charge.refunded", stream.charge)
    assert stream.payment.movements.filter(kind="refund").count() == 12


def test_charge_event_asks_for_what_the_charge_has_and_no_more(
    stream: EventStream, stripe_server: StripeServer
) -> None:
    stream.world.refund({"charge": stream.charge["id"], "amount": "100"})
    stripe_server.requests.clear()
    stream.announce("charge.refunded", stream.charge)
    assert stripe_server.requests == [f"GET /v1/charges/{stream.charge['id']}"]
    stream.charge["disputed"] = True
    stripe_server.requests.clear()
    stream.announce("charge.updated", stream.charge)
    assert stripe_server.requests == [f"GET /v1/charges/{stream.charge['id']}", "GET /v1/disputes"]


def test_wrong_row_is_corrected_by_another(stream: EventStream) -> None:
    payment = stream.payment
    run("UPDATE payment_history SET refunded_cents = 500 WHERE id = %s", payment.pk)
    assert rows(payment)[-1][:3] == ("refund", stream.charge["id"], -500)
    stream.announce("charge.updated", stream.charge)
    payment.refresh_from_db()
    assert payment.refunded_cents == 0
    assert payment.movements.count() == 3


def test_refund_dated_on_another_day_is_a_difference_and_put_right(stream: EventStream) -> None:
    stream.world.refund({"charge": stream.charge["id"], "amount": "100"})
    run(
        "INSERT INTO payment_movements (payment_id, kind, stripe_object_id, amount_cents, currency, occurred_at)"
        " VALUES (%s, 'refund', %s, -100, 'usd', now() - interval '40 days')",
        stream.payment.pk,
        next(name for name, item in stream.world.objects.items() if item["object"] == "refund"),
    )
    Payment.objects.update(status="partially_refunded")
    fetched = gateway.as_json(gateway.retrieve("charge", stream.charge["id"]))
    (found,) = comparison.compare("charge", fetched)
    assert (found.field, str(found.local_value)[:9], str(found.stripe_value)[:9]) == (
        "movements",
        "refund re",
        "refund re",
    )
    resync(stream.customer["id"])
    assert comparison.compare("charge", fetched) == []
    assert (stream.payment.refunded_cents, stream.payment.movements.count()) == (100, 4)


def test_invoice_paid_outside_of_stripe_counts_and_is_marked_so(stream: EventStream) -> None:
    paid_at = CREATED + DAY
    invoice = stream.copy_of(
        stream.invoice, id="in_transfer", status="paid", amount_paid=2900, paid_out_of_band=True,
        status_transitions={"paid_at": paid_at}, customer=stream.customer["id"],
    )  # fmt: skip
    for _ in range(2):
        assert stream.announce("invoice.paid", invoice) == "processed"
    payment = Payment.objects.get(stripe_invoice_id="in_transfer")
    assert (payment.paid_out_of_band, payment.status, payment.stripe_charge_id) == (True, "succeeded", None)
    assert rows(payment) == [("charge", "in_transfer", 2900, paid_at)]


def test_failed_payment_says_why_and_when_it_is_tried_again(stream: EventStream) -> None:
    stream.charge.update(status="failed", failure_code="card_declined", invoice=stream.invoice["id"])
    stream.invoice.update(attempt_count=2, next_payment_attempt=CREATED)
    stream.invoice["payments"] = {"data": [{"payment": {"charge": stream.charge["id"]}}]}
    stream.announce("charge.failed", stream.charge)
    stream.announce("invoice.payment_failed", stream.invoice)
    payment = stream.payment
    assert (payment.failure_code, payment.attempt_count) == ("card_declined", 2)
    assert payment.next_attempt_at == datetime.fromtimestamp(CREATED, UTC)
