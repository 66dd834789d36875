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
    pause_collection: NotRequired[PausedCollection | None]
    schedule: NotRequired[Reference | None]
    trial_end: NotRequired[int | None]


class PausedCollection(TypedDict, total=False):
    """What becomes of a subscription's invoices while nothing is collected, and until when; without an end if None."""

    behavior: str
    resumes_at: int | None


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


class CatalogueObject(TypedDict):
    """What a price and a product have in common; only a price has a lookup key and a product."""

    id: str
    lookup_key: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    object: NotRequired[str]
    product: NotRequired[Reference]


class Price(Amounts, CatalogueObject):
    """https://docs.stripe.com/api/prices/object; `currency_options` maps other currencies to their amounts."""

    currency: str
    billing_scheme: NotRequired[str]
    active: NotRequired[bool]
    currency_options: NotRequired[dict[str, Amounts] | None]
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
    balance_transaction: NotRequired[BalanceTransaction | str | None]
    captured: NotRequired[bool]
    customer: NotRequired[Reference | None]
    disputed: NotRequired[bool]
    failure_balance_transaction: NotRequired[BalanceTransaction | str | None]
    failure_code: NotRequired[str | None]
    failure_message: NotRequired[str | None]
    invoice: NotRequired[Reference | None]
    outcome: NotRequired[Outcome | None]
    payment_intent: NotRequired[Reference | None]
    receipt_url: NotRequired[str | None]
    refunded: NotRequired[bool]


class Outcome(TypedDict, total=False):
    """https://docs.stripe.com/api/charges/object#charge_object-outcome"""

    reason: str | None


class CheckoutSession(TypedDict):
    """https://docs.stripe.com/api/checkout/sessions/object"""

    id: str
    client_reference_id: NotRequired[str | None]
    customer: NotRequired[Reference | None]
    livemode: NotRequired[bool]
    payment_status: NotRequired[str]


class BalanceTransaction(TypedDict):
    """https://docs.stripe.com/api/balance_transactions/object; in the currency that the account settles in."""

    amount: int
    created: int
    currency: str
    reporting_category: NotRequired[str]
    type: NotRequired[str]


class Refund(TypedDict):
    """https://docs.stripe.com/api/refunds/object"""

    id: str
    amount: int
    created: int
    balance_transaction: NotRequired[Reference | None]
    failure_balance_transaction: NotRequired[BalanceTransaction | str | None]
    status: NotRequired[str | None]


class Dispute(TypedDict):
    """https://docs.stripe.com/api/disputes/object; its currency is the charge's."""

    id: str
    amount: int
    created: int
    currency: str
    status: str
    balance_transactions: NotRequired[list[BalanceTransaction | str] | None]
    charge: NotRequired[Reference]
    evidence_details: NotRequired[EvidenceDetails | None]
    is_charge_refundable: NotRequired[bool]
    reason: NotRequired[str | None]


class EvidenceDetails(TypedDict, total=False):
    """Until when an answer to a dispute or an inquiry may be given."""

    due_by: int | None


class Invoice(TypedDict):
    """https://docs.stripe.com/api/invoices/object, with its `payments` expanded.

    It named its `subscription` before API version 2025-03-31 and its `parent` does since.
    """

    id: str
    amount_due: NotRequired[int | None]
    amount_paid: NotRequired[int | None]
    amount_paid_off_stripe: NotRequired[int | None]
    amount_remaining: NotRequired[int | None]
    attempt_count: NotRequired[int | None]
    created: NotRequired[int]
    currency: NotRequired[str]
    customer: NotRequired[Reference | None]
    due_date: NotRequired[int | None]
    hosted_invoice_url: NotRequired[str | None]
    invoice_pdf: NotRequired[str | None]
    lines: NotRequired[InvoiceLines | None]
    next_payment_attempt: NotRequired[int | None]
    number: NotRequired[str | None]
    paid_out_of_band: NotRequired[bool]
    parent: NotRequired[InvoiceParent | None]
    payments: NotRequired[InvoicePayments | None]
    status: NotRequired[str | None]
    status_transitions: NotRequired[StatusTransitions | None]
    subscription: NotRequired[Reference | None]
    total: NotRequired[int | None]


class InvoiceParent(TypedDict, total=False):
    """What made an invoice."""

    subscription_details: SubscriptionDetails | None


class SubscriptionDetails(TypedDict, total=False):
    """Which subscription made an invoice."""

    subscription: Reference | None


class StatusTransitions(TypedDict, total=False):
    """When an invoice reached a status."""

    finalized_at: int | None
    paid_at: int | None


class InvoiceLines(TypedDict, total=False):
    """All lines of an invoice: the gateway pages through a list that Stripe cut."""

    data: list[InvoiceLine]


class InvoiceLine(TypedDict, total=False):
    """https://docs.stripe.com/api/invoice-line-item/object

    The price was at `price`, before that at `plan`, and is at `pricing.price_details` since API version 2025-03-31.
    """

    amount: int | None
    description: str | None
    plan: Reference | None
    price: Reference | None
    pricing: LinePricing | None


class LinePricing(TypedDict, total=False):
    """How an invoice's line came to its amount."""

    price_details: LinePrice | None


class LinePrice(TypedDict, total=False):
    """The price and the product of an invoice's line."""

    price: Reference | None
    product: Reference | None


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
    created: NotRequired[int]
    account: NotRequired[str | None]
    api_version: NotRequired[str | None]
    data: EventData


class EventData(TypedDict):
    """The object as it was when the event was made."""

    object: EventPayload


class EventPayload(TypedDict, total=False):
    """What is read of an event's object, whatever its kind; the rest is fetched anew."""

    captured: bool
    charge: Reference | None
    customer: Reference | None
    id: str
    invoice: Reference | None
    object: str
    status: str
    subscription: Reference | None
