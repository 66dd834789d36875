"""Whose a Stripe customer is.

A customer is linked by its own metadata `user_id` or `cognito_user_id`, else by that of its subscription, else by the
`client_reference_id` of a checkout that was paid; the last two only to a user who has no customer that lives. An e-mail
address alone never links it to somebody who is already here: anybody may type one in at a checkout. Without such a user
a new one is made; else support links the customer by hand.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.db.models import Q, QuerySet

from billing.models import Payment, StripeCustomer, Subscription, UnmatchedCustomer, User
from billing.stripe import gateway
from billing.stripe.errors import MissingError, UnlinkedCustomerError
from billing.stripe.objects import CheckoutSession, Customer
from billing.stripe.projection import foreign
from billing.stripe.projection.rows import moment

Ownership = StripeCustomer.Ownership
# Who is named, in the words of the metadata: `user_id`, `cognito_user_id`.
Names = Mapping[str, str]
# What our column takes; metadata may hold any text.
LONGEST_COGNITO_ID = 255
# A user of whom only Stripe knows.
NOBODY: dict[str, None] = {"cognito_user_id": None, "api_keys": None, "notes": None}


def known(customer_id: str) -> User | None:
    """The user of a Stripe customer; None for one that is nobody's."""
    return User.objects.filter(stripe_customers=customer_id).first()


def held(customer_id: str) -> User | None:
    """As `known`; the user is held until the transaction ends.

    Two customers of one user are two locks: who writes what they share, such as the one live subscription, holds the
    user. It comes behind the customer's lock, and nobody who holds a user waits for a customer.
    """
    user = known(customer_id)
    return hold(user) if user else None


def hold(user: User) -> User:
    """The user's row as it is now, held until the transaction ends. What only refers to the row is not kept waiting."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def living(user: User) -> QuerySet[StripeCustomer]:
    """The user's customers that were not deleted at Stripe."""
    return StripeCustomer.objects.filter(user=user, deleted_at=None)


def has_customer(user: User) -> bool:
    """Whether the user has a customer that was not deleted: who lost theirs may come back with another."""
    return living(user).exists()


def find_or_new(customer: Customer, names: Names | None = None) -> User:
    """The user whose an unlinked customer is, or a new one, unsaved, who joined when it was created.

    `names` is whom a subscription's metadata or a paid checkout names. Raises UnlinkedCustomerError when only a person
    can decide, ForeignError when nothing of the customer's is ours.
    """
    user = named(customer.get("metadata")) or without_customer(names)
    if user:
        return user
    foreign.require_ours(customer["id"])
    email = (customer.get("email") or "").strip()
    if email and User.objects.filter(email__iexact=email).exists():
        # What sold it may say whose it is, and come later, or have come long ago.
        seen = UnmatchedCustomer.objects.filter(pk=customer["id"]).exists()
        user = None if seen else _named_by_a_sale(customer["id"])
        if user:
            return user
        raise _unlinked(customer, f"has the e-mail address of a customer here ({email}) but names nobody")
    joined = {"created_at": moment(customer["created"])} if customer.get("created") else {}
    cognito_id = _cognito_id(customer.get("metadata") or {})
    # Who was erased keeps it, so that Cognito's sync knows them still.
    taken = cognito_id is not None and User.objects.filter(cognito_user_id=cognito_id).exists()
    return User(cognito_user_id=None if taken else cognito_id, **joined)


def named(names: Names | None) -> User | None:
    """The user whom metadata names; nobody who was erased: who comes back is somebody new."""
    names = names or {}
    try:
        user_id = uuid.UUID(str(names.get("user_id")))
    except ValueError:
        user_id = None
    cognito_id = _cognito_id(names)
    wanted = Q(pk=user_id) if user_id else Q(pk__in=[])
    if cognito_id:
        wanted |= Q(cognito_user_id=cognito_id)
    found = list(User.objects.filter(wanted, erased_at=None)[:2])
    # Both keys present and naming two people: our own id is the one that we wrote.
    return next((user for user in found if user.pk == user_id), found[0] if found else None)


def without_customer(names: Names | None) -> User | None:
    """The user whom a sale names, if no customer of theirs lives: a sale does not say more than a link."""
    user = named(names)
    return user if user and not has_customer(user) else None


