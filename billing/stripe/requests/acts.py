"""The kinds of change that Stripe is asked for: how each is made, and how Stripe tells whether it was."""

from typing import Any

from billing.models import Payment, StripeCustomer, StripeRequest
from billing.stripe import gateway
from billing.stripe.errors import MissingError
from billing.stripe.requests.act import SKEW, STALE, Act
from billing.stripe.requests.invoice_acts import INVOICE_ACTS
from billing.stripe.requests.plan_acts import PLAN_ACTS
from billing.stripe.requests.subscription_acts import SUBSCRIPTION_ACTS
from glyphforge.errors import Refused
from glyphforge.money import money


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
        made = gateway.create(
            "refund",
            f"charge {request.stripe_object_id}",
            charge=request.stripe_object_id,
            amount=request.parameters["amount_cents"],
            reason="requested_by_customer",
            metadata={"intent": str(request.pk)},
            idempotency_key=request.idempotency_key,
        )
        return str(made["id"])

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


class Credit(Act):
    """A customer is credited an amount, which the next invoices use up; it carries the request's id as `intent`.

    https://docs.stripe.com/billing/customer/balance
    """

    table = "users"
    adds = True

    def words(self, request: StripeRequest) -> str:
        """As in `the credit of 10.00 USD for cus_1`."""
        amount = money(request.parameters["amount_cents"], request.parameters["currency"])
        return f"the credit of {amount} for {request.stripe_object_id}"

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Credit the amount, which Stripe counts as negative; returns the id of the balance's transaction."""
        made = gateway.call(
            "customer",
            "create_balance_transaction",
            request.stripe_object_id,
            amount=-request.parameters["amount_cents"],
            currency=request.parameters["currency"],
            metadata={"intent": str(request.pk)},
            idempotency_key=request.idempotency_key,
        )
        return str(made["id"])

    def look(self, request: StripeRequest) -> str | None:
        """By the metadata, among the newest hundred changes of the balance."""
        for each in gateway.balance_transactions(request.stripe_object_id):
            if (each.get("metadata") or {}).get("intent") == str(request.pk):
                return str(each["id"])
        return None


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
    Kind.CREDIT: Credit(),
    Kind.TAG_CUSTOMER: TagCustomer(),
    **SUBSCRIPTION_ACTS,
    **PLAN_ACTS,
    **INVOICE_ACTS,
}
