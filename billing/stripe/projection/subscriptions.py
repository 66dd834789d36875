"""Stripe's subscriptions as rows, the free plan coming and going with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from billing.models import QuotaUsage, Subscription, Tier, User
from billing.stripe import mirror, objects, tiers
from billing.stripe.errors import PermanentError, UnmappedPriceError
from billing.stripe.events.event_object import identifier
from billing.stripe.projection import foreign, kept_months, open_invoices, owners, prices, users
from billing.stripe.projection.rows import Columns, moment, write
from glyphforge.database.clock import database_time

Period = Literal["current_period_start", "current_period_end"]


def project(data: objects.Subscription) -> Subscription | None:
    """Bring the row of a subscription, and who is entitled by it, in line with Stripe; returns the row.

    None for one that leaves no row: a foreign one, and one that ended, or never began, without items or a row.

    Of two live ones the one with the better status counts, then the higher tier; the other stays as a marked duplicate.
    The free row ends when a paid one lives and comes back when none does. What is owed for it comes and goes with it.
    The caller holds the customer's lock. Raises what `values` raises, and UnlinkedCustomerError when only a person can
    say whose subscription it is.
    """
    customer_id = _customer_id(data)
    row = Subscription.objects.filter(stripe_subscription_id=data["id"]).first()
    if row is None and leaves_no_row(data):
        foreign.forget_user(customer_id)
        return None
    if row and foreign.is_foreign_subscription(data):
        _let_go(row)
        foreign.forget_user(customer_id)
        return None
    user = users.of_customer(customer_id, data.get("metadata"))
    # Read anew now that the user is held: another of the user's customers may have changed the row.
    row = Subscription.objects.filter(stripe_subscription_id=data["id"]).first()
    row = row or Subscription(stripe_subscription_id=data["id"], usage_count=_requests_this_month(user))
    _bring_in_line(row, user, values(data) | {"user_id": user.pk, "stripe_customer_id": customer_id})
    for item in data["items"]["data"]:
        tiers.note(item["price"])
    return row


def _has_no_plan(data: objects.Subscription) -> bool:
    """Whether a subscription that is not live has no items that would say what it is, or was, for."""
    return (
        not data["items"]["data"] and data["status"] in Subscription.Status and data["status"] not in Subscription.LIVE
    )


def leaves_no_row(data: objects.Subscription) -> bool:
    """Whether a subscription that is not here needs no row: a foreign one, or one over and without items."""
    return bool(foreign.is_foreign_subscription(data)) or _has_no_plan(data)


def _let_go(row: Subscription) -> None:
    """Remove the row of a subscription that is declared foreign since."""
    ended = {"status": Subscription.Status.CANCELED, "canceled_at": database_time()}
    _bring_in_line(row, owners.hold(row.user), ended)
    row.delete()


def project_end(data: objects.Subscription) -> bool:
    """End the row of a canceled subscription of which else nothing fits: its end must not wait for that.

    False when it is not canceled, or not known here. The caller holds the customer's lock.
    """
    row = Subscription.objects.select_related("user").filter(stripe_subscription_id=data["id"]).first()
    if row is None or data.get("status") != Subscription.Status.CANCELED:
        return False
    user = owners.hold(row.user)
    row.refresh_from_db()
    try:
        ended_at = moment(data.get("ended_at") or data.get("canceled_at"))
    except (TypeError, ValueError):
        ended_at = None
    _bring_in_line(row, user, {"status": data["status"], "canceled_at": ended_at or database_time()})
    return True


def settle(user: User) -> None:
    """Let one of the user's live subscriptions count, whose customers were changed; the caller holds the user."""
    live = list(_live_at_stripe(user))
    winner = max(live, key=_rank_after(None, {}), default=None)
    for row in live:
        if row is not winner:
            write(row, {"is_duplicate": True})
    if winner:
        _end_free(user)
        write(winner, {"is_duplicate": False})
    else:
        ensure_free(user)


def _bring_in_line(row: Subscription, user: User, wanted: Columns) -> None:
    live = wanted["status"] in Subscription.LIVE
    rivals, winner = _ranked(row, user, wanted)

    # Whoever loses gives way first: the unique index never sees two live rows.
    for rival in rivals:
        if rival is not winner:
            write(rival, {"is_duplicate": True})
    if winner:
        _end_free(user)
    tier, limit = row.tier, row.monthly_request_limit
    write(row, wanted | {"is_duplicate": live and winner is not row})
    if winner is row and row.tier != tier:
        kept_months.keep(row, limit)
    if winner and winner is not row:
        write(winner, {"is_duplicate": False})
    if not winner:
        ensure_free(user)
    open_invoices.project_all_of(row)


def is_duplicate_after(row: Subscription, user: User, wanted: Columns) -> bool:
    """Whether the row is a duplicate once `wanted` is written: live, and another live one of the user's counts."""
    _, winner = _ranked(row, user, wanted)
    return wanted["status"] in Subscription.LIVE and winner is not row


def _ranked(row: Subscription, user: User, wanted: Columns) -> tuple[list[Subscription], Subscription | None]:
    """The user's other live subscriptions at Stripe, and the one that counts once `wanted` is written."""
    rivals = list(_live_at_stripe(user).exclude(stripe_subscription_id=row.stripe_subscription_id))
    live = [row] if wanted["status"] in Subscription.LIVE else []
    return rivals, max([*rivals, *live], key=_rank_after(row, wanted), default=None)


