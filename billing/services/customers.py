"""What ties users to Stripe's customers: syncing, linking and unlinking them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from billing.models import Difference, StripeCustomer, StripeRequest, UnmatchedCustomer, User
from billing.models.user import LONGEST_NAME, is_email
from billing.services.stripe_calls import errors_as_refused
from billing.stripe import customer_lock, gateway
from billing.stripe.errors import PermanentError, TransientError
from billing.stripe.events import replay
from billing.stripe.events.filter import parked_for
from billing.stripe.events.handlers import handle_customer
from billing.stripe.objects import Customer
from billing.stripe.projection import owners, transfer
from billing.stripe.projection.owners import Ownership
from billing.stripe.reconciliation import discrepancies
from billing.stripe.requests import outbox
from billing.stripe.requests.outbox import Intent
from billing.stripe.resync import Problem, resync
from billing.stripe.tombstones import has_tombstone
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused
from glyphforge.text import cut

SAID = 3


def sync_customer(user: User, *, actor: str, reason: str) -> None:
    """Bring the user's name, subscriptions and payments in line with Stripe, now: those of all customers they have.

    Refuses a user without a customer at Stripe, and with the reason whatever Stripe refuses or does not answer, or what
    of it cannot be stored; the rest is written.
    """
    known = user.stripe_customers.order_by("-is_primary", "linked_at")
    # Of deleted ones there is nothing to ask, unless the user has no other.
    customers = list(known.filter(deleted_at=None) or known)
    if not customers:
        raise Refused("The customer has no Stripe customer.")

    def audit() -> None:
        record("sync_from_stripe", table_name="users", row_id=user.pk, reason=reason)

    problems: list[Problem] = []
    with acting_as(actor=actor, reason=reason), errors_as_refused():
        for customer in customers:
            problems += resync(customer.pk, audit=audit if customer is customers[0] else None)
    if problems:
        raise Refused(f"Synced, but for this: {_said(problems)}")


def link_customer(stripe_customer_id: str, user: User, *, actor: str, reason: str, make_primary: bool = False) -> None:
    """Link a customer at Stripe to `user`, note that in its metadata, sync it and replay what waited for it.

    It comes beside what customers the user has; with `make_primary` name and address are its from then on. A user whose
    customers were deleted is back with the new one. Refuses a customer that is somebody's, that was deleted or that
    Stripe does not know. What fails after that, telling Stripe of the link or the sync, is refused too, with the link
    in place.
    """
    with _changing(stripe_customer_id, actor=actor, reason=reason):
        holder = _unclaimed_holder(stripe_customer_id)
        with errors_as_refused():
            customer: Customer = gateway.retrieve("customer", stripe_customer_id)
        if holder:
            transfer.move(stripe_customer_id, user)
        else:
            owners.link(customer, user)
        if make_primary:
            _choose(stripe_customer_id)
        audit_id = record(
            "link_customer",
            table_name="users",
            row_id=user.pk,
            reason=reason,
            new_values={"stripe_customer_id": stripe_customer_id},
        )
        tag = _tag(stripe_customer_id, user, audit_id, actor=actor, reason=reason)
    _sync_and_replay(stripe_customer_id, tag, actor=actor, reason=reason)


def create_customer(stripe_customer_id: str, *, actor: str, reason: str, email: str | None = None) -> User:
    """Make a new user for a customer at Stripe, link, sync and replay; returns the user.

    `email` replaces the customer's address, at Stripe too, for when that one belongs to another user. Refuses an
    address that another user has or that is none, and what `link_customer` refuses of a customer.
    """
    with _changing(stripe_customer_id, actor=actor, reason=reason):
        holder = _unclaimed_holder(stripe_customer_id)
        with errors_as_refused():
            customer: Customer = gateway.retrieve("customer", stripe_customer_id)
        address = email or customer.get("email")
        if address and not is_email(address):
            raise Refused(f"{address} is not an e-mail address.")
        if address and User.objects.filter(email__iexact=address).exists():
            raise Refused(
                f"{address} belongs to another customer: link the Stripe customer to that one, or give another."
            )
        user = User.objects.create(email=address, name=cut(customer.get("name") or "", LONGEST_NAME))
        if holder:
            transfer.move(stripe_customer_id, user)
        else:
            owners.link(customer, user)
        audit_id = record("create_customer", table_name="users", row_id=user.pk, reason=reason)
        terms = {"email": email} if email else {}
        tag = _tag(stripe_customer_id, user, audit_id, actor=actor, reason=reason, **terms)
    _sync_and_replay(stripe_customer_id, tag, actor=actor, reason=reason)
    return user


def make_primary(stripe_customer_id: str, *, actor: str, reason: str) -> User:
    """Let one of a user's customers be the primary one, whose name and address are the user's; returns the user.

    It stays that until another one is chosen or it is deleted. Refuses one that is it already, that was deleted or that
    is nobody's.
    """
    with _changing(stripe_customer_id, actor=actor, reason=reason):
        link = _require_linked(stripe_customer_id)
        if link.is_primary:
            raise Refused(f"{stripe_customer_id} is the primary one already.")
        _choose(stripe_customer_id)
        with errors_as_refused():
            handle_customer(stripe_customer_id)
        record(
            "make_primary_customer",
            table_name="users",
            row_id=link.user_id,
            reason=reason,
            new_values={"stripe_customer_id": stripe_customer_id},
        )
    return User.objects.get(pk=link.user_id)


def unlink_customer(stripe_customer_id: str, *, actor: str, reason: str) -> None:
    """Take a customer from its user, with its subscriptions and payments: it waits for its owner again.

    A user of its own, without an address, holds what is the customer's until it is linked, so that nothing is lost and
    every figure stays. Its metadata at Stripe names nobody then. Refuses one that was deleted or is nobody's.
    """
    with _changing(stripe_customer_id, actor=actor, reason=reason):
        link = _require_linked(stripe_customer_id)
        with errors_as_refused():
            customer: Customer = gateway.retrieve("customer", stripe_customer_id)
        name = cut(customer.get("name") or "", LONGEST_NAME)
        transfer.move(stripe_customer_id, User.objects.create(name=name), Ownership.UNCLAIMED)
        UnmatchedCustomer.objects.create(
            stripe_customer_id=stripe_customer_id,
            email=customer.get("email") and cut(str(customer.get("email")), LONGEST_NAME),
            name=name,
            reason=cut(f"{actor} unlinked it from {link.user}: {reason}", 5000),
        )
        audit_id = record(
            "unlink_customer",
            table_name="users",
            row_id=link.user_id,
            reason=reason,
            old_values={"stripe_customer_id": stripe_customer_id},
        )
        _close_other_owner(stripe_customer_id)
        tag = _tag(stripe_customer_id, link.user, audit_id, actor=actor, reason=reason, user_id="")
    _tell("unlinked", tag)


def move_to_named(difference: Difference, *, actor: str, reason: str) -> User:
    """Give a customer, whose metadata names another user than it belongs to, to that one; returns the user.

    Refuses when the metadata does not say so any more.
    """
    customer_id = difference.stripe_id
    with _changing(customer_id, actor=actor, reason=reason):
        link = _require_linked(customer_id)
        with errors_as_refused():
            customer: Customer = gateway.retrieve("customer", customer_id)
        user = owners.named(customer.get("metadata"))
        if user is None or user.pk == link.user_id:
            raise Refused(f"{customer_id} does not name another customer any more.")
        transfer.move(customer_id, user)
        for action, owner in (("unlink_customer", link.user_id), ("link_customer", user.pk)):
            values = {"stripe_customer_id": customer_id}
            record(action, table_name="users", row_id=owner, reason=reason, new_values=values)
        _close_other_owner(customer_id)
    _sync_and_replay(customer_id, None, actor=actor, reason=reason)
    return user


def keep_owner(difference: Difference, *, actor: str, reason: str) -> User:
    """Leave a customer whose metadata names another user where it is, and tell Stripe so; returns its user."""
    customer_id = difference.stripe_id
    with _changing(customer_id, actor=actor, reason=reason):
        link = _require_linked(customer_id)
        audit_id = record("keep_customer", table_name="users", row_id=link.user_id, reason=reason)
        _close_other_owner(customer_id)
        tag = _tag(customer_id, link.user, audit_id, actor=actor, reason=reason)
    _tell("kept", tag)
    return link.user


@contextmanager
def _changing(stripe_customer_id: str, *, actor: str, reason: str) -> Iterator[None]:
    """One transaction of the actor; events of the customer, which may link it too, are kept out until it ends."""
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        with errors_as_refused():
            customer_lock.acquire(stripe_customer_id)
        yield


def _unclaimed_holder(stripe_customer_id: str) -> User | None:
    """The user that was made to hold an unlinked customer; refuses a customer that is somebody's or was deleted."""
    if has_tombstone(stripe_customer_id):
        raise Refused(f"Stripe customer {stripe_customer_id} was deleted.")
    link = StripeCustomer.objects.select_related("user").filter(pk=stripe_customer_id).first()
    if link and link.ownership != Ownership.UNCLAIMED:
        raise Refused(f"Stripe customer {stripe_customer_id} already belongs to {link.user}.")
    return link.user if link else None


