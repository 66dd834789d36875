"""What an event is about: the kind of object to fetch, its id, and the customer whose rows it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from billing.stripe.errors import PermanentError
from billing.stripe.objects import EventPayload, Reference
from glyphforge.rows import Json

# Longest prefix first: event type to the kind of object whose current state answers it.
PREFIXES = (
    ("charge.dispute.", "dispute"),
    ("charge.refund.", "refund"),
    ("charge.", "charge"),
    ("checkout.session.", "checkout.session"),
    ("coupon.", "coupon"),
    ("credit_note.", "invoice"),
    ("customer.discount.", "discount"),
    ("customer.subscription.", "subscription"),
    ("invoice_payment.", "invoice"),
    ("invoice.", "invoice"),
    ("invoiceitem.", "invoiceitem"),
    ("payment_intent.", "payment_intent"),
    ("payment_method.", "payment_method"),
    ("price.", "price"),
    ("product.", "product"),
    ("refund.", "refund"),
)
CUSTOMER_TYPES = frozenset({"customer.created", "customer.updated", "customer.deleted"})
# A preview of an invoice that does not exist yet: it has no id to fetch.
WITHOUT_OBJECT = frozenset({"invoice.upcoming"})


@dataclass(frozen=True)
class EventObject:
    """What an event is about: `kind` and `object_id` name what to fetch.

    `customer_id` is None when the event does not say. `payload` is the event's `data.object`, as it was when the event
    was made, at `created` (Unix seconds); `changed` are its members that the event says have changed:
    https://docs.stripe.com/api/events/object
    """

    kind: str
    object_id: str
    customer_id: str | None
    event_type: str
    payload: EventPayload
    created: int | None = None
    changed: frozenset[str] = frozenset()


def kind_of(event_type: str) -> str | None:
    """The kind of object that an event of this type is about; None for types that change nothing here.

    All there are: https://docs.stripe.com/api/events/types
    """
    if event_type in CUSTOMER_TYPES:
        return "customer"
    if event_type in WITHOUT_OBJECT:
        return None
    return next((kind for prefix, kind in PREFIXES if event_type.startswith(prefix)), None)


def of_event(event_type: str, payload: Json) -> EventObject | None:
    """Say what an event is about; None when its type changes nothing here.

    `payload` is the whole event, as it came: nobody has checked what is in its `data`. Raises PermanentError for a type
    that we handle whose payload names no object.
    """
    kind = kind_of(event_type)
    if kind is None:
        return None
    data = payload.get("data")
    found = data.get("object") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise PermanentError(f"The event carries no object (data.object) for {event_type}.")
    item = cast(EventPayload, found)
    # Credit notes and invoice payments matter for the invoice that they belong to.
    wanted: Reference | None = item.get("invoice") if item.get("object") in ("credit_note", "invoice_payment") else item
    # A discount has no id in older versions, and is read at its customer.
    object_id = identifier(wanted) or (identifier(item.get("customer")) if kind == "discount" else None)
    if not object_id:
        raise PermanentError(f"The event names no {kind} (data.object.id) for {event_type}.")
    customer_id = object_id if kind == "customer" else identifier(item.get("customer"))
    created = payload.get("created")
    previous = data.get("previous_attributes") if isinstance(data, dict) else None
    return EventObject(
        kind,
        object_id,
        customer_id,
        event_type,
        item,
        created if isinstance(created, int) else None,
        frozenset(previous) if isinstance(previous, dict) else frozenset(),
    )


def identifier(value: Reference | None) -> str | None:
    """The id in a reference, which Stripe gives as a string or, expanded, as an object; None without one.

    See https://docs.stripe.com/expand
    """
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None
