"""The table in docs/stripe.md holds, row by row: how the event ends and what is here afterwards."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from billing.models import Payment, PlanPrice, Sold, Subscription, User, WebhookEvent
from demo.stripe.deliver import signature
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db
ROWS = re.findall(
    r"^\| (\w+) \| (.+?) \| (processed|ignored|waits|refused) \|",
    (Path(__file__).resolve().parents[3] / "docs" / "stripe.md").read_text(),
    re.MULTILINE,
)
EMPTY: Json = {"object": "list", "data": [], "has_more": False}
ENDED = 1_790_000_000


class Account(EventStream):
    """The paying customer of the recordings, known here unless it says so, and what happens to its objects."""

    known = True

    def subscription_becomes(self, **changes: Any) -> str | None:
        return self.update(**changes)

    def item_becomes(self, **changes: Any) -> str | None:
        self.item.update(changes)
        return self.update()

    def price_becomes(self, **changes: Any) -> str | None:
        self.item["price"] = self.item["price"] | changes
        self.world.put(self.item["price"])
        return self.update()

    def charge_becomes(self, **changes: Any) -> str | None:
        self.charge.update(changes)
        return self.announce("charge.succeeded", self.charge)

    def invoice_becomes(self, **changes: Any) -> str | None:
        self.invoice.update(changes)
        return self.announce("invoice.paid", self.invoice)

    def half_off(self) -> Json:
        coupon = {"id": "HALF", "object": "coupon", "percent_off": 50, "duration": "forever", "valid": True}
        coupon |= {"created": 1, "livemode": False}
        self.world.put(coupon)
        discount = {"id": "di_1", "object": "discount", "customer": self.customer["id"], "start": 1, "end": None}
        return discount | {"coupon": coupon}

    def error(self) -> str:
        """Why the newest event is not processed."""
        return str(self.newest().last_error)

    def newest(self) -> WebhookEvent:
        """The event that Stripe sent last."""
        return WebhookEvent.objects.get(stripe_event_id=self.world.events[-1]["id"])


class Newcomer(Account):
    """The same customer, of whom nothing is here yet."""

    known = False


def row(**wanted: Any) -> Callable[[Account], None]:
    """The subscription's row holds this."""

    def check(account: Account) -> None:
        assert {name: getattr(account.row, name) for name in wanted} == wanted

    return check


def canceled(account: Account) -> None:
    assert (account.row.status, account.live_tier()) == ("canceled", "free")


def nothing(account: Account) -> None:
    assert not Subscription.objects.exclude(stripe_subscription_id=None).exists()
    assert not Payment.objects.exists()


def no_payment(account: Account) -> None:
    assert not Payment.objects.exists()


def linked(account: Account) -> None:
    assert account.payment.stripe_invoice_id == account.invoice["id"]


def says(*texts: str) -> Callable[[Account], None]:
    def check(account: Account) -> None:
        assert [text for text in texts if text not in account.error()] == []
        if account.known:
            assert (account.row.status, account.live_tier()) == ("active", "starter")

    return check


def paid(**wanted: Any) -> Callable[[Account], None]:
    def check(account: Account) -> None:
        assert {name: getattr(account.payment, name) for name in wanted} == wanted

    return check


def kept_and_told(account: Account) -> None:
    assert (account.row.status, account.live_tier()) == ("past_due", "starter")
    with connection.cursor() as cursor:
        cursor.execute("SELECT subject, severity, value FROM v_alerts WHERE alert_type = 'unclaimed_prices'")
        assert cursor.fetchall() == [(account.item["price"]["id"], "warning", 1)]


def foreign(account: Account) -> None:
    account.world.put(account.world.objects[account.item["price"]["product"]] | {"id": "prod_other"})
    price = account.item["price"] | {"id": "price_other", "product": "prod_other", "metadata": {}, "lookup_key": None}
    account.world.put(price)
    PlanPrice.objects.create(stripe_price_id="price_other", tier=Sold.FOREIGN)


def only_foreign(account: Account) -> None:
    foreign(account)
    account.item["price"] = account.world.objects["price_other"]
    account.world.forget(account.invoice["id"])


def aged(account: Account) -> str | None:
    account.price_becomes(metadata={}, lookup_key=None, active=False)
    account.announce("price.updated", account.item["price"])
    return account.update(status="past_due")


def beside(account: Account) -> str | None:
    foreign(account)
    other = account.item | {"id": "si_other", "price": account.world.objects["price_other"]}
    account.subscription["items"]["data"].append(other)
    return account.update()


def declared(account: Account) -> str | None:
    only_foreign(account)
    return account.update()


def foreign_customer(account: Account) -> str | None:
    only_foreign(account)
    return account.announce("customer.created", account.customer)


def foreign_charge(account: Account) -> str | None:
    foreign(account)
    account.invoice["payments"] = {"data": [{"payment": {"charge": account.charge["id"]}}]}
    for line in account.invoice["lines"]["data"]:
        line["pricing"]["price_details"] = {"price": "price_other", "product": "prod_other"}
    return account.charge_becomes()


