"""Moments of money that only an event tells, where the object does not say when it changed."""

from __future__ import annotations

from collections.abc import Callable

from billing.models import PaymentMovement
from billing.stripe.events.event_object import EventObject
from billing.stripe.objects import EventPayload
from billing.stripe.projection.movements import REFUND_UNDONE, Told

Kind = PaymentMovement.Kind


def _captured(payload: EventPayload) -> bool:
    return payload.get("status") == "succeeded" and payload.get("captured", True)


def _undone(payload: EventPayload) -> bool:
    return payload.get("status") in REFUND_UNDONE


def _won(payload: EventPayload) -> bool:
    return payload.get("status") == "won"


def _always(payload: EventPayload) -> bool:
    return True


# The kind of movement that an event dates, and when: `charge.succeeded` is also sent for an authorization that is still
# to be captured, and a dispute that is closed may have been lost. https://docs.stripe.com/api/events/types
DATED: dict[str, tuple[str, Callable[[EventPayload], bool]]] = {
    "charge.captured": (Kind.CHARGE, _captured),
    "charge.dispute.closed": (Kind.DISPUTE_REVERSED, _won),
    "charge.dispute.funds_reinstated": (Kind.DISPUTE_REVERSED, _always),
    "charge.dispute.funds_withdrawn": (Kind.DISPUTE, _always),
    "charge.refund.updated": (Kind.REFUND_FAILED, _undone),
    "charge.refunded": (Kind.REFUND, _always),
    "charge.succeeded": (Kind.CHARGE, _captured),
    "refund.failed": (Kind.REFUND_FAILED, _undone),
    "refund.updated": (Kind.REFUND_FAILED, _undone),
}


def told_moments(event_object: EventObject) -> Told:
    """What the event dates, by kind of movement and id of the object, in Unix seconds."""
    kind, applies = DATED.get(event_object.event_type, ("", _always))
    if not kind or event_object.created is None or not applies(event_object.payload):
        return {}
    return {(kind, event_object.object_id): event_object.created}
