"""A person who is erased is found nowhere, no figure has moved, and the audit log is still what was sealed."""

from typing import Any

import pytest
from django.db import DatabaseError, transaction
from djstripe.models import Charge, Customer

from billing import tasks
from billing.cognito import sync
from billing.cognito.pool import Identity
from billing.models import Payment, User, WebhookEvent
from billing.services import accounts
from billing.services.privacy import erasure, holds, places
from billing.stripe.projection import owners, users
from glyphforge.approval import requests
from glyphforge.approval.models import Approval
from glyphforge.audit import record, seals
from glyphforge.audit.seals import Finding
from glyphforge.database import roles
from glyphforge.errors import Refused
from tests.support import factories, personal
from tests.support.sql import run, scalar

pytestmark = pytest.mark.django_db

# Views that are sums, but for what is called by a person's words.
VIEWS = (
    *("v_revenue_metrics", "v_subscription_breakdown", "v_user_growth", "v_api_usage_trends", "v_slow_endpoints"),
    *("monthly_usage_summary", "payment_totals", "live_subscriptions", "v_api_key_usage_summary"),
)


ODD = "Bob, a customer, has no axxb|c( professional plan {0}: the subscription ended"


def approved(user: User) -> Approval:
    request = erasure.ask(user, actor="ada", reason="asked by letter")
    return requests.approve(request, actor="grace", reason="identity checked")


def figures() -> dict[str, Any]:
    tables = ("users", "subscriptions", "api_keys", "payment_history", "api_usage", "customer_notes", "alerts")
    return {
        **{
            view: run(f"SELECT to_jsonb(v) - '{{name,revoked_at}}'::text[] FROM {view} AS v ORDER BY 1")
            for view in VIEWS
        },
        **{table: scalar(f"SELECT count(*) FROM {table}") for table in tables},
        "money": run("SELECT sum(amount_cents), count(*) FROM payment_movements"),
        "usage": run("SELECT sum(status_code), sum(response_time_ms), max(created_at) FROM api_usage"),
    }


def test_person_is_found_nowhere_no_figure_moves_and_the_seals_hold() -> None:
    user = personal.planted()
    run("SELECT seal_audit_log()")
    assert len(personal.found(*personal.PLANTED)) > 25
    foretold = erasure.preview(user).rows
    request, before = approved(user), figures()
    counts = erasure.carry_out(request)
    assert personal.found(*personal.PLANTED) == set()
    assert figures() == before
    assert foretold.keys() == {table for table, count in counts.items() if count}
    run("SELECT seal_audit_log()")
    assert seals.verify() is None
    assert erasure.preview(user).rows == {}
    request.refresh_from_db()
    assert request.state == Approval.State.DONE


def test_whoever_is_called_alike_keeps_what_is_theirs() -> None:
    user = personal.planted()
    alike = factories.customer(email=f"not.{personal.EMAIL}", name=personal.NAME)
    factories.requests(alike, ip_address=personal.IP)
    note = factories.webhook_event(last_error=f"{alike.email} is taken, says {personal.NAME}")
    factories.customer(email="same@house.example", stripe_customer_id="cus_same")
    same = {"id": "cus_same", "object": "customer", "address": personal.ADDRESS, "phone": personal.PHONE}
    Customer.objects.create(id="cus_same", email="", livemode=False, metadata={}, stripe_data=same)
    theirs = factories.webhook_event(payload={"data": {"object": same}})
    erasure.carry_out(approved(user))
    alike.refresh_from_db()
    assert (alike.email, alike.name) == (f"not.{personal.EMAIL}", personal.NAME)
    assert run("SELECT DISTINCT user_id FROM api_usage WHERE ip_address IS NOT NULL") == [(alike.pk,)]
    assert WebhookEvent.objects.get(pk=note.pk).last_error == note.last_error
    assert Customer.objects.get(id="cus_same").stripe_data == same
    assert WebhookEvent.objects.get(pk=theirs.pk).payload == theirs.payload


@pytest.mark.parametrize(
    "name",
    ["Professional", "Bob", "[erased]", "Customer", "a.*b|c(", "\\", "%_", 'O\'Brien "Q" {0}'],
)
def test_odd_names_erase_nobody_else(name: str) -> None:
    user = factories.customer(name=name, stripe_customer_id="cus_odd")
    kept = factories.alert(subject="professional", message=ODD)
    erasure.carry_out(approved(user))
    kept.refresh_from_db()
    assert (kept.subject, kept.message) == ("professional", ODD)
    user.refresh_from_db()
    assert (user.email, user.name) == (None, "")


def test_erasure_that_is_killed_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    user = personal.planted()
    request = approved(user)
    monkeypatch.setattr(erasure, "BATCH", 2)
    with monkeypatch.context() as killed:
        killed.setattr(erasure, "_erase_usage", _die)
        with pytest.raises(KeyboardInterrupt):
            erasure.carry_out(request)
    assert scalar("SELECT count(*) FROM api_usage WHERE ip_address IS NOT NULL") == 3
    tasks.erase_customer(str(request.pk))
    assert personal.found(*personal.PLANTED) == set()
    assert erasure.carry_out(request)["users"] == 0


