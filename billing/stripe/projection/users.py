"""Stripe's customers as users.

A customer is linked by the metadata `user_id` or `cognito_user_id`, or by an earlier link. An
e-mail address alone never links it to somebody who is already here: anybody may type one in at a
checkout. Without such a user a new one is made; else support links the customer by hand.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db.models import Q

from billing.models import Subscription, UnmatchedCustomer, User
from billing.models.user import LONGEST_NAME, is_email
from billing.stripe import gateway, mirror, tombstones
from billing.stripe.errors import PermanentError, UnlinkedCustomerError
from billing.stripe.events import inbox
from billing.stripe.objects import Customer
from billing.stripe.projection import foreign
from billing.stripe.projection.rows import Columns, moment, write
from glyphforge.text import cut

# What our column takes; a customer's metadata may hold any text.
LONGEST_COGNITO_ID = 255


def of_customer(customer_id: str, before: User | None = None) -> User:
    """The user of a Stripe customer; the customer is fetched when it is new here.

    `before` is who has the object that asks: a deleted customer's user may have another customer by now.
    The caller holds the customer's lock. Raises UnlinkedCustomerError when only a person can decide.
    """
    known = User.objects.filter(stripe_customer_id=customer_id).first()
    if known:
        return known
    if tombstones.has_tombstone(customer_id):
        return before or delete_customer(customer_id)
    return project(mirror.store(gateway.retrieve("customer", customer_id)))


def project(customer: Customer) -> User:
    """Bring the user of `customer` in line with it; a deleted customer's user is deleted.

    Events that wait for the link, or for the address that the user gave up, are made due. Raises UnlinkedCustomerError
    when only a person can decide, PermanentError for an address that another user has.
    """
    if customer.get("deleted") or tombstones.has_tombstone(customer["id"]):
        return delete_customer(customer["id"])
    user = User.objects.filter(stripe_customer_id=customer["id"]).first() or find_or_new(customer)
    known, address = user.stripe_customer_id, user.email
    returned = known and known != customer["id"]
    write(user, values(customer, user) | ({"status": User.Status.ACTIVE} if returned else {}))
    UnmatchedCustomer.objects.filter(stripe_customer_id=customer["id"]).delete()
    if known != customer["id"]:
        inbox.retry_waiting(customer["id"])
    _retry_waiting_for_address(address, user)
    return user


def values(customer: Customer, user: User) -> Columns:
    """The columns of `user` that Stripe decides. Raises PermanentError for an address that another user has.

    Who signs in has a name and an address of their own: Stripe may replace them, not erase them. Where a Cognito user
    pool is synced it owns both, and Stripe only fills what is empty: two sources that overwrite each other would
    never come to rest.
    """
    email = (customer.get("email") or "").strip() or None
    name = cut(customer.get("name") or "", LONGEST_NAME)
    if email and not is_email(email):
        email = None
    if user.cognito_user_id and settings.COGNITO_USER_POOL_ID:
        email, name = user.email or email, user.name or name
    elif user.cognito_user_id:
        email, name = email or user.email, name or user.name
    if email and User.objects.filter(email__iexact=email).exclude(pk=user.pk).exists():
        raise PermanentError(
            f"The e-mail address {email} of Stripe customer {customer['id']} already belongs to another customer. "
            "Change the address of one of them, then press Retry webhooks."
        )
    return {"stripe_customer_id": customer["id"], "email": email, "name": name}


def delete_customer(customer_id: str) -> User:
    """Remember that a customer is gone, and keep its user as a row without a name: its payments refer to it.

    A user who signs in through Cognito keeps name and address. The free subscription ends here; those at Stripe are for
    the caller to bring in line. A customer that was never here gets a deleted user, for the payments that may follow;
    raises ForeignError when nothing of it is ours.
    """
    if not tombstones.has_tombstone(customer_id):
        tombstones.add_tombstone("customer", customer_id)
        inbox.retry_waiting(customer_id)
    UnmatchedCustomer.objects.filter(stripe_customer_id=customer_id).delete()
    user = User.objects.filter(stripe_customer_id=customer_id).first()
    if user is None:
        foreign.require_ours(customer_id)
        return User.objects.create(stripe_customer_id=customer_id, status=User.Status.DELETED, email=None)
    erased: Columns = {} if user.cognito_user_id else {"email": None, "name": ""}
    address = user.email
    write(user, {"status": User.Status.DELETED, **erased})
    _retry_waiting_for_address(address, user)
    free = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, stripe_subscription_id__isnull=True)
    for row in free:
        write(row, {"status": Subscription.Status.CANCELED})
    return user


def _retry_waiting_for_address(address: str | None, user: User) -> None:
    """Let events try again that waited for an address which `user` had and gave up."""
    if address and address.lower() != (user.email or "").lower():
        inbox.retry_waiting(address)


def has_customer(user: User) -> bool:
    """Whether the user has a customer that was not deleted: who lost theirs may come back with another."""
    return bool(user.stripe_customer_id) and not tombstones.has_tombstone(str(user.stripe_customer_id))


def find_or_new(customer: Customer) -> User:
    """The user that an unlinked customer names in its metadata, or a new one, unsaved, who joined when it was created.

    Raises UnlinkedCustomerError when only a person can decide, ForeignError when nothing of the customer's is ours.
    """
    metadata = customer.get("metadata") or {}
    user = _named(metadata)
    if user:
        if has_customer(user):
            raise _unlinked(
                customer,
                f"names customer {user.pk} in its metadata, who already has Stripe customer {user.stripe_customer_id}",
            )
        return user
    foreign.require_ours(customer["id"])
    email = (customer.get("email") or "").strip()
    if email and User.objects.filter(email__iexact=email).exists():
        raise _unlinked(customer, f"has the e-mail address of a customer here ({email}) but names nobody")
    joined = {"created_at": moment(customer["created"])} if customer.get("created") else {}
    return User(cognito_user_id=_cognito_id(metadata), **joined)


def _cognito_id(metadata: dict[str, str]) -> str | None:
    """The Cognito id that the metadata names; None without one, and for a text that is none."""
    named = str(metadata.get("cognito_user_id") or "")
    return named if 0 < len(named.encode()) <= LONGEST_COGNITO_ID else None


def _named(metadata: dict[str, str]) -> User | None:
    try:
        user_id = uuid.UUID(str(metadata.get("user_id")))
    except ValueError:
        user_id = None
    cognito_id = _cognito_id(metadata)
    wanted = Q(pk=user_id) if user_id else Q(pk__in=[])
    if cognito_id:
        wanted |= Q(cognito_user_id=cognito_id)
    found = list(User.objects.filter(wanted)[:2])
    # Both keys present and naming two people: our own id is the one that we wrote.
    return next((user for user in found if user.pk == user_id), found[0] if found else None)


def _unlinked(customer: Customer, why: str) -> UnlinkedCustomerError:
    return UnlinkedCustomerError(
        f"Stripe customer {customer['id']} {why}. Link it to a customer under Unmatched customers: this"
        " event is then tried again by itself.",
        stripe_customer_id=customer["id"],
        email=customer.get("email"),
        name=customer.get("name") or "",
    )
