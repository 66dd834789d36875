"""What ties users to Stripe's customers: syncing and linking them."""

from __future__ import annotations

from django.db import transaction

from billing.models import StripeRequest, UnmatchedCustomer, User
from billing.models.user import LONGEST_NAME, is_email
from billing.services.stripe_calls import errors_as_refused
from billing.stripe import customer_lock, gateway, tombstones
from billing.stripe.errors import PermanentError, TransientError
from billing.stripe.events import replay
from billing.stripe.events.filter import parked_for
from billing.stripe.objects import Customer
from billing.stripe.projection import users
from billing.stripe.requests import outbox
from billing.stripe.requests.outbox import Intent
from billing.stripe.resync import Problem, resync
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused
from glyphforge.text import cut

SAID = 3


def sync_customer(user: User, *, actor: str, reason: str) -> None:
    """Bring the user's name, subscriptions and payments in line with Stripe, now.

    Refuses a user without a customer at Stripe, and with the reason whatever Stripe refuses or does not answer, or what
    of it cannot be stored; the rest is written.
    """
    if not user.stripe_customer_id:
        raise Refused("The customer has no Stripe customer.")

    def audit() -> None:
        record("sync_from_stripe", table_name="users", row_id=user.pk, reason=reason)

    with acting_as(actor=actor, reason=reason), errors_as_refused():
        problems = resync(user.stripe_customer_id, audit=audit)
    if problems:
        raise Refused(f"Synced, but for this: {_said(problems)}")


def link_customer(stripe_customer_id: str, user: User, *, actor: str, reason: str) -> None:
    """Link a customer at Stripe to `user`, note that in its metadata, sync it and replay what waited for it.

    A user whose customer was deleted becomes active again with the new one. Refuses when either side is linked already,
    the customer was deleted, or Stripe does not know it. What fails after that, telling Stripe of the link or the sync,
    is refused too, with the link in place.
    """
    with acting_as(actor=actor, reason=reason):
        with transaction.atomic():
            _lock(stripe_customer_id)
            user = User.objects.select_for_update().get(pk=user.pk)
            _require_unlinked(stripe_customer_id)
            if users.has_customer(user):
                raise Refused(f"The customer already has Stripe customer {user.stripe_customer_id}.")
            with errors_as_refused():
                gateway.retrieve("customer", stripe_customer_id)
            user.stripe_customer_id = stripe_customer_id
            if user.status == User.Status.DELETED:
                user.status = User.Status.ACTIVE
            user.save(update_fields=["stripe_customer_id", "status"])
            audit_id = record("link_customer", table_name="users", row_id=user.pk, reason=reason)
            tag = _tag(stripe_customer_id, user, actor=actor, reason=reason, audit_id=audit_id)
            UnmatchedCustomer.objects.filter(pk=stripe_customer_id).delete()
        _sync_and_replay(stripe_customer_id, tag, actor=actor, reason=reason)


def create_customer(stripe_customer_id: str, *, actor: str, reason: str, email: str | None = None) -> User:
    """Make a new user for a customer at Stripe, link, sync and replay; returns the user.

    `email` replaces the customer's address, at Stripe too, for when that one belongs to another user. Refuses an
    address that another user has or that is none, and what `link_customer` refuses of a customer.
    """
    with acting_as(actor=actor, reason=reason):
        with transaction.atomic():
            _lock(stripe_customer_id)
            _require_unlinked(stripe_customer_id)
            with errors_as_refused():
                customer: Customer = gateway.retrieve("customer", stripe_customer_id)
            address = email or customer.get("email")
            if address and not is_email(address):
                raise Refused(f"{address} is not an e-mail address.")
            if address and User.objects.filter(email__iexact=address).exists():
                raise Refused(
                    f"{address} belongs to another customer: link the Stripe customer to that one, or give another."
                )
            user = User.objects.create(
                stripe_customer_id=stripe_customer_id, email=address, name=cut(customer.get("name") or "", LONGEST_NAME)
            )
            audit_id = record("create_customer", table_name="users", row_id=user.pk, reason=reason)
            tag = _tag(stripe_customer_id, user, actor=actor, reason=reason, audit_id=audit_id, email=email)
            UnmatchedCustomer.objects.filter(pk=stripe_customer_id).delete()
        _sync_and_replay(stripe_customer_id, tag, actor=actor, reason=reason)
    return user


def _lock(stripe_customer_id: str) -> None:
    """Keep events of the customer, which may link it too, out until the transaction ends."""
    with errors_as_refused():
        customer_lock.acquire(stripe_customer_id)


def _require_unlinked(stripe_customer_id: str) -> None:
    if tombstones.has_tombstone(stripe_customer_id):
        raise Refused(f"Stripe customer {stripe_customer_id} was deleted.")
    owner = User.objects.filter(stripe_customer_id=stripe_customer_id).first()
    if owner:
        raise Refused(f"Stripe customer {stripe_customer_id} already belongs to {owner}.")


def _tag(
    stripe_customer_id: str, user: User, *, actor: str, reason: str, audit_id: int, email: str | None = None
) -> StripeRequest:
    """Write, with the link, what Stripe is to be told of it once the link is committed."""
    outbox.require_none_open(stripe_customer_id)
    wanted = {"email": email} if email else {}
    intent = Intent(StripeRequest.Kind.TAG_CUSTOMER, stripe_customer_id, user.pk, user, wanted)
    return outbox.write(intent, actor=actor, reason=reason, audit_id=audit_id)


def _sync_and_replay(stripe_customer_id: str, tag: StripeRequest, *, actor: str, reason: str) -> None:
    """Tell Stripe of the link, and bring in what is now the user's; the link stays whatever becomes of either."""
    try:
        outbox.carry_out(tag)
    except Refused as refusal:
        replay.replay_all(parked_for(stripe_customer_id), actor=actor, reason=reason)
        raise type(refusal)(f"The Stripe customer is linked, but Stripe was not told for sure: {refusal}") from refusal
    replay.replay_all(parked_for(stripe_customer_id), actor=actor, reason=reason)
    linked = "The Stripe customer is linked, but not all of it is here yet:"
    try:
        problems = resync(stripe_customer_id)
    except (PermanentError, TransientError) as error:
        raise Refused(f"{linked} {error} Sync it from Stripe.") from error
    if problems:
        raise Refused(f"{linked} {_said(problems)} Sync it from Stripe.")


def _said(problems: list[Problem]) -> str:
    """The first three problems, as sentences."""
    more = f" And {len(problems) - SAID} more." if len(problems) > SAID else ""
    return " ".join(str(problem.error) for problem in problems[:SAID]) + more