def _require_linked(stripe_customer_id: str) -> StripeCustomer:
    link = StripeCustomer.objects.select_related("user").filter(pk=stripe_customer_id).first()
    if link is None or link.ownership == Ownership.UNCLAIMED:
        raise Refused(f"Stripe customer {stripe_customer_id} is linked to nobody.")
    if link.deleted_at:
        raise Refused(f"Stripe customer {stripe_customer_id} was deleted: what is its stays where it is.")
    return link


def _choose(stripe_customer_id: str) -> None:
    StripeCustomer.objects.filter(pk=stripe_customer_id).update(is_primary=True, chosen_at=Now())


def _close_other_owner(stripe_customer_id: str) -> None:
    decided = Q(kind=Difference.Kind.OTHER_OWNER, object_kind="customer", stripe_id=stripe_customer_id)
    discrepancies.close(decided, Difference.Status.REPAIRED)


def _tag(stripe_customer_id: str, user: User, audit_id: int, *, actor: str, reason: str, **terms: str) -> StripeRequest:
    """Write, with the change, what Stripe is to be told of it once that is committed: that the customer is `user`'s.

    With an empty `user_id` among the terms it is nobody's any more; they may also have a new `email`.
    """
    outbox.require_none_open(stripe_customer_id)
    wanted = {"user_id": str(user.pk)} | terms
    intent = Intent(StripeRequest.Kind.TAG_CUSTOMER, stripe_customer_id, user.pk, user, wanted)
    return outbox.write(intent, actor=actor, reason=reason, audit_id=audit_id)


def _tell(done: str, tag: StripeRequest) -> None:
    """Tell Stripe of a change that stays whatever becomes of that."""
    try:
        outbox.carry_out(tag)
    except Refused as refusal:
        raise type(refusal)(f"The Stripe customer is {done}, but Stripe was not told for sure: {refusal}") from refusal


def _sync_and_replay(stripe_customer_id: str, tag: StripeRequest | None, *, actor: str, reason: str) -> None:
    """Tell Stripe of the link, and bring in what is now the user's; the link stays whatever becomes of either."""
    try:
        if tag:
            _tell("linked", tag)
    finally:
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
