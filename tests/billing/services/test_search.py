"""The search box's answers, and that it reads by index only."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from billing.models import StripeCustomer, Subscription, UnmatchedCustomer, User
from billing.services import search
from demo.stripe.world import StripeWorld
from glyphforge.errors import Refused
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


@pytest.fixture
def muller() -> User:
    return factories.customer(email="info@strasse.example", name="Jörg Müller-Weiß")


@pytest.mark.parametrize(
    "text",
    ["Müller", "muller", "MULLER", "weiss", "Weiß", "muller jorg", "jörg strasse", "example müll"],
)
def test_words_are_found_in_any_order_and_however_accented(text: str, muller: User, ada: User) -> None:
    factories.customer(email="jorg@example.com", name="Jorg Smith")
    assert found(text) == [muller]


@pytest.mark.parametrize("text", ["lovlace", "Lovelcae", "ada lovelase", "lovelace adda", "adda.lovelace", "Mueller"])
def test_what_is_written_nearly_so_is_found_where_nothing_else_is(text: str, muller: User, ada: User) -> None:
    factories.customer(email="grace@example.com", name="Grace Hopper")
    assert found(text) == [muller if text == "Mueller" else ada]
    assert {hit.why for hit in search.find(text)} == {"written nearly so"}


def test_filters_find_customers_by_what_they_have_and_who_pays_most_comes_first(ada: User) -> None:
    poor = factories.subscription(tier="starter", status="past_due", price_cents=2_900)
    rich = factories.subscription(tier="starter", status="past_due", price_cents=12_000)
    yen = factories.subscription(tier="professional", price_cents=12_000, currency="jpy")
    leaving = factories.subscription(tier="professional", price_cents=9_900, cancel_at_period_end=True)
    suspended = factories.subscription(factories.customer(status="suspended"), tier="enterprise", price_cents=50_000)
    for text, rows in (
        ("is:past_due plan:starter", [rich, poor]),
        ("IS:past_due mrr:>90", [rich]),
        ("is:past_due mrr:<=29", [poor]),
        ("mrr:29", [poor]),
        ("mrr:>=12000", [yen]),
        ("is:canceling", [leaving]),
        ("is:suspended", [suspended]),
        (f"plan:professional {leaving.user.email}", [leaving]),
        ("plan:professional lovelace", []),
        ("is:unpaid", []),
    ):
        assert found(text) == [row.user for row in rows], text
    assert ada in found("plan:free")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("is:late", "is:late is unknown. Known are is:active, is:past_due,"),
        ("plan:gold", "plan:gold is unknown. Known are plan:free, plan:starter"),
        ("mrr:lots", "mrr:lots is no amount. Write mrr:>90"),
        ("mrr:>1e9", "mrr:>1e9 is no amount"),
        ("is:", "is: is unknown"),
    ],
)
def test_value_that_a_filter_does_not_take_is_named(text: str, said: str) -> None:
    with pytest.raises(Refused, match=re.escape(said)):
        search.find(text)


def test_of_what_is_found_by_the_same_who_pays_most_comes_first() -> None:
    free = factories.customer(email="zoe1@example.com")
    paying = factories.subscription(factories.customer(email="zoe2@example.com"), price_cents=2_900).user
    inside = factories.subscription(factories.customer(email="x.zoe@example.com"), price_cents=9_900).user
    assert found("zoe") == [paying, free, inside]
    assert [hit.subscription.price_cents for hit in search.find("zoe") if hit.subscription] == [2_900, 0, 9_900]


def test_page_says_what_each_has_and_what_a_filter_does_not_take(signed_in: Callable[[str], Client]) -> None:
    for number in range(2):
        factories.subscription(
            factories.customer(email=f"zoe{number}@example.com"), tier="starter", status="past_due", price_cents=2_900
        )
    support = signed_in("support")
    assert "Starter, past due, 29.00 USD a month" in support.get("/admin/billing/user/find/?q=zoe").content.decode()
    refused = support.get("/admin/billing/user/find/?q=is:late")
    assert (refused.status_code, "is:late is unknown" in refused.content.decode()) == (200, True)
    listed = support.get("/admin/billing/user/?q=plan:gold")
    assert (listed.status_code, "plan:gold is unknown" in listed.content.decode()) == (200, True)
