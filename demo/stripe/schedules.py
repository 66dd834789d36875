"""Subscription schedules of the local Stripe: https://docs.stripe.com/billing/subscriptions/subscription-schedules"""

from __future__ import annotations

import copy
import time
from itertools import pairwise

from demo.stripe import changes
from demo.stripe.billing import Billing
from demo.stripe.refusals import RefusalError
from glyphforge.rows import Json

# What of a phase is whole numbers in a form.
NUMBERS = ("start_date", "end_date", "trial_end")


class Schedules(Billing):
    """Changes of a subscription that wait for the end of its period."""

    def schedule(self, params: Json) -> Json:
        """Let a schedule manage a subscription, with what it is now as the only phase."""
        subscription = self._live("subscription", str(params.get("from_subscription", "")))
        if params.keys() - {"from_subscription"}:
            raise RefusalError(400, "You cannot set other parameters together with `from_subscription`.", param="")
        if subscription.get("schedule"):
            raise RefusalError(
                400, f"The subscription is already managed by the schedule `{subscription['schedule']}`.", param=""
            )
        items = subscription["items"]["data"]
        phase = {
            "start_date": items[0]["current_period_start"],
            "end_date": items[0]["current_period_end"],
            "items": [
                {"price": item["price"]["id"], "quantity": item.get("quantity"), "discounts": [], "tax_rates": []}
                for item in items
            ],
            "discounts": [
                {"discount": discount["id"], "coupon": None, "promotion_code": None}
                for discount in subscription["discounts"]
            ],
            "default_tax_rates": [],
            "trial_end": subscription["trial_end"],
        }
        made = {
            "id": self.new_id("sub_sched"),
            "object": "subscription_schedule",
            "created": int(time.time()),
            "customer": subscription["customer"],
            "current_phase": {"start_date": phase["start_date"], "end_date": phase["end_date"]},
            "end_behavior": "release",
            "metadata": {},
            "phases": [phase],
            "status": "active",
            "subscription": subscription["id"],
        }
        self.objects[made["id"]] = made
        subscription["schedule"] = made["id"]
        self.emit("subscription_schedule.created", made)
        self.emit("customer.subscription.updated", subscription, previous={"schedule": None})
        return made

    def update_schedule(self, schedule_id: str, params: Json) -> Json:
        """Set what comes after the current phase, which has to be named as it is."""
        found = self._active(schedule_id)
        phases = [_phase(phase) for phase in params.get("phases") or []]
        if phases:
            began = found["phases"][0]["start_date"]
            if phases[0].get("start_date") != began:
                raise RefusalError(400, f"The current phase starts at {began}.", param="phases[0][start_date]")
            for before, phase in pairwise(phases):
                phase.setdefault("start_date", before.get("end_date"))
            found["phases"] = phases
        found["metadata"] |= params.get("metadata") or {}
        found["end_behavior"] = params.get("end_behavior", found["end_behavior"])
        self.emit("subscription_schedule.updated", found)
        return found

    def release_schedule(self, schedule_id: str) -> Json:
        """Let the subscription go on as it is: https://docs.stripe.com/api/subscription_schedules/release"""
        found = self._active(schedule_id)
        subscription = self._live("subscription", found["subscription"])
        found.update(status="released", released_subscription=subscription["id"], subscription=None)
        subscription["schedule"] = None
        self.emit("subscription_schedule.released", found)
        self.emit("customer.subscription.updated", subscription, previous={"schedule": schedule_id})
        return found

    def _active(self, schedule_id: str) -> Json:
        found = self._live("subscription_schedule", schedule_id)
        if found["status"] != "active":
            raise RefusalError(400, f"The schedule is {found['status']} and cannot be changed.", param="schedule")
        return found

    def _enter_phase(self, subscription: Json, at: int) -> None:
        """Change the subscription as the phase says that begins then; after the last one the schedule lets go."""
        schedule = self.objects.get(subscription.get("schedule") or "")
        phase = schedule and next((phase for phase in schedule["phases"] if phase.get("start_date") == at), None)
        if not schedule or not phase:
            return
        items = [
            {"id": item["id"]} | {name: wanted[name] for name in ("price", "quantity") if wanted.get(name)}
            for item, wanted in zip(subscription["items"]["data"], phase["items"], strict=True)
        ]
        # At the end of a period there is no time left to be given back.
        terms: Json = {"items": items, "proration_behavior": "none"}
        if "discounts" in phase:
            terms["discounts"] = phase["discounts"]
        change = changes.reckon(self.objects, subscription, terms, now=at)
        period = {
            name: subscription["items"]["data"][0][name] for name in ("current_period_start", "current_period_end")
        }
        subscription.update(change.subscription)
        for item in subscription["items"]["data"]:
            item.update(period)
        subscription["schedule"] = None
        schedule.update(status="released", released_subscription=subscription["id"], subscription=None)


def _phase(params: Json) -> Json:
    phase = copy.deepcopy(params)
    for name in NUMBERS:
        if name in phase:
            phase[name] = int(phase[name])
    return phase
