"""Invoices of the local Stripe: previewed, made, paid, given up, and what is credited to a customer."""

from __future__ import annotations

import copy
import time
from abc import abstractmethod

from demo.stripe import changes, invoicing
from demo.stripe.account import Account
from demo.stripe.changes import Change
from demo.stripe.refusals import RefusalError
from glyphforge.rows import Json

# What an invoice may be asked to become, from which statuses: https://docs.stripe.com/invoicing/overview#invoice-statuses
SETTLED = {
    "void": ("void", ("open", "uncollectible"), "invoice.voided"),
    "mark_uncollectible": ("uncollectible", ("open",), "invoice.marked_uncollectible"),
    "pay": ("paid", ("open", "uncollectible"), "invoice.paid"),
}


class Billing(Account):
    """What is charged. A customer whose id is in `declining` has a card that is declined."""

    declining: set[str]

    def preview(self, params: Json) -> Json:
        """The invoice that a change of a subscription would make, or its next one; nothing is changed.

        https://docs.stripe.com/api/invoices/create_preview
        """
        subscription = self._live("subscription", str(params.get("subscription", "")))
        details = params.get("subscription_details") or {}
        if "discounts" in params:
            details = details | {"discounts": params["discounts"]}
        change = changes.reckon(self.objects, subscription, details, now=int(time.time()))
        mode = params.get("preview_mode", "next")
        if mode == "next" and change.invoice:
            return change.invoice | {"billing_reason": "upcoming"}
        return changes.upcoming(self.objects, change, mode=mode)

    def bill_change(self, subscription: Json, params: Json) -> None:
        """Change a subscription's items, discounts or trial, and charge what has to be paid for it now.

        With the payment behavior `error_if_incomplete` nothing is changed when that cannot be paid.
        """
        now = int(time.time())
        change = changes.reckon(self.objects, subscription, params, now=now)
        declined = change.invoice and change.invoice["amount_due"] and subscription["customer"] in self.declining
        if declined and params.get("payment_behavior") == "error_if_incomplete":
            raise RefusalError(402, "Your card was declined.", code="card_declined", param="")
        before = {name: copy.deepcopy(subscription[name]) for name in ("items", "discounts", "trial_end")}
        subscription.update(change.subscription)
        self._bill(subscription, change, at=now)
        previous = {name: value for name, value in before.items() if value != subscription[name]}
        self.emit("customer.subscription.updated", subscription, previous=previous)

    def renew(self, subscription_id: str) -> Json:
        """Let the subscription's period end: the next begins, as a schedule says, and its invoice is paid."""
        subscription = self._live("subscription", subscription_id)
        begins = subscription["items"]["data"][0]["current_period_end"]
        self._enter_phase(subscription, begins)
        invoice = changes.upcoming(self.objects, Change(copy.deepcopy(subscription)))
        first = subscription["items"]["data"][0]["price"]
        ends = invoicing.end_of_period(begins, first, subscription["billing_cycle_anchor"])
        for item in subscription["items"]["data"]:
            item.update(current_period_start=begins, current_period_end=ends)
        change = Change(subscription, invoice=invoice | {"billing_reason": "subscription_cycle"})
        self._bill(subscription, change, at=begins)
        self.emit("customer.subscription.updated", subscription)
        return self.objects[subscription["latest_invoice"]]

    @abstractmethod
    def _enter_phase(self, subscription: Json, at: int) -> None:
        """Change the subscription as a schedule says for the period that begins then."""

    def settle_invoice(self, invoice_id: str, how: str, params: Json) -> Json:
        """Void an invoice, give it up, charge it, or mark it as paid outside of Stripe; `how` is a key of SETTLED.

        One that cannot be charged is refused with what the bank said, as at https://docs.stripe.com/api/invoices/pay
        """
        invoice = self._live("invoice", invoice_id)
        status, allowed, event = SETTLED[how]
        if invoice["status"] not in allowed:
            raise RefusalError(400, f"This invoice is {invoice['status']} and cannot be {status}.", param="invoice")
        if status == "paid" and params.get("paid_out_of_band") not in (True, "true", "True"):
            return self._charge_now(invoice)
        invoice["status"] = status
        if status == "paid":
            invoice.update(paid_out_of_band=True, amount_paid=invoice["amount_due"], amount_remaining=0)
            invoice["status_transitions"] = invoice["status_transitions"] | {"paid_at": int(time.time())}
        self.emit(event, invoice)
        return invoice

    def _charge_now(self, invoice: Json) -> Json:
        """Charge what is left of an invoice, whose next try stays where it was if the card is declined."""
        declined = invoice["customer"] in self.declining
        now = int(time.time())
        charge = self._charge_of(invoice, invoice["amount_remaining"], declined=declined, at=now)
        paid_by = {"type": "charge", "charge": charge["id"], "payment_intent": None}
        tried: Json = invoice.setdefault("payments", {"object": "list", "has_more": False, "data": []})
        tried["data"].append({"object": "invoice_payment", "payment": paid_by})
        invoice["attempt_count"] += 1
        self.emit("charge.failed" if declined else "charge.succeeded", charge)
        if declined:
            self.emit("invoice.payment_failed", invoice)
            raise RefusalError(402, "Your card was declined.", code="card_declined", param="")
        invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, next_payment_attempt=None)
        invoice["status_transitions"] = invoice["status_transitions"] | {"paid_at": now}
        self.emit("invoice.paid", invoice)
        details = (invoice["parent"] or {}).get("subscription_details") or {}
        subscription = self.objects.get(details.get("subscription") or "")
        if subscription and subscription["status"] in ("past_due", "unpaid"):
            subscription["status"] = "active"
            self.emit("customer.subscription.updated", subscription)
        return invoice

    def credit(self, customer_id: str, params: Json) -> Json:
        """Change what a customer has to their credit: https://docs.stripe.com/api/customer_balance_transactions/create"""
        customer = self._live("customer", customer_id)
        customer["balance"] = int(customer.get("balance") or 0) + int(params["amount"])
        made = {
            "id": self.new_id("cbtxn"),
            "object": "customer_balance_transaction",
            "amount": int(params["amount"]),
            "created": int(time.time()),
            "currency": params["currency"],
            "customer": customer_id,
            "ending_balance": customer["balance"],
            "metadata": params.get("metadata") or {},
            "type": "adjustment",
        }
        self.objects[made["id"]] = made
        self.emit("customer.updated", customer, previous={"balance": customer["balance"] - made["amount"]})
        return made

    def _bill(self, subscription: Json, change: Change, *, at: int) -> None:
        """Store what waits for the next invoice, and make and pay the one that does not wait."""
        for line in change.pending:
            item = changes.invoice_item(line, subscription["customer"], self.new_id("ii"), at=at)
            self.objects[item["id"]] = item
            self.emit("invoiceitem.created", item)
        if change.invoice is None:
            return
        invoice = change.invoice | {"id": self.new_id("in"), "number": self.new_id("N").upper()}
        invoice["hosted_invoice_url"] = f"https://invoice.stripe.com/i/{invoice['id']}"
        for item in changes.waiting_items(self.objects, subscription["id"]):
            item["invoice"] = invoice["id"]
        self.objects[invoice["id"]] = invoice
        self.objects[subscription["customer"]]["balance"] = invoice["ending_balance"]
        subscription["latest_invoice"] = invoice["id"]
        subscription["discounts"] = invoicing.recurring(subscription["discounts"])
        declined = bool(invoice["amount_due"]) and subscription["customer"] in self.declining
        self._pay(invoice, declined=declined, at=at)
        if declined:
            subscription["status"] = "past_due"

    def _pay(self, invoice: Json, *, declined: bool, at: int) -> None:
        invoice.update(status="open" if declined else "paid", attempted=True, attempt_count=1)
        invoice["status_transitions"] = {"finalized_at": at, "paid_at": None if declined else at}
        invoice["payments"] = {"object": "list", "has_more": False, "data": []}
        self.emit("invoice.created", invoice)
        if invoice["amount_due"]:
            charge = self._charge_of(invoice, invoice["amount_due"], declined=declined, at=at)
            paid_by = {"type": "charge", "charge": charge["id"], "payment_intent": None}
            invoice["payments"]["data"].append({"object": "invoice_payment", "payment": paid_by})
            self.emit("charge.failed" if declined else "charge.succeeded", charge)
        if not declined:
            invoice.update(amount_paid=invoice["amount_due"], amount_remaining=0)
        self.emit("invoice.payment_failed" if declined else "invoice.paid", invoice)

    def _charge_of(self, invoice: Json, amount: int, *, declined: bool, at: int) -> Json:
        charge = {
            "id": self.new_id("ch"),
            "object": "charge",
            "amount": amount,
            "amount_captured": 0 if declined else amount,
            "amount_refunded": 0,
            "balance_transaction": None,
            "captured": not declined,
            "created": at,
            "currency": invoice["currency"],
            "customer": invoice["customer"],
            "description": "Subscription update",
            "disputed": False,
            "failure_code": "card_declined" if declined else None,
            "failure_message": "Your card was declined." if declined else None,
            "livemode": False,
            "metadata": {},
            "outcome": {"type": "issuer_declined", "reason": "generic_decline"} if declined else None,
            "paid": not declined,
            "payment_intent": None,
            "payment_method": None,
            "receipt_url": None,
            "refunded": False,
            "status": "failed" if declined else "succeeded",
        }
        self.objects[charge["id"]] = charge
        return charge
