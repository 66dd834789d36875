"""The members of Stripe's objects that are read here, and no others.

They are as the pinned API version has them and as `billing.stripe.gateway` expands and completes them. Types alone:
nothing is checked at run time. A member that is not required is one that Stripe may leave out: of objects of an older
version, of deleted ones, or where nothing is to be said. Amounts are in the currency's smallest unit, moments in Unix
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

# An id, or the object itself where it was expanded: https://docs.stripe.com/expand
Reference = str | Mapping[str, object]


class Customer(TypedDict):
    """https://docs.stripe.com/api/customers/object; of a deleted one only `id` and `deleted` are left."""

    id: str
    created: NotRequired[int]
    deleted: NotRequired[bool]
    discount: NotRequired[Discount | None]
    email: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    name: NotRequired[str | None]


class Subscription(TypedDict):
    """https://docs.stripe.com/api/subscriptions/object

    The period was the subscription's before API version 2025-03-31 and is its items' since.
    """

    id: str
    created: int
    currency: str
    items: SubscriptionItems
    status: str
    cancel_at: NotRequired[int | None]
    cancel_at_period_end: NotRequired[bool]
    canceled_at: NotRequired[int | None]
    current_period_end: NotRequired[int]
    current_period_start: NotRequired[int]
    customer: NotRequired[Reference]
    default_tax_rates: NotRequired[list[TaxRate | str] | None]
    discounts: NotRequired[list[Discount | str] | None]
    ended_at: NotRequired[int | None]
    metadata: NotRequired[dict[str, str] | None]
    trial_end: NotRequired[int | None]


class SubscriptionItems(TypedDict):
    """All items of a subscription: the gateway pages through a list that Stripe cut."""

    data: list[SubscriptionItem]


class SubscriptionItem(TypedDict):
    """https://docs.stripe.com/api/subscription_items/object; metered items have no quantity."""

    price: Price
    current_period_end: NotRequired[int]
    current_period_start: NotRequired[int]
    discounts: NotRequired[list[Discount | str] | None]
    quantity: NotRequired[int | None]
    tax_rates: NotRequired[list[TaxRate | str] | None]


class Amounts(TypedDict, total=False):
    """What a price costs in one currency; a `_decimal` is exact where the whole number is not."""

    tiers: list[PriceTier] | None
    unit_amount: int | None
    unit_amount_decimal: str | None


class Price(Amounts):
    """https://docs.stripe.com/api/prices/object; `currency_options` maps other currencies to their amounts."""

    id: str
    currency: str
    billing_scheme: NotRequired[str]
    currency_options: NotRequired[dict[str, Amounts] | None]
    lookup_key: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    product: NotRequired[Reference]
    recurring: NotRequired[Recurring | None]
    tiers_mode: NotRequired[str | None]
    transform_quantity: NotRequired[Packages | None]


class PriceTier(TypedDict, total=False):
    """A tier of a price, up to a quantity; the last one has no end."""

    flat_amount: int | None
    flat_amount_decimal: str | None
    unit_amount: int | None
    unit_amount_decimal: str | None
    up_to: int | None


class Recurring(TypedDict, total=False):
    """How often a price is due: every `interval_count` of `interval`."""

    interval: str
    interval_count: int
    usage_type: str


class Packages(TypedDict):
    """A price for packages of `divide_by` units; `round` is up or down."""

    divide_by: int
    round: str


class TaxRate(TypedDict):
    """https://docs.stripe.com/api/tax_rates/object"""

    percentage: float
    inclusive: NotRequired[bool]


class Discount(TypedDict, total=False):
    """https://docs.stripe.com/api/discounts/object; the gateway puts the `coupon`, None for a deleted one."""

    coupon: Coupon | None
    end: int | None


class Coupon(TypedDict, total=False):
    """https://docs.stripe.com/api/coupons/object"""

    amount_off: int | None
    applies_to: CouponProducts | None
    currency: str | None
    currency_options: dict[str, AmountOff] | None
    duration: str
    id: str
    percent_off: float | None


class CouponProducts(TypedDict, total=False):
    """The ids of the products that a coupon is for."""

    products: list[str]


class AmountOff(TypedDict, total=False):
    """What a coupon takes off in one currency."""

    amount_off: int | None


class Charge(TypedDict):
    """https://docs.stripe.com/api/charges/object; it named its `invoice` before API version 2025-03-31."""

    id: str
    amount: int
    created: int
    currency: str
    status: str
    amount_captured: NotRequired[int | None]
    amount_refunded: NotRequired[int | None]
    captured: NotRequired[bool]
    customer: NotRequired[Reference | None]
    disputed: NotRequired[bool]
    failure_message: NotRequired[str | None]
    invoice: NotRequired[Reference | None]
    payment_intent: NotRequired[Reference | None]
    receipt_url: NotRequired[str | None]
    refunded: NotRequired[bool]


class CheckoutSession(TypedDict):
    """https://docs.stripe.com/api/checkout/sessions/object"""

    id: str
    client_reference_id: NotRequired[str | None]
    customer: NotRequired[Reference | None]
    livemode: NotRequired[bool]
    payment_status: NotRequired[str]


class Dispute(TypedDict, total=False):
    """https://docs.stripe.com/api/disputes/object"""

    charge: Reference
    status: str


class Invoice(TypedDict):
    """https://docs.stripe.com/api/invoices/object, with its `payments` expanded."""

    id: str
    hosted_invoice_url: NotRequired[str | None]
    payments: NotRequired[InvoicePayments | None]


class InvoicePayments(TypedDict, total=False):
    """What paid an invoice, or tried to."""

    data: list[InvoicePayment]


class InvoicePayment(TypedDict, total=False):
    """https://docs.stripe.com/api/invoice-payment/object"""

    payment: PaidBy | None


class PaidBy(TypedDict, total=False):
    """The payment intent or the charge of an invoice's payment."""

    charge: Reference | None
    payment_intent: Reference | None


class Event(TypedDict):
    """https://docs.stripe.com/api/events/object, as `billing.stripe.events.inbox.parse` lets it in.

    What is in `data` nobody has checked.
    """

    id: str
    livemode: bool
    type: str
    account: NotRequired[str | None]
    api_version: NotRequired[str | None]
    data: EventData


class EventData(TypedDict):
    """The object as it was when the event was made."""

    object: EventPayload


class EventPayload(TypedDict, total=False):
    """What is read of an event's object, whatever its kind; the rest is fetched anew."""

    charge: Reference | None
    customer: Reference | None
    id: str
    invoice: Reference | None
    object: str
