"""Moments of money that only an event tells, where the object does not say when it changed."""

from __future__ import annotations

from collections.abc import Callable

from billing.models import PaymentMovement
from billing.stripe.events.event_object import EventObject
from billing.stripe.projection.movements import REFUND_UNDONE, Told

Kind = PaymentMovement.Kind


def _captured(event: EventObject) -> bool:
    return event.payload.get("status") == "succeeded" and event.payload.get("captured", True)


def _undone(event: EventObject) -> bool:
    return event.payload.get("status") in REFUND_UNDONE


def _undone_now(event: EventObject) -> bool:
    return _undone(event) and "status" in event.changed


def _won(event: EventObject) -> bool:
    return event.payload.get("status") == "won"


def _always(event: EventObject) -> bool:
    return True


# The kind of movement that an event dates, and when: `charge.succeeded` is also sent for an authorization that is still
# to be captured, a refund that failed may be updated later, and a dispute that is closed may have been lost.
# https://docs.stripe.com/api/events/types
DATED: dict[str, tuple[str, Callable[[EventObject], bool]]] = {
    "charge.captured": (Kind.CHARGE, _captured),
    "charge.dispute.closed": (Kind.DISPUTE_REVERSED, _won),
    "charge.dispute.funds_reinstated": (Kind.DISPUTE_REVERSED, _always),
    "charge.dispute.funds_withdrawn": (Kind.DISPUTE, _always),
    "charge.refund.updated": (Kind.REFUND_FAILED, _undone_now),
    "charge.refunded": (Kind.REFUND, _always),
    "charge.succeeded": (Kind.CHARGE, _captured),
    "refund.failed": (Kind.REFUND_FAILED, _undone),
    "refund.updated": (Kind.REFUND_FAILED, _undone_now),
}


def told_moments(event_object: EventObject) -> Told:
    """What the event dates, by kind of movement and id of the object, in Unix seconds."""
    kind, applies = DATED.get(event_object.event_type, ("", _always))
    if not kind or event_object.created is None or not applies(event_object):
        return {}
    return {(kind, event_object.object_id): event_object.created}
