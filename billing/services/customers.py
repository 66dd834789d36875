"""What ties users to Stripe's customers: syncing and linking them."""

from __future__ import annotations

from django.db import transaction

from billing.models import UnmatchedCustomer, User
from billing.services import webhooks
from billing.services.errors import Refused
from billing.services.event_filter import parked_for
from billing.services.stripe_calls import refusing
from billing.stripe import customer_lock, gateway, tombstones
from billing.stripe.errors import PermanentError, TransientError
from billing.stripe.projection import users
from billing.stripe.resync import resync
from glyphforge.audit import acting_as, record


def sync_customer(user: User, *, actor: str, reason: str) -> None:
    """Bring the user's name, subscriptions and payments in line with Stripe, now."""
    if not user.stripe_customer_id:
        raise Refused("The user has no customer at Stripe.")
    with acting_as(actor=actor, reason=reason):
        record("sync_from_stripe", table_name="users", row_id=user.pk, reason=reason)
        with refusing():
            resync(user.stripe_customer_id)


def link_customer(stripe_customer_id: str, user: User, *, actor: str, reason: str) -> None:
    """Link a customer at Stripe to ``user``, note that in its metadata, sync it and replay what waited for it.

    Who lost their customer to a deletion comes back to life with the new one. Refuses when either side is linked
    already or the customer was deleted.
    """
    with acting_as(actor=actor, reason=reason):
        with transaction.atomic():
            _lock(stripe_customer_id)
            user = User.objects.select_for_update().get(pk=user.pk)
            _require_unlinked(stripe_customer_id)
            if users.has_customer(user):
                raise Refused(f"The user already has customer {user.stripe_customer_id}.")
            with refusing():
                gateway.retrieve("customer", stripe_customer_id)
                gateway.tag_customer(stripe_customer_id, str(user.pk))
            user.stripe_customer_id = stripe_customer_id
            if user.status == User.Status.DELETED:
                user.status = User.Status.ACTIVE
            user.save(update_fields=["stripe_customer_id", "status"])
            record("link_customer", table_name="users", row_id=user.pk, reason=reason)
            UnmatchedCustomer.objects.filter(pk=stripe_customer_id).delete()
        _sync_and_replay(stripe_customer_id, actor=actor, reason=reason)


def create_user_for_customer(stripe_customer_id: str, *, actor: str, reason: str, email: str | None = None) -> User:
    """Make a new user for a customer at Stripe, link, sync and replay; returns the user.

    ``email`` replaces the customer's address, at Stripe too, for when that one belongs to somebody
    else; an address that does is refused.
    """
    with acting_as(actor=actor, reason=reason):
        with transaction.atomic():
            _lock(stripe_customer_id)
            _require_unlinked(stripe_customer_id)
            with refusing():
                customer = gateway.retrieve("customer", stripe_customer_id)
            address = email or customer.get("email")
            if address and not users.PLAUSIBLE_EMAIL.fullmatch(address):
                raise Refused(f"{address} is not an e-mail address.")
            if address and User.objects.filter(email__iexact=address).exists():
                raise Refused(f"{address} belongs to another user: link the customer to that one, or give another.")
            user = User.objects.create(
                stripe_customer_id=stripe_customer_id, email=address, name=customer.get("name") or ""
            )
            with refusing():
                gateway.tag_customer(stripe_customer_id, str(user.pk), email=email)
            record("create_user_for_customer", table_name="users", row_id=user.pk, reason=reason)
            UnmatchedCustomer.objects.filter(pk=stripe_customer_id).delete()
        _sync_and_replay(stripe_customer_id, actor=actor, reason=reason)
    return user


def _lock(stripe_customer_id: str) -> None:
    """Keep events of the customer, which may link it too, out until the transaction ends."""
    with refusing():
        customer_lock.take(stripe_customer_id)


def _require_unlinked(stripe_customer_id: str) -> None:
    if tombstones.is_buried(stripe_customer_id):
        raise Refused(f"Customer {stripe_customer_id} was deleted at Stripe.")
    owner = User.objects.filter(stripe_customer_id=stripe_customer_id).first()
    if owner:
        raise Refused(f"Customer {stripe_customer_id} already belongs to {owner}.")


def _sync_and_replay(stripe_customer_id: str, *, actor: str, reason: str) -> None:
    webhooks.replay_all(parked_for(stripe_customer_id), actor=actor, reason=reason)
    try:
        resync(stripe_customer_id)
    except (PermanentError, TransientError) as error:
        raise Refused(f"The customer is linked, but not all of it is here yet: {error} Sync it from Stripe.") from error