def names_of_checkout(session: CheckoutSession) -> Names:
    """Whom a checkout names: its `client_reference_id` may be either id. Nobody until it was paid.

    See https://docs.stripe.com/api/checkout/sessions/object
    """
    reference = session.get("client_reference_id")
    if session.get("payment_status") != "paid" or not reference:
        return {}
    return {"user_id": reference, "cognito_user_id": reference}


def link(customer: Customer, user: User, ownership: str = Ownership.KNOWN) -> User:
    """Make an unlinked customer the user's, who is returned, held."""
    user = hold(user)
    revive(user)
    StripeCustomer.objects.create(
        stripe_customer_id=customer["id"],
        user=user,
        ownership=ownership,
        created_at=moment(customer.get("created")),
    )
    settle_primary(user)
    UnmatchedCustomer.objects.filter(pk=customer["id"]).delete()
    return hold(user)


def revive(user: User) -> None:
    """Let a user who lost all customers, and gets one now, be back: suspended where that was so before."""
    if user.status == User.Status.DELETED and user.stripe_customer_id and not has_customer(user):
        user.status = User.Status.SUSPENDED if user.suspended_at else User.Status.ACTIVE
        user.save(update_fields=["status"])


def settle_primary(user: User) -> None:
    """Let the oldest customer that lives be the primary one, unless somebody chose one that lives.

    So it does not matter which of them comes first.
    """
    customers = StripeCustomer.objects.filter(user=user)
    best = min(customers, key=_precedence, default=None)
    if best and not best.is_primary:
        StripeCustomer.objects.filter(pk=best.pk).update(is_primary=True)


def _precedence(customer: StripeCustomer) -> tuple[object, ...]:
    since = customer.created_at or customer.linked_at
    return (customer.deleted_at is not None, customer.chosen_at is None, since, customer.stripe_customer_id)


def is_presumed(customer_id: str) -> bool:
    """Whether the customer's user was made for it, and nobody signed in, has a key, a note or a second customer."""
    presumed = StripeCustomer.objects.filter(pk=customer_id, ownership=Ownership.PRESUMED)
    user = User.objects.filter(stripe_customers__in=presumed, **NOBODY).first()
    return user is not None and user.stripe_customers.count() == 1


def is_undecided(customer_id: str) -> bool:
    """Whether metadata may still say whose the customer is: it was unlinked, or is presumed and has bought nothing."""
    if StripeCustomer.objects.filter(pk=customer_id, ownership=Ownership.UNCLAIMED).exists():
        return True
    bought = any(model.objects.filter(stripe_customer_id=customer_id).exists() for model in (Subscription, Payment))
    return is_presumed(customer_id) and not bought


def is_vacant(user: User) -> bool:
    """Whether nothing is left of a user that was made for a Stripe customer."""
    return User.objects.filter(pk=user.pk, stripe_customers=None, payments=None, **NOBODY).exists()


def _named_by_a_sale(customer_id: str) -> User | None:
    """The user whom a subscription of the customer names, else a paid checkout; asks Stripe for both."""
    try:
        sold, _ = gateway.page("subscription", customer=customer_id, status="all")
        found = (without_customer(item.get("metadata")) for item in sold)
        user = next((user for user in found if user), None)
        if user:
            return user
        sessions, _ = gateway.page("checkout.session", customer=customer_id)
    except MissingError:
        return None
    found = (without_customer(names_of_checkout(session)) for session in sessions)
    return next((user for user in found if user), None)


def _cognito_id(names: Names) -> str | None:
    """The Cognito id that metadata names; None without one, and for a text that is none."""
    cognito_id = str(names.get("cognito_user_id") or "")
    return cognito_id if 0 < len(cognito_id.encode()) <= LONGEST_COGNITO_ID else None


def _unlinked(customer: Customer, why: str) -> UnlinkedCustomerError:
    return UnlinkedCustomerError(
        f"Stripe customer {customer['id']} {why}. Link it to a customer under Unmatched customers: this"
        " event is then tried again by itself.",
        stripe_customer_id=customer["id"],
        email=customer.get("email"),
        name=customer.get("name") or "",
    )
