"""The search box's answers, and that it reads by index only."""

import uuid
from typing import Any

import pytest

from billing.models import StripeCustomer, Subscription, UnmatchedCustomer, User
from billing.services import search
from demo.stripe.world import StripeWorld
from tests.support import factories
from tests.support.event_stream import EventStream, last_error

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return factories.customer(
        email="Ada.Lovelace@example.com",
        name="Ada Lovelace",
        stripe_customer_id="cus_NffrFeUfNV2Hib",
        cognito_user_id=str(uuid.uuid4()),
    )


def found(text: str) -> list[Any]:
    return [hit.found for hit in search.find(text)]


def test_customer_is_found_by_everything_support_may_have(ada: User) -> None:
    factories.customer(email="grace@example.com", name="Grace Hopper")
    subscription = factories.subscription(ada)
    payment = factories.payment(ada)
    issued = factories.issued_key(ada)
    for text in (
        "ada.lovelace@example.com",
        "ADA.LOV",
        "ada",
        "lovelace",  # in the middle of both
        "  Ada Lovelace ",
        str(ada.pk),
        str(ada.pk).upper(),
        ada.cognito_user_id,
        "cus_NffrFeUfNV2Hib",
        subscription.stripe_subscription_id,
        str(subscription.pk),
        payment.stripe_invoice_id,
        payment.stripe_charge_id,
        payment.stripe_payment_intent_id,
        issued.key.key_prefix,
        issued.key.key_prefix[:-2],
        issued.raw_key,
        str(issued.key.pk),
    ):
        assert found(str(text)) == [ada], text


@pytest.fixture
def bought(ada: User, world: StripeWorld) -> StripeWorld:
    """What a sale leaves: an invoice, its charge, refunded and disputed in part, and a checkout."""
    stream = EventStream(world)
    customer, charge, invoice = stream.customer, stream.charge, stream.invoice
    customer["metadata"] = {"user_id": str(ada.pk)}
    invoice["number"], charge["receipt_number"] = "A1B2C3D4-0007", "2345-6789"
    charge["payment_method_details"] = {"type": "card", "card": {"last4": "4242", "brand": "visa"}}
    stream.signed_up()
    stream.announce("charge.succeeded", charge)
    stream.announce("invoice.paid", invoice)
    session = {"id": "cs_test_B14abcdef", "object": "checkout.session", "livemode": False, "payment_status": "paid"}
    refund = {
        "id": "re_3OaBcDeFgHiJkLm",
        "object": "refund",
        "charge": charge["id"],
        "amount": 100,
        "status": "succeeded",
    }
    dispute = {"id": "du_1OaBcDeFgHiJkLm", "object": "dispute", "charge": charge["id"], "amount": 100}
    dispute |= {"currency": "usd", "status": "needs_response", "livemode": False, "created": charge["created"]}
    for kind, item in (
        ("checkout.session.completed", session | {"customer": customer["id"]}),
        ("refund.created", refund | {"currency": "usd", "created": charge["created"]}),
        (
            "charge.dispute.created",
            dispute | {"payment_intent": None, "metadata": {}, "reason": "general", "balance_transactions": []},
        ),
    ):
        world.put(item)
        assert stream.announce(kind, item) == "processed", (kind, last_error())
    return world


def test_customer_is_found_by_what_a_ticket_names(ada: User, bought: StripeWorld) -> None:
    ids = {item["object"]: item["id"] for item in bought.objects.values()}
    subscription = Subscription.objects.get(stripe_subscription_id__isnull=False)
    dashboard = "https://dashboard.stripe.com"
    for text in (
        "A1B2C3D4-0007",
        "a1b2c3d4-0007",
        "A1B2C3D4-",
        "2345-6789",
        "4242",
        "•••• 4242",
        "cs_test_B14abcdef",
        "cs_test_B14",
        "re_3OaBcDeFgHiJkLm",
        "du_1OaBcDeFgHiJkLm",
        "du_1OaBcDe",
        ids["invoice"],
        ids["charge"][:12],
        ids["customer"],
        ids["customer"][:8],
        subscription.stripe_subscription_id[:10],
        subscription.stripe_price_id,
        f"{dashboard}/test/customers/{ids['customer']}",
        f"{dashboard}/acct_1OaBc/test/subscriptions/{subscription.stripe_subscription_id}?tab=events",
        f" {dashboard}/invoices/{ids['invoice']} ",
        f"{ids['customer']} {ids['charge']}",
        f"{ids['customer']}, cus_NffrFeUfNV2Hib",
        str(ada.pk)[:8],
    ):
        assert found(str(text)) == [ada], text


def test_several_ids_find_all_of_whom_they_are(ada: User) -> None:
    other = factories.customer(stripe_customer_id="cus_other")
    assert found("cus_NffrFeUfNV2Hib\ncus_other cus_unknown") == [ada, other]


def test_every_customer_at_stripe_of_a_user_finds_the_user(ada: User) -> None:
    StripeCustomer.objects.create(stripe_customer_id="cus_Second1234", user=ada)
    assert found("cus_Second1234") == found("cus_Seco") == [ada]


def test_customer_at_stripe_who_is_nobodys_is_found(ada: User) -> None:
    unmatched = UnmatchedCustomer.objects.create(stripe_customer_id="cus_Nobody12", reason="No customer has it.")
    assert found("cus_Nobody12") == found("cus_Nobo") == [unmatched]


def test_id_that_is_cut_too_short_finds_nobody(ada: User) -> None:
    assert found("cus_Nff") == []


def test_event_is_found_by_its_id() -> None:
    event = factories.webhook_event(stripe_event_id="evt_1NG8Du")
    assert found("evt_1NG8Du") == [event]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "cus_nffrfeufnv2hib",
        "cus_",
        "nobody@",
        "%",
        "_",
        "%%%",
        "\0",
        "x" * 5000,
        "'; --",
        str(uuid.UUID(int=7)),
    ],
)
def test_what_names_nobody_finds_nobody(text: str, ada: User) -> None:
    assert found(text) == []


def test_words_are_limited_and_what_begins_with_them_comes_first() -> None:
    for number in range(30):
        factories.customer(email=f"ann{number}@example.com")
    assert len(found("ann")) == search.LIMIT
    inside = factories.customer(email="x.zoe@example.com")
    begins = factories.customer(email="zoe@example.com")
    assert found("zoe") == [begins, inside]