def values(data: objects.Subscription) -> Columns:
    """The columns that Stripe decides, from the current state of a subscription; `price_cents` is a month's.

    Foreign items do not count. Of one that is not live and has no items only its end is said. Raises UnmappedPriceError
    when no tier claims any of its prices, PermanentError when it has no items, no customer or a price that says no
    amount.
    """
    canceled = data["status"] == Subscription.Status.CANCELED
    # Stripe's canceled_at is when somebody asked for it; ours is when it was over.
    ended = {"canceled_at": moment(data.get("ended_at") or data.get("canceled_at")) if canceled else None}
    if _has_no_plan(data):
        return {"status": data["status"], **ended}
    data = foreign.ours(data)
    item, tier = _main_item(data)
    recurring = item["price"].get("recurring") or {}
    quantity = item.get("quantity")
    period_end = _period(data, item, "current_period_end")
    cancel_at = data.get("cancel_at") or (period_end if data.get("cancel_at_period_end") else None)
    collection = data.get("pause_collection") or {}
    cents = prices.monthly_cents(data, mirror.customer_discount(_customer_id(data)))
    return {
        "tier": tier,
        "status": data["status"],
        "stripe_price_id": item["price"]["id"],
        "quantity": 1 if quantity is None else quantity,
        "price_cents": cents,
        "currency": data["currency"],
        "interval": recurring.get("interval", "month"),
        "current_period_start": moment(_period(data, item, "current_period_start")),
        "current_period_end": moment(period_end),
        # The customer portal cancels by a moment alone in flexible billing mode: the flag stays unset then.
        "cancel_at_period_end": bool(data.get("cancel_at_period_end"))
        or (not canceled and cancel_at is not None and cancel_at == period_end),
        "cancel_at": moment(cancel_at),
        "trial_end": moment(data.get("trial_end")),
        "collection_paused": collection.get("behavior"),
        "collection_resumes_at": moment(collection.get("resumes_at")),
        "stripe_schedule_id": identifier(data.get("schedule")),
        "created_at": moment(data["created"]),
        **ended,
    }


def ensure_free(user: User) -> None:
    """Give `user` the free plan, unless a live subscription or the user's deletion stands against it."""
    if user.status == User.Status.DELETED:
        return
    live = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, is_duplicate=False)
    if not live.exists():
        Subscription.objects.create(
            user=user,
            tier=Tier.FREE,
            current_period_start=database_time(),
            usage_count=_requests_this_month(user),
        )


def _customer_id(data: objects.Subscription) -> str:
    customer_id = identifier(data.get("customer"))
    if customer_id is None:
        raise PermanentError(f"Stripe names no customer of subscription {data['id']}.")
    return customer_id


def _main_item(data: objects.Subscription) -> tuple[objects.SubscriptionItem, str]:
    """The item whose price decides the tier: the highest; the others are add-ons that only cost."""
    items = (data.get("items") or {}).get("data") or []
    if not items:
        raise PermanentError(f"Subscription {data['id']} has no items at Stripe, so no plan can be told.")
    if not all(item.get("price") for item in items):
        raise PermanentError(f"Subscription {data['id']} has an item without a price at Stripe.")
    known = Subscription.objects.filter(stripe_subscription_id=data["id"]).first()
    sold = tiers.tiers_of([item["price"] for item in items])
    if known and known.stripe_price_id in sold:
        # Prices age: one that lost its key, its metadata or its mapping sells to who has it what it sold.
        sold[known.stripe_price_id] = sold[known.stripe_price_id] or known.tier
    claimed = [(item, tier) for item in items if (tier := sold[item["price"]["id"]])]
    if not claimed and known and data["status"] == Subscription.Status.CANCELED:
        claimed = [(items[0], known.tier)]  # its end must not wait for a mapping
    if not claimed:
        raise UnmappedPriceError(
            f"No plan claims price {', '.join(sold)} of subscription {data['id']}. "
            "Map it to a plan, or declare it to be none of ours, under Plan prices: this event is then tried again by"
            " itself.",
            stripe_price_id=items[0]["price"]["id"],
        )
    return max(claimed, key=lambda pair: prices.RANK[pair[1]])


def _period(data: objects.Subscription, item: objects.SubscriptionItem, name: Period) -> int | None:
    """A moment of the item's period, or of the subscription's before API version 2025-03-31, which had it there.

    See https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end
    """
    value = item.get(name) or data.get(name)
    return None if value is None else int(value)


def _rank_after(row: Subscription | None, wanted: Columns) -> Any:
    """Order live rows as they will be once `wanted` is written: status, tier, price, age, id."""

    def rank(candidate: Subscription) -> tuple[int, int, int, datetime, str]:
        changed = wanted if candidate is row else {}
        return (
            -Subscription.BEST_FIRST.index(changed.get("status", candidate.status)),
            prices.RANK[changed.get("tier", candidate.tier)],
            changed.get("price_cents", candidate.price_cents),
            changed.get("created_at", candidate.created_at),
            str(candidate.stripe_subscription_id),
        )

    return rank


def _live_at_stripe(user: User) -> Any:
    return Subscription.objects.filter(user=user, status__in=Subscription.LIVE, stripe_subscription_id__isnull=False)


def _end_free(user: User) -> None:
    free = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, stripe_subscription_id__isnull=True)
    for row in free:
        write(row, {"status": Subscription.Status.CANCELED, "canceled_at": database_time()})


def _requests_this_month(user: User) -> int:
    """Usage is the user's, not the subscription's: a new row starts with what the month has seen."""
    month = database_time().date().replace(day=1)
    used = QuotaUsage.objects.filter(user_id=user.pk, month=month)
    return used.values_list("used_requests", flat=True).first() or 0