def unknown_price(account: Account) -> str | None:
    return account.price_becomes(id="price_new", metadata={}, lookup_key=None)


def canceled_unclaimed(account: Account) -> str | None:
    unknown_price(account)
    return account.update(status="canceled", ended_at=ENDED)


def gone_tiers(account: Account) -> str | None:
    account.item["price"] = account.item["price"] | {
        "id": "price_gone", "billing_scheme": "tiered", "unit_amount": None, "unit_amount_decimal": None,
    }  # fmt: skip
    return account.update()


def older_period(account: Account) -> str | None:
    period = {name: account.item.pop(name) for name in ("current_period_start", "current_period_end")}
    return account.update(**period)


def deleted(account: Account) -> str | None:
    account.world.delete_customer(account.customer["id"])
    return account.deliver(account.world.events[-1])


def of_deleted(account: Account) -> str | None:
    deleted(account)
    return account.announce("customer.subscription.deleted", account.subscription)


def is_deleted(account: Account) -> None:
    user = User.objects.get()
    assert (user.status, user.email, user.name, user.payments.count()) == ("deleted", None, "", 1)


def coupon_in_full(account: Account) -> str | None:
    account.customer["discount"] = account.half_off()
    return account.announce("customer.discount.created", account.customer["discount"])


def discount_alone(account: Account) -> str | None:
    account.customer["discount"] = account.half_off()
    return account.announce("customer.updated", account.customer)


def discount_without_id(account: Account) -> str | None:
    account.customer["discount"] = account.half_off()
    old = {name: value for name, value in account.customer["discount"].items() if name != "id"}
    return account.deliver(account.world.emit("customer.discount.created", old) | {"api_version": "2019-05-16"})


def removed_item(account: Account) -> str | None:
    line = account.invoice["lines"]["data"][0]
    line |= {"subscription_item": "si_gone", "parent": {"type": "subscription_item_details"}}
    line["parent"]["subscription_item_details"] = {"subscription_item": "si_gone", "invoice_item": None}
    account.invoice["payments"] = {"data": [{"payment": {"charge": account.charge["id"]}}]}
    return account.invoice_becomes()


def thin(account: Account) -> str | None:
    body = '{"object": "v2.core.event", "id": "evt_1", "type": "v1.billing.meter.no_meter_found", "livemode": false}'
    answer = Client().post(
        "/webhooks/stripe/", body, "application/json", headers={"Stripe-Signature": signature(body, "whsec_current")}
    )
    assert "v2.core.event" in answer.json()["error"]
    assert "snapshot events of API v1" in answer.json()["error"]
    return {400: "refused"}.get(answer.status_code)


def other_mode(account: Account) -> str | None:
    account.deliver(account.world.emit("customer.updated", account.customer) | {"livemode": True})
    return account.newest().status


def no_matter(account: Account) -> str | None:
    account.announce("payout.paid", {"id": "po_1", "object": "payout"})
    return account.newest().status


def unchanged(account: Account) -> None:
    assert (account.row.status, account.row.price_cents, account.live_tier()) == ("active", 2900, "starter")


def becomes(
    what: str, account: type[Account] = Account, **changes: Any
) -> tuple[type[Account], Callable[[Account], Any]]:
    return account, lambda each: getattr(each, f"{what}_becomes")(**changes)


