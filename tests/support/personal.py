"""One person who stands everywhere, and the search for them through the whole database."""

from typing import Any

from djstripe.models import Charge, Customer, Dispute, Invoice, PaymentMethod, Session

from billing.models import StripeCustomer, User
from billing.services import notes
from glyphforge.audit import acting_as
from tests.support import factories
from tests.support.sql import insert, query, run

EMAIL, OLD_EMAIL = "zelda.quix+api@planted.example", "zq@formerly.example"
NAME, PHONE, LINE, IP = "Zelda Quixplant", "+44 20 7946 0991", "17 Plantedstrasse", "203.0.113.77"
PLANTED = (EMAIL, EMAIL.replace("@", "%40").replace("+", "%2B"), OLD_EMAIL, NAME, PHONE, LINE, IP)
ADDRESS = {"line1": LINE, "city": "Plantville", "postal_code": "PL4 7ED", "country": "GB"}
BILLING = {"name": NAME, "email": EMAIL, "phone": PHONE, "address": ADDRESS}

_COLUMNS = """
    SELECT c.oid::regclass::text AS relation, a.attname AS name
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
"""


def found(*needles: str) -> set[str]:
    """Where any of the texts stands, in any case: `table.column` of every table, whatever the column's type."""
    where = set()
    for row in query(_COLUMNS):
        held = run(
            f'SELECT 1 FROM {row["relation"]} WHERE "{row["name"]}"::text ILIKE ANY (%s) LIMIT 1',
            [f"%{needle}%" for needle in needles],
        )
        where |= {f"{row['relation']}.{row['name']}"} if held else set()
    return where


def planted() -> User:
    """A customer without a live subscription at Stripe, of whom every place that can says something."""
    with acting_as(actor="stripe", kind="system"):
        user = factories.customer(email=OLD_EMAIL, name=NAME, stripe_customer_id="cus_zelda", cognito_user_id="sub-1")
        user.email = EMAIL
        user.save()
    factories.api_key(user, name=f"{NAME}'s laptop", key_prefix="glyph_sk_dev_zelda")
    factories.subscription(user, status="canceled", canceled_at="2026-01-01T00:00:00Z")
    payment = factories.payment(
        user, stripe_charge_id="ch_zelda", failure_message=f"{NAME} was declined", invoice_url="https://x.example/i"
    )
    insert("usage_corrections", user_id=user.pk, month="2026-01-01", requests=5, reason=f"{NAME} called", made_by="ada")
    factories.requests(user, 3, ip_address=IP, error_message=f"no glyph for {EMAIL}")
    notes.add(user, author="ada", body=f"{NAME} called from {PHONE}")
    _mirror()
    for number, stripe_object in enumerate(stripe_objects()):
        event = {"id": f"evt_z{number}", "object": "event", "type": "charge.updated", "data": {"object": stripe_object}}
        factories.webhook_event(
            stripe_event_id=f"evt_z{number}",
            payload=event,
            status="failed",
            last_error=f"{EMAIL.upper()} is taken",
            waits_for=[EMAIL],
        )
    factories.stripe_request(user, state="done", settled_at="2026-01-01T00:00:00Z", kind="tag_customer",
        stripe_object_id="cus_zelda", parameters={"email": EMAIL}, reason=f"{NAME} asked")  # fmt: skip
    insert("reconciliation_differences", kind="differs", object_kind="customer", stripe_id="cus_zelda",
        user_id=user.pk, field="email", local_value=OLD_EMAIL, stripe_value=EMAIL)  # fmt: skip
    insert("unmatched_stripe_customers", stripe_customer_id="cus_other", email=OLD_EMAIL, reason=f"has {OLD_EMAIL}")
    factories.alert(alert_type="near_limit", subject=EMAIL, message=f"{NAME} ({EMAIL}) from {IP}")
    run("UPDATE alerts SET objects = ARRAY[%s, 'users'] WHERE subject = %s", EMAIL, EMAIL)
    insert("authentication_failures", kind="api_key", source=IP, window_start="2026-01-01T00:00:00Z")
    insert("axes_accesslog", username=EMAIL, ip_address=IP, user_agent="x", http_accept="", path_info="",
        attempt_time="2026-01-01T00:00:00Z", session_hash="")  # fmt: skip
    with acting_as(actor="ada", reason=f"{NAME} wrote from {EMAIL}"):
        run("SELECT record_audit('refund', 'payment_history', %s, NULL, %s::jsonb)", str(payment.pk), '{"a": 1}')
        run("SELECT record_audit('note', 'plans', 'x', NULL, to_jsonb(%s::text))", f"a plan for {NAME}")
    user.refresh_from_db()
    return user


def stripe_objects() -> list[dict[str, Any]]:
    """The person's customer, a charge, an invoice and a dispute, as Stripe tells of them."""
    return [
        {
            "id": "cus_zelda",
            "object": "customer",
            **BILLING,
            "metadata": {"spouse": NAME},
            "description": f"{NAME} Ltd",
        },
        {"id": "ch_zelda", "object": "charge", "customer": "cus_zelda", "billing_details": BILLING, "amount": 2900},
        {"id": "in_z", "object": "invoice", "customer": {"id": "cus_zelda", **BILLING}, "customer_name": NAME},
        {"id": "du_z", "object": "dispute", "charge": "ch_zelda", "evidence": {"customer_purchase_ip": IP}},
    ]


def _mirror() -> None:
    said = {"stripe_data": {}, "livemode": False, "metadata": {"spouse": NAME}}
    customer, charge, invoice, dispute = stripe_objects()
    card = {
        "id": "pm_z",
        "object": "payment_method",
        "billing_details": BILLING,
        "card": {"last4": "4242", "exp_year": 2030},
    }
    session = {"id": "cs_z", "object": "checkout.session", "customer": "cus_zelda", "customer_details": BILLING}
    owner = Customer.objects.create(**said | {"id": "cus_zelda", "email": EMAIL, "stripe_data": customer})
    paid = Charge.objects.create(
        **said | {"id": "ch_zelda", "customer": owner, "stripe_data": charge, "amount": 29, "currency": "usd"}
    )
    for model, data in ((Invoice, invoice), (PaymentMethod, card), (Session, session)):
        model.objects.create(**said | {"id": data["id"], "customer": owner, "stripe_data": data})
    Dispute.objects.create(**said | {"id": "du_z", "charge": paid, "stripe_data": dispute})
    assert StripeCustomer.objects.filter(pk="cus_zelda").exists()
