"""What staff may do: asked, confirmed, explained, done once and written down."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.messages import get_messages
from django.test import Client
from django_q.models import OrmQ

from billing.admin.customer_operations import Suspend
from billing.models import ApiKey, CustomerNote, PlanPrice, Subscription, UnmatchedCustomer, User, WebhookEvent
from billing.services import notes, payments
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db


@pytest.fixture
def lead(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("billing_lead")


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def audited(**wanted: Any) -> AuditEntry:
    return AuditEntry.objects.filter(reason="Ticket 4711", **wanted).get()


def test_nothing_happens_before_the_confirmation(lead: Client) -> None:
    event = factories.webhook_event()
    before = AuditEntry.objects.count()
    for response in (
        lead.get(row_page(event, "retry_webhooks")),
        lead.post(row_page(event, "retry_webhooks"), {"reason": "not confirmed"}),
        lead.post(row_page(event, "retry_webhooks"), {"confirmed": "yes", "reason": "  "}),
        lead.post(row_page(event, "retry_webhooks"), {"confirmed": "yes"}),
    ):
        assert response.status_code == 200
        assert "1 event is set back to pending" in response.content.decode()
    event.refresh_from_db()
    assert event.status == "failed"
    assert AuditEntry.objects.count() == before


def test_confirmation_needs_the_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.staff("billing_lead"))
    assert client.post(row_page(factories.webhook_event(), "retry_webhooks"), CONFIRMED).status_code == 403


def test_retry_of_selected_events_is_confirmed_done_and_audited(lead: Client) -> None:
    failed = [factories.webhook_event() for _ in range(3)]
    processed = factories.webhook_event(status="processed")
    selection = {"action": "retry_webhooks", "_selected_action": [str(e.pk) for e in [*failed, processed]]}
    url = page_of(WebhookEvent)

    page = lead.post(url, selection)
    assert page.context["count"] == 3
    assert all(event.stripe_event_id in page.content.decode() for event in failed)
    done = lead.post(url, selection | CONFIRMED)

    assert done.status_code == 302
    assert said(done).startswith("3 events set back to pending")
    assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"pending", "processed"}
    assert OrmQ.objects.count() == 3
    entries = AuditEntry.objects.filter(action="replay", reason="Ticket 4711")
    assert {entry.row_id for entry in entries} == {event.stripe_event_id for event in failed}
    assert {entry.actor for entry in entries} == {done.wsgi_request.user.get_username()}


def test_retry_of_everything_goes_to_the_background_when_it_is_much(lead: Client) -> None:
    for _ in range(101):
        factories.webhook_event(status="dead")
    page = lead.get(page_of(WebhookEvent, "retry_webhooks_all"))
    assert "101 events are set back" in page.content.decode()
    assert "and 91 more" in page.content.decode()
    done = lead.post(page_of(WebhookEvent, "retry_webhooks_all"), CONFIRMED)
    assert "101 events are processed again in the background" in said(done)
    assert audited(action="replay_in_background").new_values["total"] == 101


def test_replay_takes_processed_events_too(lead: Client) -> None:
    event = factories.webhook_event(status="processed")
    assert "replay" in lead.get(row_page(event)).content.decode()
    lead.post(row_page(event, "replay"), CONFIRMED)
    event.refresh_from_db()
    assert event.status == "pending"


def test_orphans_are_counted_named_and_fixed(lead: Client) -> None:
    orphan = factories.customer(stripe_customer_id="cus_orphan")
    Subscription.objects.filter(user=orphan).delete()
    factories.customer(stripe_customer_id="cus_fine")
    page = lead.get(page_of(User, "fix_orphans_all"))
    assert page.context["count"] == 1
    assert orphan.email in page.content.decode()
    done = lead.post(page_of(User, "fix_orphans_all"), CONFIRMED)
    assert said(done) == "1 customer got the free plan."
    assert Subscription.objects.get(user=orphan).tier == "free"
    assert audited(action="fix_orphan").row_id == str(orphan.pk)
    assert "There is nothing to do." in lead.get(page_of(User, "fix_orphans_all")).content.decode()


def test_key_is_shown_once_and_never_again(lead: Client) -> None:
    user = factories.customer()
    page, values = row_page(user, "create_key"), CONFIRMED | {"environment": "production", "name": "Server"}
    made = lead.post(page, values)
    assert made.status_code == 302
    raw_session = lead.session["shown_once"]
    shown = lead.get(made.url)
    raw = shown.context["issued"]["raw_key"]
    assert raw not in str(raw_session)
    assert raw in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    again = lead.get(made.url, follow=True)
    assert raw not in again.content.decode()
    assert "was shown before" in again.content.decode()
    assert "shown_once" not in lead.session
    key = ApiKey.objects.get(user=user)
    assert (key.environment, key.name) == ("production", "Server")
    assert raw not in lead.get(row_page(key)).content.decode()
    assert audited(action="insert", table_name="api_keys").row_id == str(key.pk)


def test_rotation_lets_both_keys_work_for_the_overlap(lead: Client) -> None:
    old = factories.issued_key().key
    shown = lead.post(row_page(old, "rotate"), CONFIRMED | {"overlap": "24"}, follow=True)
    assert shown.context["issued"]["key"].pk != old.pk
    old.refresh_from_db()
    assert old.revoked_at is None
    assert old.expires_at is not None
    told = f"Replaced, works until {old.expires_at:%Y-%m-%d %H:%M} UTC"
    assert told in lead.get(row_page(old)).content.decode()
    assert "was replaced already, and works until" in lead.get(row_page(old, "rotate")).content.decode()


def test_new_key_is_shown_to_nobody_else(lead: Client, signed_in: Callable[[str], Client]) -> None:
    made = lead.post(row_page(factories.customer(), "create_key"), CONFIRMED | {"environment": "production"})
    assert signed_in("billing_lead").get(made.url).status_code == 302
    assert lead.get(made.url).status_code == 200


@pytest.mark.parametrize(
    ("model", "operation", "values"),
    [
        (factories.customer, "create_key", {"environment": "production"}),
        (factories.customer, "note", {}),
    ],
)
def test_form_that_is_sent_again_is_carried_out_once(
    lead: Client, model: Callable[[], Any], operation: str, values: dict[str, str]
) -> None:
    row = model()
    page = row_page(row, operation)
    hidden = dict(lead.get(page).context["hidden"])
    form = CONFIRMED | values | {"token": hidden["token"]}
    assert lead.post(page, form).status_code == 302
    assert "carried out once" in lead.post(page, form, follow=True).content.decode()
    assert ApiKey.objects.count() + CustomerNote.objects.count() == 1
    assert lead.post(page, form | {"token": dict(lead.get(page).context["hidden"])["token"]}).status_code == 302
    assert ApiKey.objects.count() + CustomerNote.objects.count() == 2


def test_form_with_a_token_that_was_never_ours_is_not_carried_out(lead: Client) -> None:
    user = factories.customer()
    for token in ("x" * 5000, "é" * 10):
        lead.post(row_page(user, "create_key"), CONFIRMED | {"environment": "production", "token": token})
    assert not ApiKey.objects.exists()


def test_revocation_keeps_its_reason_and_is_not_offered_twice(lead: Client) -> None:
    key = factories.issued_key().key
    lead.post(row_page(key, "revoke"), CONFIRMED)
    key.refresh_from_db()
    assert key.revoked_reason == "Ticket 4711"
    assert "There is nothing to do." in lead.get(row_page(key, "revoke")).content.decode()
    assert lead.post(row_page(key, "revoke"), CONFIRMED).status_code in {200, 302}
    assert AuditEntry.objects.filter(table_name="api_keys", row_id=str(key.pk), action="update").count() == 1


def test_leaked_key_is_revoked_by_what_was_found_and_never_shown_again(lead: Client) -> None:
    issued = factories.issued_key()
    url = page_of(ApiKey, "report_leaked_all")
    refused = lead.post(url, {"confirmed": "yes", "found": issued.raw_key})
    assert "This field is required" in refused.content.decode()
    assert issued.raw_key not in refused.content.decode()
    done = lead.post(url, CONFIRMED | {"found": issued.raw_key})
    assert said(done) == f"1 key revoked: {issued.key.key_prefix}… of {issued.key.user}."
    issued.key.refresh_from_db()
    assert issued.key.revoked_reason == "Reported as leaked: Ticket 4711"
    assert "is already revoked" in said(lead.post(url, CONFIRMED | {"found": issued.key.key_prefix}))


def test_confirmation_names_whose_row_it_is(lead: Client) -> None:
    user = factories.customer(email="ada@example.com")
    rows = [(factories.issued_key(user).key, "revoke"), (factories.issued_key(user).key, "rotate")]
    rows += [(factories.payment(user), "refund"), (factories.subscription(user), "cancel")]
    for row, operation in rows:
        assert "of ada@example.com" in lead.get(row_page(row, operation)).content.decode(), operation


def test_suspension_and_its_end_are_audited_with_their_reasons(lead: Client) -> None:
    user = factories.customer()
    lead.post(row_page(user, "suspend"), CONFIRMED)
    user.refresh_from_db()
    assert user.status == "suspended"
    assert audited(table_name="users", action="update").new_values == {"status": "suspended"}
    lead.post(row_page(user, "reactivate"), CONFIRMED | {"reason": "Paid up"})
    user.refresh_from_db()
    assert user.status == "active"


def test_the_second_of_two_confirmations_at_once_is_told_so(lead: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    user = factories.customer()
    carry_out = Suspend.carry_out

    def after_somebody_else(self: Suspend, rows: Any, **given: Any) -> str:
        User.objects.filter(pk=user.pk).update(status="suspended")
        return carry_out(self, rows, **given)

    monkeypatch.setattr(Suspend, "carry_out", after_somebody_else)
    assert said(lead.post(row_page(user, "suspend"), CONFIRMED)) == "Suspend: somebody has done this already."


def test_note_is_kept_with_its_author_and_without_keys(lead: Client) -> None:
    user = factories.customer()
    raw = factories.issued_key(user).raw_key
    lead.post(row_page(user, "note"), CONFIRMED | {"reason": f"Calls every Monday about {raw}"})
    note = CustomerNote.objects.get(user=user)
    assert note.body.startswith("Calls every Monday")
    assert raw not in note.body
    assert AuditEntry.objects.get(action="add_note").row_id == str(user.pk)


def test_price_is_mapped_and_says_what_followed(lead: Client, world: StripeWorld) -> None:
    stream = EventStream(world)
    stream.copy_of(stream.item["price"], id="price_new", metadata={}, lookup_key=None)
    url = page_of(PlanPrice, "map_price_all")
    assert 'value="price_new"' in lead.get(url, {"stripe_price_id": "price_new"}).content.decode()
    done = lead.post(url, CONFIRMED | {"stripe_price_id": "price_new", "tier": "starter"})
    assert "price_new sells Starter: 0 events tried again" in said(done)
    assert PlanPrice.objects.get(pk="price_new").tier == "starter"
    assert audited(action="map_price").row_id == "price_new"
    done = lead.post(url, CONFIRMED | {"stripe_price_id": stream.item["price"]["product"], "tier": "none"})
    assert f"{stream.item['price']['product']} is not ours" in said(done)
    done = lead.post(row_page(PlanPrice.objects.get(pk="price_new"), "unmap_price"), CONFIRMED)
    assert "price_new is mapped no more" in said(done)
    assert audited(action="unmap_price").old_values == {"tier": "starter"}


def test_refusal_is_shown_and_changes_nothing(lead: Client) -> None:
    factories.customer(email="ada@example.com", stripe_customer_id="cus_ada")
    other = factories.customer()
    done = lead.post(row_page(other, "link"), CONFIRMED | {"stripe_customer_id": "cus_ada"})
    assert "Stripe customer cus_ada already belongs to ada@example.com." in said(done)
    assert not AuditEntry.objects.filter(reason="Ticket 4711").exists()


def test_refund_of_more_than_is_left_is_refused_in_money_beside_what_was_typed(lead: Client) -> None:
    payment = factories.payment(amount_cents=2900, refunded_cents=900, status="partially_refunded")
    answer = lead.post(row_page(payment, "refund"), CONFIRMED | {"amount": "20.01"})
    assert "Only 20.00 USD is left to refund." in answer.text
    assert 'value="20.01"' in answer.text
    with pytest.raises(Refused, match=re.escape("Between 0.01 USD and 20.00 USD can be refunded, not 20.01 USD.")):
        payments.refund(payment, actor="grace", reason="Ticket 4711", amount_cents=2001)
    assert not AuditEntry.objects.filter(action="refund").exists()


def test_refund_asks_in_the_payments_currency_and_refuses_decimals_that_it_has_not(lead: Client) -> None:
    payment = factories.payment(amount_cents=2900, currency="jpy")
    assert "Amount in JPY" in lead.get(row_page(payment, "refund")).content.decode()
    answer = lead.post(row_page(payment, "refund"), CONFIRMED | {"amount": "10.50"})
    assert "JPY has 0 decimals." in answer.content.decode()
    too_much = lead.post(row_page(payment, "refund"), CONFIRMED | {"amount": "3000"})
    assert "Only 2,900 JPY is left to refund." in too_much.text
    assert not AuditEntry.objects.filter(action="refund").exists()


def test_unknown_row_is_not_found(lead: Client) -> None:
    for nonsense in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        assert lead.get(page_of(User, "suspend", nonsense)).status_code == 404


def test_id_that_looks_quoted_opens_its_own_page(lead: Client) -> None:
    UnmatchedCustomer.objects.create(
        stripe_customer_id="cus_3FaB", email="ada@example.com", reason="No customer has it."
    )
    page = lead.get(page_of(UnmatchedCustomer, "change", quote("cus_3FaB")))
    offers = {offer["operation"].name: offer["url"] for offer in page.context["row_operations"]}
    confirmation = lead.get(offers["link"])
    assert confirmation.status_code == 200
    assert lead.get(confirmation.context["back"]).context["original"].pk == "cus_3FaB"


def test_next_page_stays_in_the_back_office(lead: Client) -> None:
    user = factories.customer()
    for evil in ("https://evil.example/", "//evil.example/", "/admin/../../evil"):
        done = lead.post(f"{row_page(user, 'note')}?next={evil}", CONFIRMED)
        assert done["Location"].startswith("/admin/")


@pytest.mark.parametrize("reason", ["paid with 4242 4242 4242 4242", "the password is Tr0ub4dor"])
def test_cards_and_passwords_are_written_down_nowhere(lead: Client, reason: str) -> None:
    user = factories.customer()
    for operation in ("note", "suspend"):
        page = lead.post(row_page(user, operation), CONFIRMED | {"reason": reason}, follow=True)
        assert "which is kept nowhere" in page.content.decode()
    assert not CustomerNote.objects.exists()
    with pytest.raises(Refused, match="kept nowhere"):
        notes.add(user, author="ada", body=reason)
    user.refresh_from_db()
    assert user.status == "active"
