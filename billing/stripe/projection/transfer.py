"""A Stripe customer changes its user, and everything of it goes along: nothing is deleted, and the figures follow."""

from __future__ import annotations

from django.db import connection
from django.db.models.functions import Now

from billing.models import OpenInvoice, Payment, StripeCustomer, Subscription, UnmatchedCustomer, User
from billing.stripe.projection import owners, subscriptions, users
from billing.stripe.projection.owners import Names, Ownership
from glyphforge.audit import current


def move(customer_id: str, user: User, ownership: str = Ownership.KNOWN) -> User:
    """Make a linked customer another user's, with its subscriptions and payments; returns that user, held.

    Of both users' live subscriptions one counts afterwards. A user who was made for this customer alone is gone then,
    unless it is unlinked. The caller holds the customer's lock.
    """
    link = StripeCustomer.objects.get(pk=customer_id)
    both = User.objects.select_for_update(no_key=True).filter(pk__in=[link.user_id, user.pk]).order_by("pk")
    held = {row.pk: row for row in both}
    before, after = held[link.user_id], held[user.pk]

    mine = Subscription.objects.filter(stripe_customer_id=customer_id)
    # The unique index never sees two live rows.
    mine.filter(status__in=Subscription.LIVE, is_duplicate=False).update(is_duplicate=True)
    mine.update(user_id=after.pk)
    OpenInvoice.objects.filter(subscription__in=mine).update(user_id=after.pk)
    Payment.objects.filter(stripe_customer_id=customer_id).update(user_id=after.pk)
    owners.revive(after)
    StripeCustomer.objects.filter(pk=customer_id).update(
        user_id=after.pk, ownership=ownership, linked_by=current().actor or "unknown", linked_at=Now()
    )
    if ownership != Ownership.UNCLAIMED:
        UnmatchedCustomer.objects.filter(pk=customer_id).delete()
    for owner in (before, after):
        owners.settle_primary(owner)
        subscriptions.settle(owners.hold(owner))
    _count_usage(before, after)
    if link.ownership != Ownership.KNOWN and ownership != Ownership.UNCLAIMED and owners.is_vacant(before):
        User.objects.filter(pk=before.pk).delete()
    else:
        users.take_over(owners.hold(before))
    after = owners.hold(after)
    users.take_over(after)
    return after


def follow_sale(customer_id: str, names: Names | None) -> None:
    """Move a customer, for which a user was made because nobody said whose it is, to whom a sale names.

    `names` is as for `users.of_customer`. The caller holds the customer's lock.
    """
    user = owners.without_customer(names)
    if user and owners.is_presumed(customer_id):
        move(customer_id, user)


def _count_usage(*owners_of_live: User) -> None:
    """Usage is the user's: what a live subscription shows is what its user has used."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.counting', 'on', true)")
        cursor.execute(
            "UPDATE subscriptions AS s SET usage_count = m.requests, usage_synced_at = now()"
            " FROM miscounted_subscriptions AS m WHERE m.id = s.id AND s.user_id = ANY (%s)",
            [[user.pk for user in owners_of_live]],
        )
        cursor.execute("SELECT set_config('app.counting', '', true)")