CASES: dict[tuple[str, str], tuple[Any, Callable[[Account], None]]] = {
    ("subscription", "trialing without a card"): (
        becomes("subscription", Newcomer, status="trialing", trial_end=1_900_000_000, default_payment_method=None),
        row(status="trialing", tier="starter", price_cents=2900),
    ),
    ("subscription", "unpaid"): (becomes("subscription", status="unpaid"), row(status="unpaid", tier="starter")),
    ("subscription", "paused"): (becomes("subscription", status="paused"), row(status="paused", tier="starter")),
    ("subscription", "incomplete"): (
        becomes("subscription", Newcomer, status="incomplete"),
        row(status="incomplete", tier="starter"),
    ),
    ("subscription", "incomplete without items"): (
        becomes("subscription", Newcomer, status="incomplete", items=EMPTY),
        nothing,
    ),
    ("subscription", "canceled without items"): (
        becomes("subscription", status="canceled", ended_at=ENDED, items=EMPTY),
        canceled,
    ),
    ("subscription", "canceled with a price that no plan claims"): (
        (Account, canceled_unclaimed),
        canceled,
    ),
    ("subscription", "canceled, never seen and without items"): (
        becomes("subscription", Newcomer, status="canceled", ended_at=ENDED, items=EMPTY),
        nothing,
    ),
    ("subscription", "active without items"): (becomes("subscription", items=EMPTY), says("has no items at Stripe")),
    ("subscription", "items null"): (becomes("subscription", items=None), says("has no items at Stripe")),
    ("subscription", "unknown status"): (
        becomes("subscription", status="frozen"),
        says("status 'frozen' is unknown; known are incomplete,"),
    ),
    ("subscription", "metadata, discounts and tax rates null"): (
        becomes("subscription", metadata=None, discounts=None, default_tax_rates=None),
        unchanged,
    ),
    ("subscription", "quantity null"): (becomes("item", quantity=None), row(quantity=1, price_cents=2900)),
    ("subscription", "quantity 3,000,000,000"): (
        becomes("item", quantity=3_000_000_000),
        row(quantity=3_000_000_000, price_cents=2900 * 3_000_000_000),
    ),
    ("subscription", "quantity beyond 64 bits"): (becomes("item", quantity=10**20), says("100000000000000000000")),
    ("subscription", "item without a price"): (becomes("item", price=None), says("an item without a price")),
    ("subscription", "item whose product was deleted"): (
        becomes("price", Newcomer, id="price_new", product="prod_gone"),
        unchanged,
    ),
    ("subscription", "price deleted that has to be asked for its tiers"): (
        (Account, gone_tiers),
        says("no recurring amount in usd for price price_gone"),
    ),
    ("subscription", "price that no plan claims, new here"): (
        (Account, unknown_price),
        says("No plan claims price price_new", "under Plan prices"),
    ),
    ("subscription", "price that lost its lookup key, metadata or mapping"): ((Account, aged), kept_and_told),
    ("subscription", "price archived"): (becomes("price", active=False), unchanged),
    ("subscription", "lookup key that says more than plan and interval"): (
        becomes("price", id="price_new", metadata={}, lookup_key="enterprise_support_monthly"),
        says("No plan claims price price_new"),
    ),
    ("subscription", "declared not ours"): ((Newcomer, declared), nothing),
    ("subscription", "with an item that is declared not ours"): ((Account, beside), unchanged),
    ("subscription", "currency in upper case"): (becomes("subscription", currency="USD"), row(currency="usd")),
    ("subscription", "currency with three decimals"): (
        (Account, lambda each: each.price_becomes(currency="kwd") and each.update(currency="kwd")),
        row(currency="kwd", price_cents=2900),
    ),
    ("subscription", "customer and product expanded"): (
        (Account, lambda each: each.update(customer=each.customer)),
        unchanged,
    ),
    ("subscription", "period at the subscription, as before 2025-03-31"): ((Account, older_period), unchanged),
    ("subscription", "no customer"): (becomes("subscription", customer=None), says("customer")),
    ("subscription", "of a deleted customer"): ((Account, of_deleted), is_deleted),
    ("customer", "deleted"): ((Account, deleted), is_deleted),
    ("customer", "coupon named in full instead of by its id"): ((Account, coupon_in_full), row(price_cents=1450)),
    ("customer", "other discount, without an event about it"): ((Account, discount_alone), row(price_cents=1450)),
    ("customer", "who has only what is not ours"): ((Newcomer, foreign_customer), nothing),
    ("discount", "event without an id, as before 2020"): ((Account, discount_without_id), row(price_cents=1450)),
    ("charge", "no customer"): (becomes("charge", Newcomer, customer=None), nothing),
    ("charge", "amount 0"): (becomes("charge", amount=0, amount_captured=0), paid(amount_cents=0, status="succeeded")),
    ("charge", "currency in upper case"): (becomes("charge", currency="USD"), paid(currency="usd")),
    ("charge", "currency with three decimals"): (
        becomes("charge", currency="kwd"),
        paid(currency="kwd", amount_cents=2900),
    ),
    ("charge", "of an invoice for what is not ours"): (
        (Account, foreign_charge),
        no_payment,
    ),
    ("invoice", "no customer"): (becomes("invoice", customer=None), paid(stripe_invoice_id=None)),
    ("invoice", "lines null"): (becomes("invoice", lines=None), unchanged),
    ("invoice", "line of an item that was removed"): (
        (Account, removed_item),
        linked,
    ),
    ("invoice", "negative total"): (becomes("invoice", total=-500, subtotal=-500, amount_due=0), unchanged),
    ("event", "of API v2 (thin)"): ((Account, thin), unchanged),
    ("event", "of a type that changes nothing"): ((Account, no_matter), says("change nothing here")),
    ("event", "of the other mode"): ((Account, other_mode), says("A live-mode event")),
}


def test_every_state_of_the_table_is_tried() -> None:
    assert [(kind, state) for kind, state, _ in ROWS] == list(CASES)


@pytest.mark.parametrize(("kind", "state", "ends"), ROWS)
def test_state_ends_as_the_table_says(world: StripeWorld, kind: str, state: str, ends: str) -> None:
    (account_class, happens), check = CASES[kind, state]
    account = account_class(world)
    if account.known:
        account.signed_up()
    assert happens(account) == {"waits": "failed"}.get(ends, ends)
    check(account)