def _die(user: User) -> int:
    raise KeyboardInterrupt


def test_killed_before_its_commit_it_has_changed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    user = personal.planted()
    request, places_before = approved(user), personal.found(*personal.PLANTED)
    calls: list[User] = []

    def second(cursor: Any, of: User) -> int:
        calls.append(of)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(erasure, "_erase_audit", second)
    with pytest.raises(KeyboardInterrupt):
        erasure.carry_out(request)
    assert personal.found(*personal.PLANTED) == places_before


class TestComingBack:
    """What others still hold of somebody who was erased stays there."""

    @pytest.fixture
    def user(self) -> User:
        user = personal.planted()
        erasure.carry_out(approved(user))
        user.refresh_from_db()
        return user

    def test_events_are_redacted_as_they_arrive(self, user: User) -> None:
        for number, stripe_object in enumerate(personal.stripe_objects()):
            event = {"id": f"evt_late{number}", "type": "charge.updated", "data": {"object": stripe_object}}
            factories.webhook_event(stripe_event_id=event["id"], payload=event)
        assert personal.found(*personal.PLANTED) == set()
        late = WebhookEvent.objects.get(stripe_event_id="evt_late1").payload["data"]["object"]
        assert (late["id"], late["customer"], late["amount"]) == ("ch_zelda", "cus_zelda", 2900)

    def test_the_mirror_and_the_rows_stay_nobodys(self, user: User) -> None:
        customer, charge, *_ = personal.stripe_objects()
        Customer.objects.filter(pk__isnull=False).update(stripe_data=customer, email=personal.EMAIL)
        Charge.objects.update(stripe_data=charge, metadata={"spouse": personal.NAME})
        Payment.objects.update(invoice_url="https://x.example/i", receipt_url="https://x.example/r")
        User.objects.filter(pk=user.pk).update(email=personal.EMAIL, name=personal.NAME, status="active")
        assert personal.found(*personal.PLANTED) == set()
        assert Payment.objects.filter(user=user).exclude(invoice_url=None, receipt_url=None).count() == 0
        user.refresh_from_db()
        assert user.status == User.Status.SUSPENDED

    def test_stripes_name_and_address_are_not_wanted(self, user: User) -> None:
        assert users.values(personal.stripe_objects()[0], user) == {}  # type: ignore[arg-type]
        assert owners.named({"user_id": str(user.pk), "cognito_user_id": "sub-1"}) is None

    def test_cognito_brings_nobody_back(self, user: User) -> None:
        step = sync.ingest(Identity("sub-1", personal.EMAIL, personal.NAME, True, True, True))
        assert (step.action, step.detail) == (sync.Action.NONE, "was erased here")
        assert personal.found(*personal.PLANTED) == set()

    def test_nobody_makes_it_undone(self, user: User) -> None:
        with pytest.raises(Refused, match="was erased on"):
            accounts.reactivate(user, actor="ada", reason="sorry")
        with pytest.raises(DatabaseError, match=r"was erased on .* and stays so"), transaction.atomic():
            run("UPDATE users SET erased_at = NULL WHERE id = %s", user.pk)
        with pytest.raises(Refused, match="was erased on"):
            erasure.ask(user, actor="ada", reason="once more")


class TestRefusals:
    def test_legal_hold_refuses_until_it_is_lifted(self) -> None:
        user = factories.customer()
        holds.place(user, actor="ada", reason="case 4711")
        user.refresh_from_db()
        with pytest.raises(Refused, match="A legal hold is on the customer: case 4711"):
            erasure.ask(user, actor="ada", reason="asked by letter")
        with pytest.raises(Refused, match="already"):
            holds.place(user, actor="ada", reason="case 4712")
        holds.lift(user, actor="ada", reason="case closed")
        user.refresh_from_db()
        assert erasure.ask(user, actor="ada", reason="asked by letter").state == Approval.State.ASKED

    def test_hold_that_came_after_the_approval_counts(self) -> None:
        user = factories.customer()
        request = approved(user)
        holds.place(user, actor="ada", reason="case 4711")
        with pytest.raises(Refused, match="case 4711"):
            erasure.carry_out(request)
        with pytest.raises(DatabaseError, match="users_held_is_not_erased"), transaction.atomic():
            run("UPDATE users SET erased_at = now() WHERE id = %s", user.pk)

    def test_live_subscription_and_open_request_refuse(self) -> None:
        user = factories.customer()
        live = factories.subscription(user)
        factories.stripe_request(user, stripe_object_id="sub_open")
        with pytest.raises(Refused) as refusal:
            erasure.ask(user, actor="ada", reason="asked by letter")
        assert f"{live.stripe_subscription_id} is active: end it first." in str(refusal.value)
        assert "Cancel now sub_open" in str(refusal.value)

    def test_without_approval_nothing_is_erased(self) -> None:
        user = factories.customer()
        request = erasure.ask(user, actor="ada", reason="asked by letter")
        with pytest.raises(Refused, match="has to be approved first"):
            erasure.carry_out(request)
        for call in ("erase_audit_of", "erase_usage_of"):
            with pytest.raises(DatabaseError, match="is not approved"), transaction.atomic():
                run(f"SELECT {call}(%s)", user.pk)


