"""The changes of a subscription that Stripe is asked for, told by the state of the subscription."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from billing.models import StripeRequest
from billing.stripe import gateway, plan_change
from billing.stripe.errors import MissingError
from billing.stripe.requests.act import STALE, Act
from glyphforge.errors import Refused
from glyphforge.rows import Json


@dataclass(frozen=True)
class ChangeSubscription(Act):
    """A change of a subscription, whose state at Stripe tells whether it was made.

    `verb` stands before the subscription's id. `holds` says of a subscription at Stripe and the request's parameters
    whether it is as it was asked to be, `already` what is told where it was so before. `terms` are the members to
    change, see https://docs.stripe.com/api/subscriptions/update; without them the subscription ends now. With `expands`
    they and `holds` see discounts whole.
    """

    verb: str
    already: str
    holds: Callable[[Any, Json], bool]
    terms: Callable[[Any, Json], Json] | None = None
    expands: bool = False

    table = "subscriptions"

    def words(self, request: StripeRequest) -> str:
        """As in `resuming sub_1`."""
        return f"{self.verb} {request.stripe_object_id}"

    def prepare(self, request: StripeRequest) -> Any:
        """The subscription at Stripe; refuses one that has ended or is so already."""
        found = self._found(request)
        if has_ended(found):
            raise Refused(f"The subscription is canceled already. {STALE}")
        if self.holds(found, request.parameters):
            raise Refused(f"{self.already} {STALE}")
        return found

    def _found(self, request: StripeRequest) -> Any:
        fetch = gateway.retrieve if self.expands else gateway.look_at
        return fetch("subscription", request.stripe_object_id)

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Change it or end it; returns its id."""
        subscription_id, key = request.stripe_object_id, request.idempotency_key
        if self.terms is None:
            gateway.call("subscription", "cancel", subscription_id, idempotency_key=key, **request.parameters)
        else:
            terms = self.terms(prepared, request.parameters)
            gateway.modify("subscription", subscription_id, idempotency_key=key, **terms)
        return subscription_id

    def look(self, request: StripeRequest) -> str | None:
        """By its state; one that Stripe does not know was not changed."""
        try:
            found = self._found(request)
        except MissingError:
            return None
        return request.stripe_object_id if self.holds(found, request.parameters) else None


def has_ended(subscription: Any) -> bool:
    """Whether a subscription at Stripe is over for good."""
    return subscription["status"] in ("canceled", "incomplete_expired")


def _has_coupon(found: Any, wanted: Json) -> bool:
    return wanted["coupon"] in plan_change.coupons_of(found)


def _has_no_discount(found: Any, wanted: Json) -> bool:
    return wanted["discount"] not in [discount["id"] for discount in found.get("discounts") or []]


Kind = StripeRequest.Kind
SUBSCRIPTION_ACTS: dict[str, Act] = {
    Kind.CANCEL_NOW: ChangeSubscription(
        "cancelling now",
        "The subscription is canceled already.",
        holds=lambda found, wanted: has_ended(found),
    ),
    Kind.CANCEL_AT_PERIOD_END: ChangeSubscription(
        "cancelling at the end of its period",
        "The subscription already ends with its period.",
        holds=lambda found, wanted: bool(found["cancel_at_period_end"]) or has_ended(found),
        terms=lambda found, wanted: {"cancel_at_period_end": True},
    ),
    # A cancellation to come is a flag or, as the portal's, a moment.
    Kind.RESUME: ChangeSubscription(
        "resuming",
        "The subscription is not set to end.",
        holds=lambda found, wanted: not found["cancel_at_period_end"] and not found.get("cancel_at"),
        terms=lambda found, wanted: (
            {"cancel_at_period_end": False} if found["cancel_at_period_end"] else {"cancel_at": ""}
        ),
    ),
    Kind.PAUSE_COLLECTION: ChangeSubscription(
        "pausing the collection of",
        "Its collection is paused so already.",
        holds=lambda found, wanted: (
            bool(paused := found.get("pause_collection"))
            and all(paused.get(name) == value for name, value in wanted.items())
        ),
        terms=lambda found, wanted: {"pause_collection": wanted},
    ),
    Kind.RESUME_COLLECTION: ChangeSubscription(
        "resuming the collection of",
        "Its collection is not paused.",
        holds=lambda found, wanted: not found.get("pause_collection"),
        terms=lambda found, wanted: {"pause_collection": ""},
    ),
    Kind.EXTEND_TRIAL: ChangeSubscription(
        "extending the trial of",
        "Its trial ends then already.",
        holds=lambda found, wanted: bool(found.get("trial_end") == wanted["trial_end"]),
        # The trial moves the period, and nothing is charged or given back for that.
        terms=lambda found, wanted: {"trial_end": wanted["trial_end"], "proration_behavior": "none"},
    ),
    Kind.APPLY_COUPON: ChangeSubscription(
        "applying a coupon to",
        "The subscription has the coupon already.",
        holds=_has_coupon,
        terms=lambda found, wanted: {"discounts": plan_change.discounts_with(found, wanted["coupon"])},
        expands=True,
    ),
    Kind.REMOVE_COUPON: ChangeSubscription(
        "removing a coupon from",
        "The subscription does not have the discount any more.",
        holds=_has_no_discount,
        terms=lambda found, wanted: {"discounts": plan_change.discounts_without(found, wanted["discount"])},
        expands=True,
    ),
}
