"""The kinds of change that Stripe is asked for: how each is made, and how Stripe tells whether it was."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from billing.models import Payment, StripeCustomer, StripeRequest
from billing.stripe import gateway
from billing.stripe.errors import MissingError
from glyphforge.errors import Refused
from glyphforge.money import money
from glyphforge.rows import Json

# Stripe's clock and the database's may differ by so much.
SKEW = timedelta(seconds=60)
STALE = "The row here changes when Stripe's event comes; Sync from Stripe brings it now."


class Act(ABC):
    """One kind of request. `table` is where our row of the object is, which the audit row names."""

    table: ClassVar[str]
    # Asked twice it is done twice: equal content without a token of its own is taken for the same request.
    adds: ClassVar[bool] = False

    @abstractmethod
    def words(self, request: StripeRequest) -> str:
        """What was asked for, to stand in a sentence."""

    def prepare(self, request: StripeRequest) -> Any:
        """Raise `Refused` where Stripe's state says that it is not to be asked for; returns what `make` needs of it."""
        return None

    @abstractmethod
    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Ask Stripe; returns the id of what it made or changed. Raises what `billing.stripe.gateway` raises."""

    @abstractmethod
    def look(self, request: StripeRequest) -> str | None:
        """The id of what Stripe made or changed, where its state shows that it did; None where it does not."""

    def is_repeated(self, request: StripeRequest) -> bool:
        """Whether it is asked for again, under its key, once it is sure that it was not done."""
        return False


class Refund(Act):
    """Money goes back; the refund carries the request's id as the metadata `intent`."""

    table = "payment_history"
    adds = True

    def words(self, request: StripeRequest) -> str:
        """As in `the refund of 10.00 USD of ch_1`."""
        amount = money(request.parameters["amount_cents"], request.parameters["currency"])
        return f"the refund of {amount} of {request.stripe_object_id}"

    def prepare(self, request: StripeRequest) -> Any:
        """Refuses while our row does not know of all that was refunded: whoever asked did not know either."""
        known = Payment.objects.get(pk=request.row_id)
        refunded = gateway.look_at("charge", request.stripe_object_id)["amount_refunded"]
        if refunded != known.refunded_cents:
            there, here = (money(cents, known.currency) for cents in (refunded, known.refunded_cents))
            raise Refused(f"Stripe has refunded {there} of {request.stripe_object_id}, not {here} as here. {STALE}")

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Refund the amount; returns the refund's id."""
        return gateway.refund(
            request.stripe_object_id,
            amount=request.parameters["amount_cents"],
            metadata={"intent": str(request.pk)},
            idempotency_key=request.idempotency_key,
        )

    def look(self, request: StripeRequest) -> str | None:
        """By the metadata; one without it counts too if it could be ours, rather than to refund twice."""
        found = list(gateway.refunds(request.stripe_object_id))
        for refund in found:
            if (refund.get("metadata") or {}).get("intent") == str(request.pk):
                return str(refund["id"])
        since = (request.asked_at - SKEW).timestamp()
        for refund in found:
            unmarked = "intent" not in (refund.get("metadata") or {})
            like_it = refund["created"] >= since and refund["amount"] == request.parameters["amount_cents"]
            if unmarked and like_it and not StripeRequest.objects.filter(answer_id=refund["id"]).exists():
                return str(refund["id"])
        return None


@dataclass(frozen=True)
class ChangeSubscription(Act):
    """A change of a subscription, whose state at Stripe tells whether it was made.

    `verb` stands before the subscription's id. `holds` says of a subscription at Stripe and the request's parameters
    whether it is as it was asked to be, `already` what is told where it was so before. `terms` are the members to
    change, see https://docs.stripe.com/api/subscriptions/update; without them the subscription ends now.
    """

    verb: str
    already: str
    holds: Callable[[Any, Json], bool]
    terms: Callable[[Any, Json], Json] | None = None

    table = "subscriptions"

    def words(self, request: StripeRequest) -> str:
        """As in `resuming sub_1`."""
        return f"{self.verb} {request.stripe_object_id}"

    def prepare(self, request: StripeRequest) -> Any:
        """The subscription at Stripe; refuses one that has ended or is so already."""
        found = gateway.look_at("subscription", request.stripe_object_id)
        if has_ended(found):
            raise Refused(f"The subscription is canceled already. {STALE}")
        if self.holds(found, request.parameters):
            raise Refused(f"{self.already} {STALE}")
        return found

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Change it or end it; returns its id."""
        subscription_id, key = request.stripe_object_id, request.idempotency_key
        if self.terms is None:
            gateway.end_subscription(subscription_id, idempotency_key=key, **request.parameters)
        else:
            terms = self.terms(prepared, request.parameters)
            gateway.modify("subscription", subscription_id, idempotency_key=key, **terms)
        return subscription_id

    def look(self, request: StripeRequest) -> str | None:
        """By its state; one that Stripe does not know was not changed."""
        try:
            found = gateway.look_at("subscription", request.stripe_object_id)
        except MissingError:
            return None
        return request.stripe_object_id if self.holds(found, request.parameters) else None


def has_ended(subscription: Any) -> bool:
    """Whether a subscription at Stripe is over for good."""
    return subscription["status"] in ("canceled", "incomplete_expired")


class TagCustomer(Act):
    """The customer carries a user's id as the metadata `user_id`, which is empty for a customer that is nobody's.

    The `parameters` are that and, if it is to be a new one, the `email`. An empty value takes metadata away:
    https://docs.stripe.com/api/metadata
    """

    table = "users"

    def words(self, request: StripeRequest) -> str:
        """As in `noting at cus_1 whose it is`."""
        return f"noting at {request.stripe_object_id} whose it is"

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Write the metadata, and the address if there is a new one; returns the customer's id."""
        terms = dict(request.parameters)
        names = {"user_id": terms.pop("user_id")}
        if not names["user_id"]:
            names["cognito_user_id"] = ""
        gateway.modify(
            "customer",
            request.stripe_object_id,
            idempotency_key=request.idempotency_key,
            metadata=names,
            **terms,
        )
        return request.stripe_object_id

    def look(self, request: StripeRequest) -> str | None:
        """By its metadata, and its address if it was to be a new one."""
        try:
            found = gateway.look_at("customer", request.stripe_object_id)
        except MissingError:
            return None
        state = {"email": found.get("email"), "user_id": (found.get("metadata") or {}).get("user_id") or ""}
        holds = all(state[name] == value for name, value in request.parameters.items())
        return request.stripe_object_id if holds else None

    def is_repeated(self, request: StripeRequest) -> bool:
        """As long as it is so: our side of the link is as it was to be told."""
        links = StripeCustomer.objects.exclude(ownership=StripeCustomer.Ownership.UNCLAIMED)
        link = links.filter(pk=request.stripe_object_id).first()
        return (str(link.user_id) if link else "") == request.parameters["user_id"]


Kind = StripeRequest.Kind
ACTS: dict[str, Act] = {
    Kind.REFUND: Refund(),
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
    Kind.TAG_CUSTOMER: TagCustomer(),
}
