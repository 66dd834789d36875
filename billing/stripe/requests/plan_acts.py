"""Changes of a subscription's plan, now or at the end of its period, exactly as they were shown."""

from typing import Any

from billing.models import StripeRequest
from billing.stripe import gateway, plan_change
from billing.stripe.errors import MissingError
from billing.stripe.events.event_object import identifier
from billing.stripe.requests.act import SKEW, STALE, Act
from billing.stripe.requests.subscription_acts import has_ended
from glyphforge.errors import Refused
from glyphforge.money import money
from glyphforge.rows import Json

# What the current phase keeps of how the schedule was made, and of each of its items.
OF_PHASE = ("start_date", "end_date", "trial_end", "collection_method", "description", "metadata")
OF_ITEM = ("price", "quantity")


def _unchanged(request: StripeRequest) -> Any:
    """The subscription at Stripe; refuses one that is not any more as it was when the change was shown."""
    found, change = gateway.retrieve("subscription", request.stripe_object_id), request.parameters
    if has_ended(found):
        raise Refused(f"The subscription is canceled already. {STALE}")
    if plan_change.is_made(change, found):
        raise Refused(f"The subscription has this price and quantity already. {STALE}")
    item = plan_change.item_of(found, change["item"])
    now = item and {
        "price": item["price"]["id"],
        "quantity": item.get("quantity"),
        "period_end": period_end(item, found),
    }
    if now != change["was"]:
        raise Refused("The subscription has changed at Stripe since the preview: look at the preview again.")
    return found


def period_end(item: Any, found: Any) -> int:
    """When the item's period ends; it was the subscription's before API version 2025-03-31."""
    return int(item.get("current_period_end") or found["current_period_end"])


class ChangePlan(Act):
    """The subscription changes now, as of the moment of the preview, and charges what that showed.

    An invoice that cannot be paid changes nothing: `error_if_incomplete` at
    https://docs.stripe.com/api/subscriptions/update. The parameters are those of `billing.stripe.plan_change`, `was`,
    and what the previewed invoice came to: `shown_cents` in `currency`.
    """

    table = "subscriptions"

    def words(self, request: StripeRequest) -> str:
        """As in `changing the plan of sub_1`."""
        return f"changing the plan of {request.stripe_object_id}"

    def prepare(self, request: StripeRequest) -> Any:
        """The subscription at Stripe; refuses when it has changed, or Stripe would charge something else by now."""
        found, change = _unchanged(request), request.parameters
        if schedule := identifier(found.get("schedule")):
            raise Refused(f"The schedule {schedule} manages the subscription: take back its planned changes before.")
        due = plan_change.preview(change, found)["amount_due"]
        if due != change["shown_cents"]:
            now, shown = (money(cents, change["currency"]) for cents in (due, change["shown_cents"]))
            raise Refused(
                f"The invoice would come to {now} by now, not to {shown} as shown: look at the preview again."
            )
        return found

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Change it; returns its id."""
        terms = plan_change.terms(request.parameters, prepared)
        subscription_id, key = request.stripe_object_id, request.idempotency_key
        behavior = "error_if_incomplete"
        gateway.modify("subscription", subscription_id, idempotency_key=key, payment_behavior=behavior, **terms)
        return subscription_id

    def look(self, request: StripeRequest) -> str | None:
        """By the item's price and quantity, and the coupon."""
        try:
            found = gateway.retrieve("subscription", request.stripe_object_id)
        except MissingError:
            return None
        return request.stripe_object_id if plan_change.is_made(request.parameters, found) else None


class ChangePlanAtPeriodEnd(Act):
    """A schedule changes the subscription when its period ends, and then lets go of it.

    Stripe wants two calls for it, see https://docs.stripe.com/api/subscription_schedules/create: where a process dies
    between them the schedule says nothing yet, and the request is carried out to its end.
    """

    table = "subscriptions"

    def words(self, request: StripeRequest) -> str:
        """As in `changing the plan of sub_1 at the end of its period`."""
        return f"changing the plan of {request.stripe_object_id} at the end of its period"

    def prepare(self, request: StripeRequest) -> Any:
        """The subscription at Stripe; refuses when it has changed, or another schedule manages it."""
        found = _unchanged(request)
        schedule = _schedule_of(found)
        if schedule and not _is_begun(request, schedule):
            raise Refused(
                f"The schedule {schedule['id']} manages the subscription: take back its planned changes before."
            )
        return found

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Let a schedule manage the subscription, and tell it what comes after this period; returns its id."""
        subscription_id, key = request.stripe_object_id, request.idempotency_key
        schedule = _schedule_of(prepared) or gateway.as_json(
            gateway.create(
                "subscription_schedule",
                f"subscription {subscription_id}",
                from_subscription=subscription_id,
                idempotency_key=key,
            )
        )
        gateway.modify(
            "subscription_schedule",
            schedule["id"],
            phases=_phases(request.parameters, schedule["phases"][0], prepared),
            end_behavior="release",
            metadata={"intent": str(request.pk)},
            proration_behavior=plan_change.NO_PRORATIONS,
            idempotency_key=f"{key}.phases",
        )
        return str(schedule["id"])

    def look(self, request: StripeRequest) -> str | None:
        """By the schedule, which carries the request's id once it says what is to come."""
        schedule = self._schedule(request)
        is_ours = schedule and (schedule.get("metadata") or {}).get("intent") == str(request.pk)
        return str(schedule["id"]) if schedule and is_ours else None

    def is_repeated(self, request: StripeRequest) -> bool:
        """Whether the schedule was made and not told what it is for."""
        schedule = self._schedule(request)
        return schedule is not None and _is_begun(request, schedule)

    def _schedule(self, request: StripeRequest) -> Any | None:
        try:
            return _schedule_of(gateway.look_at("subscription", request.stripe_object_id))
        except MissingError:
            return None


