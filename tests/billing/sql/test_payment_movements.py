"""What the database holds about the money of payments, whoever writes."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import Error, connection, transaction
from djstripe import models

from billing.models import PaymentMovement
from tests.support import factories
from tests.support.concurrently import at_once
from tests.support.money_story import DAY, MISMATCH, line
from tests.support.sql import insert, run, scalar

pytestmark = pytest.mark.django_db

CREATED = 1_790_000_000


class TestRows:
    """Each fact a row, and the totals their sums."""

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE payment_movements SET amount_cents = 1",
            "DELETE FROM payment_movements",
            "TRUNCATE payment_movements",
        ],
    )
    def test_movements_are_append_only(self, statement: str) -> None:
        factories.payment()
        with pytest.raises(Error, match="payment_movements: rows are append-only"), transaction.atomic():
            run(statement)

    def test_movements_go_only_with_their_payment(self) -> None:
        kept, gone = factories.payment(), factories.payment()
        gone.delete()
        assert list(PaymentMovement.objects.values_list("payment_id", flat=True)) == [kept.pk]

    def test_loaded_payment_gets_the_movements_that_its_totals_say(self) -> None:
        payment = factories.payment(amount_cents=1000, refunded_cents=300, disputed_cents=200, status="disputed")
        found = {row.kind: (row.amount_cents, row.origin) for row in payment.movements.all()}
        assert found == {"charge": (1000, "totals"), "refund": (-300, "totals"), "dispute": (-200, "totals")}
        assert scalar(MISMATCH) == 0

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ("refunded_cents = 0", {"refund": -300, "refund_failed": 300}),
            ("refunded_cents = 400", {"refund": -400}),
            ("disputed_cents = 100", {"refund": -300, "dispute": -100}),
            ("paid_at = NULL", {"charge": 0, "refund": -300}),
            ("paid_at = paid_at - interval '40 days'", {"charge": 1000, "refund": -300}),
            ("status = 'succeeded', failure_message = 'x'", {"charge": 1000, "refund": -300}),
        ],
    )
    def test_total_written_by_hand_moves_money_so_that_the_sums_agree(
        self, change: str, expected: dict[str, int]
    ) -> None:
        payment = factories.payment(amount_cents=1000, refunded_cents=300, status="partially_refunded")
        run(f"UPDATE payment_history SET {change} WHERE id = %s", payment.pk)
        assert scalar(MISMATCH) == 0
        sums = dict(run("SELECT kind, sum(amount_cents)::int FROM payment_movements GROUP BY kind"))
        assert sums == {"charge": 1000, "refund": -300} | expected

    def test_movement_inserted_by_hand_changes_the_totals(self) -> None:
        payment = factories.payment(amount_cents=1000)
        run(
            "INSERT INTO payment_movements (payment_id, kind, stripe_object_id, amount_cents, currency, occurred_at)"
            " VALUES (%s, 'refund', 're_1', -400, 'usd', now())",
            payment.pk,
        )
        payment.refresh_from_db()
        assert payment.refunded_cents == 400

    def test_fact_is_one_row(self) -> None:
        movement = factories.payment().movements.get()
        with pytest.raises(Error, match="payment_movements_one_a_fact"), transaction.atomic():
            PaymentMovement.objects.create(
                payment=movement.payment, kind="charge", stripe_object_id=movement.stripe_object_id, amount_cents=1,
                currency="usd", occurred_at=movement.occurred_at,
            )  # fmt: skip

    def test_movement_in_another_currency_is_refused(self) -> None:
        payment = factories.payment()
        with pytest.raises(Error, match=f"payment {payment.pk} is in usd, not eur"), transaction.atomic():
            PaymentMovement.objects.create(
                payment=payment, kind="refund", stripe_object_id="re_1", amount_cents=-1, currency="eur",
                occurred_at=payment.paid_at,
            )  # fmt: skip

    def test_copied_rows_are_booked_in_one_go(self) -> None:
        user = factories.customer()
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY payment_history (user_id, amount_cents, status, paid_at) FROM STDIN") as copy,
        ):
            for cents in (100, 200, 300):
                copy.write_row([user.pk, cents, "succeeded", datetime.now(UTC)])
        assert scalar("SELECT sum(amount_cents)::int FROM payment_movements") == 600
        assert scalar(MISMATCH) == 0


class TestExistingInstallation:
    """`0005_payment_movements`, on payments that were written before there were movements."""

    STEP = (Path(settings.BASE_DIR) / "billing/sql/migrations/0005_payment_movements.up.sql").read_text()

    def put(self, **values: Any) -> str:
        run("SET LOCAL session_replication_role = replica")  # as before the triggers
        payment = insert("payment_history", user_id=factories.customer().pk, amount_cents=1000, **values)
        run("SET LOCAL session_replication_role = origin")
        return str(payment["id"])

    def step(self) -> None:
        run(self.STEP)
        run("DROP TABLE mirrored")

    def booked(self, payment_id: str) -> list[tuple[Any, ...]]:
        return run(
            "SELECT kind, stripe_object_id, amount_cents, extract(epoch FROM occurred_at)::int FROM payment_movements"
            " WHERE payment_id = %s ORDER BY kind, number",
            payment_id,
        )

    def test_dates_come_from_the_payment_and_from_the_mirror(self) -> None:
        dated = {"paid_at": datetime.fromtimestamp(CREATED, UTC), "created_at": datetime.fromtimestamp(CREATED, UTC)}
        written = datetime.fromtimestamp(CREATED + 9 * DAY, UTC)
        refunded = self.put(
            stripe_charge_id="ch_a", status="partially_refunded", refunded_cents=300, updated_at=written, **dated
        )
        disputed = self.put(stripe_charge_id="ch_b", status="disputed", updated_at=written, **dated)
        unknown = self.put(stripe_charge_id="ch_c", status="disputed", updated_at=written, **dated)
        failed = self.put(stripe_charge_id="ch_d", status="failed")
        run("SET LOCAL session_replication_role = replica")
        mirror_refund("re_a", charge="ch_a", amount=200, status="succeeded", created=CREATED + DAY)
        mirror_refund("re_failed", charge="ch_a", amount=700, status="failed", created=CREATED + DAY)
        lines = [line("txn_1", CREATED + 2 * DAY, -400, "usd"), line("txn_2", CREATED + 3 * DAY, 100, "usd")]
        mirror_dispute("du_b", charge="ch_b", amount=400, status="lost", created=CREATED, balance_transactions=lines)
        run("SET LOCAL session_replication_role = origin")
        for _ in range(2):
            self.step()
            assert self.booked(refunded) == [
                ("charge", "ch_a", 1000, CREATED),
                ("refund", "ch_a", -100, CREATED + 9 * DAY),
                ("refund", "re_a", -200, CREATED + DAY),
            ]
            assert self.booked(disputed) == [
                ("charge", "ch_b", 1000, CREATED),
                ("dispute", "du_b", -400, CREATED + 2 * DAY),
                ("dispute_reversed", "du_b", 100, CREATED + 3 * DAY),
            ]
            assert self.booked(unknown) == [
                ("charge", "ch_c", 1000, CREATED),
                ("dispute", "ch_c", -1000, CREATED + 9 * DAY),
            ]
            assert self.booked(failed) == []
            assert scalar(MISMATCH) == 0


def mirror_refund(refund_id: str, **data: Any) -> None:
    models.Refund.objects.create(
        id=refund_id, charge_id=data["charge"], amount=data["amount"], currency="usd", stripe_data=data
    )


def mirror_dispute(dispute_id: str, **data: Any) -> None:
    models.Dispute.objects.create(id=dispute_id, charge_id=data["charge"], stripe_data=data | {"currency": "usd"})


@pytest.mark.django_db(transaction=True)
def test_two_writers_of_one_payment_both_count() -> None:
    payment = factories.payment(amount_cents=1000)

    def refund_one(number: int) -> None:
        PaymentMovement.objects.create(
            payment=payment, kind="refund", stripe_object_id=f"re_{number}", amount_cents=-100, currency="usd",
            occurred_at=payment.paid_at,
        )  # fmt: skip

    at_once(*[partial(refund_one, number) for number in range(4)])
    payment.refresh_from_db()
    assert payment.refunded_cents == 400
