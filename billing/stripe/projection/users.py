"""Stripe's customers as users: their names, addresses and ends. Whose a customer is, `owners` says."""

from __future__ import annotations

from contextlib import suppress

from django.conf import settings
from django.db.models.functions import Now

from billing.models import StripeCustomer, Subscription, UnmatchedCustomer, User
from billing.models.user import LONGEST_NAME, is_email
from billing.stripe import gateway, mirror, tombstones
from billing.stripe.errors import AddressTakenError
from billing.stripe.events import inbox
from billing.stripe.objects import Customer
from billing.stripe.projection import foreign, owners
from billing.stripe.projection.owners import Names, Ownership
from billing.stripe.projection.rows import Columns, write
from glyphforge.text import cut


def of_customer(customer_id: str, names: Names | None = None) -> User:
    """The user of a Stripe customer, held; the customer is fetched when it is new here.

    `names` is whom a subscription's metadata or a paid checkout names. The caller holds the customer's lock. Raises
    UnlinkedCustomerError when only a person can decide.
    """
    user = owners.held(customer_id)
    if user:
        return user
    if tombstones.has_tombstone(customer_id):
        return delete_customer(customer_id)
    return project(mirror.store(gateway.retrieve("customer", customer_id)), names)


def project(customer: Customer, names: Names | None = None) -> User:
    """Bring the user of `customer` in line with it; a deleted customer's user is deleted. `names` as for `of_customer`.

    Events that wait for the link, or for the address that the user gave up, are made due. Raises UnlinkedCustomerError
    when only a person can decide, AddressTakenError for an address that another user has.
    """
    if customer.get("deleted") or tombstones.has_tombstone(customer["id"]):
        return delete_customer(customer["id"])
    user = owners.held(customer["id"]) or _linked(customer, names)
    address = user.email
    write(user, values(customer, user))
    _retry_waiting_for_address(address, user)
    return user


def _linked(customer: Customer, names: Names | None) -> User:
    """The user whom the customer is now linked to. One who lost all customers is back, as he was before."""
    user = owners.find_or_new(customer, names)
    if user._state.adding:  # noqa: SLF001 - Django has no public name for "not in the table yet"
        write(user, values(customer, user))
        return owners.link(customer, user, Ownership.PRESUMED)
    return owners.link(customer, user)


def values(customer: Customer, user: User) -> Columns:
    """The columns of `user` that Stripe decides: of several customers the primary one does.

    Who signs in has a name and an address of their own: Stripe may replace them, not erase them. Where a Cognito user
    pool is synced it owns both, and Stripe only fills what is empty: two sources that overwrite each other would
    never come to rest. Of an unlinked customer, whose address may be its owner's, the user has the name alone. Raises
    AddressTakenError for an address that another user has. Of who was erased nothing comes back.
    """
    if user.erased_at or user.stripe_customer_id not in (None, customer["id"]):
        return {}
    email = (customer.get("email") or "").strip() or None
    name = cut(customer.get("name") or "", LONGEST_NAME)
    if StripeCustomer.objects.filter(pk=customer["id"], ownership=Ownership.UNCLAIMED).exists():
        return {"name": name}
    if email and not is_email(email):
        email = None
    if user.cognito_user_id and settings.COGNITO_USER_POOL_ID:
        email, name = user.email or email, user.name or name
    elif user.cognito_user_id:
        email, name = email or user.email, name or user.name
    if email and User.objects.filter(email__iexact=email).exclude(pk=user.pk).exists():
        raise AddressTakenError(
            f"The e-mail address {email} of Stripe customer {customer['id']} already belongs to another customer. "
            "Change the address of one of them, then press Retry webhooks.",
            email=email,
        )
    return {"email": email, "name": name}


def delete_customer(customer_id: str) -> User:
    """Remember that a customer is gone. A user who has no other keeps a row without a name: payments refer to it.

    A user who signs in through Cognito keeps name and address. The free subscription ends here; those at Stripe are for
    the caller to bring in line. A customer that was never here gets a deleted user, for the payments that may follow;
    raises ForeignError when nothing of it is ours.
    """
    if not tombstones.has_tombstone(customer_id):
        tombstones.add_tombstone("customer", customer_id)
        inbox.retry_waiting(customer_id)
    UnmatchedCustomer.objects.filter(stripe_customer_id=customer_id).delete()
    user = owners.held(customer_id)
    if user is None:
        foreign.require_ours(customer_id)
        user = User.objects.create(stripe_customer_id=customer_id, status=User.Status.DELETED, email=None)
    StripeCustomer.objects.filter(pk=customer_id, deleted_at=None).update(deleted_at=Now())
    owners.settle_primary(user)
    user, address = owners.hold(user), user.email
    if owners.has_customer(user):
        take_over(user)
    else:
        erased: Columns = {} if user.cognito_user_id else {"email": None, "name": ""}
        write(user, {"status": User.Status.DELETED, **erased})
        free = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, stripe_subscription_id__isnull=True)
        for row in free:
            write(row, {"status": Subscription.Status.CANCELED})
    _retry_waiting_for_address(address, user)
    return user


def take_over(user: User) -> None:
    """Give a user name and address of the customer that is the primary one now, as it was last fetched."""
    customer = mirror.customer(user.stripe_customer_id) if user.stripe_customer_id else None
    if customer:
        with suppress(AddressTakenError):  # an event of that customer says so
            write(user, values(customer, user))


def _retry_waiting_for_address(address: str | None, user: User) -> None:
    """Let events try again that waited for an address which `user` had and gave up."""
    if address and address.lower() != (user.email or "").lower():
        inbox.retry_waiting(address.lower())