class TestSeals:
    """An erasure is recorded and sealed, and hides no other change."""

    @pytest.fixture
    def erased(self) -> int:
        """An audit row that was sealed, and whose reason was erased since."""
        row = record("note", table_name="users", reason="Zelda Quixplant was here", new_values={"n": 1})
        run("SELECT seal_audit_log()")
        self.erase(row, "[erased]")
        assert seals.verify() is None
        return row

    @staticmethod
    def erase(row: int, reason: str) -> None:
        run(
            "SELECT erase_audit_values(ARRAY(SELECT jsonb_populate_record(a, jsonb_build_object('reason', %s::text))"
            " FROM audit_log AS a WHERE a.id = %s))",
            reason,
            row,
        )

    @staticmethod
    def forge(statement: str, *values: Any) -> None:
        run("SET LOCAL session_replication_role = replica")
        run(statement, *values)
        run("SET LOCAL session_replication_role = origin")

    def test_second_erasure_of_a_row_is_known_too(self, erased: int) -> None:
        self.erase(erased, "")
        run("SELECT seal_audit_log()")
        assert seals.verify() is None
        self.erase(erased, "[erased] twice")
        assert seals.verify() is None

    def test_row_that_is_erased_before_its_seal_and_after_it(self) -> None:
        row = record("note", table_name="users", reason="Zelda", new_values={"n": 1})
        self.erase(row, "[erased]")
        run("SELECT seal_audit_log()")
        assert seals.verify() is None
        self.erase(row, "gone")
        assert seals.verify() is None

    def test_change_of_an_erased_row_is_named(self, erased: int) -> None:
        self.forge("UPDATE audit_log SET reason = 'all was well' WHERE id = %s", erased)
        assert seals.verify() == Finding(erased, "changed")

    def test_change_of_a_row_beside_it_is_named(self, erased: int) -> None:
        row = record("note", table_name="users", new_values={"n": 2})
        run("SELECT seal_audit_log()")
        self.forge("UPDATE audit_log SET actor = 'nobody' WHERE id = %s", row)
        assert seals.verify() == Finding(row, "changed")

    def test_erasure_that_is_rewritten_is_named(self, erased: int) -> None:
        run("SELECT seal_audit_log()")
        self.forge("UPDATE audit_log SET new_values = '{\"rows\": {}}' WHERE action = 'erasure'")
        assert seals.verify() == Finding(erased, "changed")

    def test_erasure_that_is_removed_is_named(self, erased: int) -> None:
        self.forge("DELETE FROM audit_log WHERE action = 'erasure'")
        assert seals.verify() == Finding(erased, "changed")

    @pytest.mark.parametrize(
        "change", ["actor = 'nobody'", "action = 'x'", "occurred_at = now() - interval '1 hour'", "row_id = '7'"]
    )
    def test_nothing_else_of_a_row_changes_beside_an_erasure(self, erased: int, change: str) -> None:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            run(f"UPDATE audit_log SET {change} WHERE id = %s", erased)

    def test_application_cannot_erase_what_it_likes(self, erased: int) -> None:
        roles.install()
        for statement in (
            (
                'SELECT erase_audit_values(ARRAY(SELECT jsonb_populate_record(a, \'{"reason": "x"}\')'
                " FROM audit_log AS a))"
            ),
            "SELECT write_audit('erasure', 'audit_log', '1', NULL, '{}')",
            "UPDATE audit_log SET reason = ''",
        ):
            run(f"SET LOCAL ROLE {roles.APPLICATION}")
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                run(statement)
            run("RESET ROLE")


def test_application_erases_whom_another_person_approved() -> None:
    roles.install()
    user = personal.planted()
    request = approved(user)
    run(f"SET LOCAL ROLE {roles.APPLICATION}")
    erasure.carry_out(request)
    run("RESET ROLE")
    assert personal.found(*personal.PLANTED) == set()


def test_every_place_is_one_that_the_application_may_change() -> None:
    named = {place.table for sources in (False, True) for place in places.mentions(in_sources=sources)}
    roles.install()
    run(f"SET LOCAL ROLE {roles.APPLICATION}")
    theirs = {place.table for sources in (False, True) for place in places.mentions(in_sources=sources)}
    run("RESET ROLE")
    assert named - theirs <= {"payment_movements", "monthly_usage_totals"}
