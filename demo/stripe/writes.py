"""The changes that support makes at Stripe, as the local one makes them, with the events that follow."""

from __future__ import annotations

import copy
import time

from demo.stripe.refusals import RefusalError, missing
from demo.stripe.schedules import Schedules
from glyphforge.rows import Json

BILLED = {"items", "discounts", "trial_end"}


class Writes(Schedules):
    """The writes of an account; what Stripe would refuse raises RefusalError."""

    def update_customer(self, customer_id: str, params: Json) -> Json:
        """Change e-mail, name or metadata (merged; an empty value removes the key)."""
        customer = self._live("customer", customer_id)
        before = {key: copy.deepcopy(customer.get(key)) for key in params}
        for key in ("email", "name", "description"):
            if key in params:
                customer[key] = params[key] or None
        for key, value in (params.get("metadata") or {}).items():
            if value == "":
                customer["metadata"].pop(key, None)
            else:
                customer["metadata"][key] = value
        self.emit("customer.updated", customer, previous=before)
        return customer

    def delete_customer(self, customer_id: str) -> Json:
        """Delete a customer: its live subscriptions end first, then only a tombstone is answered."""
        customer = self._live("customer", customer_id)
        for item in list(self.objects.values()):
            of_customer = item.get("object") == "subscription" and item["customer"] == customer_id
            if of_customer and item["status"] not in ("canceled", "incomplete_expired"):
                self.cancel_subscription(item["id"])
        gone = {"id": customer_id, "object": "customer", "deleted": True}
        self.objects[customer_id] = gone
        self.emit("customer.deleted", customer)
        return gone

    def update_subscription(self, subscription_id: str, params: Json) -> Json:
        """Change what is billed, set or clear a cancellation to come or a pause of collection; not of a canceled one.

        What ends a subscription that a schedule manages is refused:
        https://docs.stripe.com/billing/subscriptions/subscription-schedules
        """
        subscription = self._live("subscription", subscription_id)
        if subscription["status"] == "canceled":
            raise RefusalError(
                400,
                f"No such subscription: '{subscription_id}' is canceled and cannot be updated.",
                code="resource_missing",
            )
        if subscription.get("schedule") and params.keys() & {"cancel_at_period_end", "cancel_at"}:
            raise RefusalError(
                400,
                f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating"
                " any cancelation behavior directly is not allowed. Please update the schedule instead.",
                param="cancel_at_period_end",
            )
        if params.keys() & BILLED:
            self.bill_change(subscription, params)
        if "pause_collection" in params:
            before = {"pause_collection": subscription.get("pause_collection")}
            pause = params["pause_collection"] or None
            if pause:
                until = pause.get("resumes_at")
                pause = {"behavior": pause["behavior"], "resumes_at": int(until) if until else None}
            subscription["pause_collection"] = pause
            self.emit("customer.subscription.updated", subscription, previous=before)
        if "cancel_at_period_end" in params:
            wanted = params["cancel_at_period_end"] in (True, "true", "True")
            before = {"cancel_at_period_end": subscription["cancel_at_period_end"]}
            ends = max(item["current_period_end"] for item in subscription["items"]["data"])
            subscription["cancel_at_period_end"] = wanted
            subscription["cancel_at"] = ends if wanted else None
            subscription["canceled_at"] = int(time.time()) if wanted else None
            self.emit("customer.subscription.updated", subscription, previous=before)
        elif params.get("cancel_at") == "":
            before = {"cancel_at": subscription["cancel_at"], "canceled_at": subscription["canceled_at"]}
            subscription.update(cancel_at=None, canceled_at=None)
            self.emit("customer.subscription.updated", subscription, previous=before)
        return subscription

    def cancel_subscription(self, subscription_id: str) -> Json:
        """End a subscription now; one that has ended is missing: https://docs.stripe.com/api/subscriptions/cancel"""
        subscription = self._live("subscription", subscription_id)
        if subscription["status"] == "canceled":
            raise missing("subscription", subscription_id)
        now = int(time.time())
        subscription.update(status="canceled", canceled_at=now, ended_at=now)
        self.emit("customer.subscription.deleted", subscription)
        return subscription

    def refund(self, params: Json) -> Json:
        """Refund a charge, or `amount` of it, up to what is left: https://docs.stripe.com/api/refunds/create"""
        charge = self._live("charge", str(params.get("charge", "")))
        left = charge["amount"] - charge["amount_refunded"]
        if left <= 0:
            raise RefusalError(
                400,
                f"Charge {charge['id']} has already been refunded.",
                code="charge_already_refunded",
                param="charge",
            )
        amount = int(params.get("amount") or left)
        if not 0 < amount <= left:
            raise RefusalError(
                400,
                f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).",
                code="amount_too_large",
                param="amount",
            )
        refund = {
            "id": self.new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": int(time.time()),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "metadata": params.get("metadata") or {},
            "payment_intent": charge["payment_intent"],
            "reason": params.get("reason"),
            "receipt_number": None,
            "status": "succeeded",
        }
        self.objects[refund["id"]] = refund
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self.emit("refund.created", refund)
        self.emit("charge.refunded", charge)
        return refund