def _schedule_of(found: Any) -> Any | None:
    schedule_id = identifier(found.get("schedule"))
    return gateway.as_json(gateway.look_at("subscription_schedule", schedule_id)) if schedule_id else None


def _is_begun(request: StripeRequest, schedule: Any) -> bool:
    """Whether a schedule was made by this request and says nothing yet: no other is asked for meanwhile."""
    is_blank = len(schedule["phases"]) == 1 and not schedule.get("metadata")
    return is_blank and schedule["created"] >= (request.asked_at - SKEW).timestamp()


def _phases(change: Json, current: Any, found: Any) -> list[Json]:
    """The current phase as it is, and a period of what comes after it: phases that are told replace all."""
    kept = {name: current[name] for name in OF_PHASE if current.get(name)}
    rates = {"default_tax_rates": _ids(current["default_tax_rates"])} if current.get("default_tax_rates") else {}
    items = [_item(item) for item in current["items"]]
    place = [item["id"] for item in found["items"]["data"]].index(change["item"])
    later = [*items]
    later[place] = {**items[place], "price": change["price"], "quantity": change["quantity"]}
    discounts = _discounts(current)
    coupon = [{"coupon": change["coupon"]}] if change.get("coupon") else []
    return [
        {**kept, **rates, "items": items, "discounts": discounts or ""},
        {
            **rates,
            "duration": change["duration"],
            "items": later,
            "discounts": [*discounts, *coupon] or "",
            "proration_behavior": plan_change.NO_PRORATIONS,
        },
    ]


def _item(item: Any) -> Json:
    told = {name: _id(item[name]) for name in OF_ITEM if item.get(name) is not None}
    if item.get("tax_rates"):
        told["tax_rates"] = _ids(item["tax_rates"])
    if item.get("discounts"):
        told["discounts"] = _discounts(item)
    return told


def _discounts(holder: Any) -> list[Json]:
    """What a phase or an item says of its discounts, each by the first name that it has."""
    names = ("discount", "promotion_code", "coupon")
    found = [
        next(((name, each[name]) for name in names if each.get(name)), None) for each in holder.get("discounts") or []
    ]
    return [{name: _id(value)} for name, value in filter(None, found)]


def _ids(members: Any) -> list[Any]:
    return [_id(member) for member in members]


def _id(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) else value


class ReleaseSchedule(Act):
    """The schedule lets go of the subscription, which goes on as it is: what was planned does not happen."""

    table = "subscriptions"

    def words(self, request: StripeRequest) -> str:
        """As in `taking back the planned changes of sub_1`."""
        return f"taking back the planned changes of {request.stripe_object_id}"

    def prepare(self, request: StripeRequest) -> Any:
        """The schedule's id; refuses where there is none."""
        found = gateway.look_at("subscription", request.stripe_object_id)
        schedule_id = identifier(found.get("schedule"))
        if schedule_id is None:
            raise Refused(f"No schedule manages the subscription. {STALE}")
        return schedule_id

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Release the schedule; returns its id."""
        gateway.call("subscription_schedule", "release", prepared, idempotency_key=request.idempotency_key)
        return str(prepared)

    def look(self, request: StripeRequest) -> str | None:
        """By the subscription, which no schedule manages any more."""
        try:
            found = gateway.look_at("subscription", request.stripe_object_id)
        except MissingError:
            return None
        return None if identifier(found.get("schedule")) else request.stripe_object_id


Kind = StripeRequest.Kind
PLAN_ACTS: dict[str, Act] = {
    Kind.CHANGE_PLAN: ChangePlan(),
    Kind.CHANGE_PLAN_AT_PERIOD_END: ChangePlanAtPeriodEnd(),
    Kind.RELEASE_SCHEDULE: ReleaseSchedule(),
}
