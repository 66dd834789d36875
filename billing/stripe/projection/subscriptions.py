"""Stripe's subscriptions as rows, the free tier coming and going with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.models import MonthlyUsageSummary, Subscription, Tier, User
from billing.stripe import mirror
from billing.stripe.errors import PermanentError, UnmappedPriceError
from billing.stripe.projection import prices, users
from billing.stripe.projection.rows import moment, write
from billing.stripe.subject import identifier

Json = dict[str, Any]


def project(data: Json) -> Subscription:
    """Bring the row of a subscription, and who is entitled by it, in line with Stripe.

    Of two live ones the higher tier counts; the other stays as a marked duplicate. The free row
    ends when a paid one lives and comes back when none does. The caller holds the customer's lock.
    """
    row = Subscription.objects.select_related("user").filter(stripe_subscription_id=data["id"]).first()
    user = users.of_customer(_customer_id(data), row.user if row else None)
    row = row or Subscription(stripe_subscription_id=data["id"], usage_count=_requests_this_month(user))
    wanted = values(data) | {"user_id": user.pk}
    live = wanted["status"] in Subscription.LIVE
    rivals = list(_live_at_stripe(user).exclude(stripe_subscription_id=data["id"]))
    winner = max([*rivals, *([row] if live else [])], key=_rank_after(row, wanted), default=None)

    # Whoever loses gives way first: the unique index never sees two live rows.
    for rival in rivals:
        if rival is not winner:
            write(rival, {"is_duplicate": True})
    if winner:
        _end_free(user)
    write(row, wanted | {"is_duplicate": live and winner is not row})
    if winner and winner is not row:
        write(winner, {"is_duplicate": False})
    if not winner:
        ensure_free(user)
    return row


def values(data: Json) -> Json:
    """The columns that Stripe decides, from the current state of a subscription.

    Raises UnmappedPriceError when no tier claims any of its prices.
    """
    item, tier = _main_item(data)
    recurring = item["price"].get("recurring") or {}
    canceled = data["status"] == Subscription.Status.CANCELED
    return {
        "tier": tier,
        "status": data["status"],
        "stripe_price_id": item["price"]["id"],
        "quantity": 1 if item.get("quantity") is None else item["quantity"],
        "price_cents": prices.monthly_cents(data, mirror.customer_discount(_customer_id(data))),
        "currency": data["currency"],
        "interval": recurring.get("interval", "month"),
        "current_period_start": moment(_period(data, item, "current_period_start")),
        "current_period_end": moment(_period(data, item, "current_period_end")),
        "cancel_at_period_end": bool(data.get("cancel_at_period_end")) or (not canceled and _ends_with_period(data)),
        # Stripe's canceled_at is when somebody asked for it; ours is when it was over.
        "canceled_at": moment(data.get("ended_at") or data.get("canceled_at")) if canceled else None,
        "trial_end": moment(data.get("trial_end")),
        "created_at": moment(data["created"]),
    }


def ensure_free(user: User) -> None:
    """Give ``user`` the free tier unless something live or a deletion stands against it."""
    if user.status == User.Status.DELETED:
        return
    live = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, is_duplicate=False)
    if not live.exists():
        Subscription.objects.create(
            user=user,
            tier=Tier.FREE,
            current_period_start=datetime.now(UTC),
            usage_count=_requests_this_month(user),
        )


def _customer_id(data: Json) -> str:
    customer_id = identifier(data.get("customer"))
    if customer_id is None:
        raise PermanentError(f"Stripe names no customer of subscription {data['id']}.")
    return customer_id


def _main_item(data: Json) -> tuple[Json, str]:
    """The item whose price decides the tier: the highest; the others are add-ons that only cost."""
    items = data["items"]["data"]
    if not items:
        raise PermanentError(f"Subscription {data['id']} has no items at Stripe, so no tier can be told.")
    tiers = [(item, prices.tier_of(item["price"])) for item in items]
    claimed = [(item, tier) for item, tier in tiers if tier]
    if not claimed and data["status"] == Subscription.Status.CANCELED:
        # Its end must not wait for a mapping.
        known = Subscription.objects.filter(stripe_subscription_id=data["id"]).first()
        claimed = [(items[0], known.tier)] if known else []
    if not claimed:
        unknown = items[0]["price"]["id"]
        raise UnmappedPriceError(
            f"No tier claims price {unknown} of subscription {data['id']}. "
            "Map it to a tier under Plan prices, then replay this event.",
            stripe_price_id=unknown,
        )
    return max(claimed, key=lambda pair: prices.RANK[pair[1]])


def _ends_with_period(data: Json) -> bool:
    """Whether a moment is set at which it ends and no further period begins.

    So the customer portal cancels in flexible billing mode; the flag stays unset then.
    """
    ends = [_period(data, item, "current_period_end") or 0 for item in data["items"]["data"]]
    return bool(data.get("cancel_at")) and int(data["cancel_at"]) <= max(ends)


def _period(data: Json, item: Json, name: str) -> int | None:
    """Periods are the items' since API version 2025-03-31; before, the subscription's."""
    value = item.get(name) or data.get(name)
    return None if value is None else int(value)


def _rank_after(row: Subscription, wanted: Json) -> Any:
    """Orders live rows as they will be once ``wanted`` is written: tier, price, age, id."""

    def rank(candidate: Subscription) -> tuple[int, int, datetime, str]:
        changed = wanted if candidate is row else {}
        return (
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
        write(row, {"status": Subscription.Status.CANCELED, "canceled_at": datetime.now(UTC)})


def _requests_this_month(user: User) -> int:
    """Usage is the user's, not the subscription's: a new row starts with what the month has seen."""
    month = datetime.now(UTC).date().replace(day=1)
    used = MonthlyUsageSummary.objects.filter(user_id=user.pk, month=month)
    return used.values_list("total_requests", flat=True).first() or 0
