"""One customer's objects of a page, brought into our tables in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from billing.models import Payment, StripeCustomer, Subscription
from billing.stripe import charge_history, gateway, listed, listed_rows, mirror, tombstones
from billing.stripe.backfill import past_of_customer
from billing.stripe.backfill.lists import Listed
from billing.stripe.errors import ForeignError, MissingError, PermanentError, UnlinkedCustomerError
from billing.stripe.events.event_object import identifier
from billing.stripe.events.handlers import handle_customer, project_charge, project_invoice, project_subscription
from billing.stripe.objects import Charge
from billing.stripe.projection import rows, subscriptions, users
from billing.stripe.reconciliation import repair
from billing.stripe.unstorable import explained
from glyphforge.rows import Json

# Where the objects are rows of ours; the others are mirrored only.
TABLES: dict[str, tuple[Any, str]] = {
    "customer": (StripeCustomer, "stripe_customer_id"),
    "subscription": (Subscription, "stripe_subscription_id"),
    "charge": (Payment, "stripe_charge_id"),
}


@dataclass
class Outcome:
    """What came of some objects: how many were new, how many differed and in what, and what was left out, and why."""

    added: int = 0
    changed: int = 0
    changes: list[str] = field(default_factory=list)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)


def take_over(kind: str, objects: list[Listed], asked: str) -> Outcome:
    """Mirror and project objects of one kind and customer, each by itself; the caller holds the customer's lock.

    `asked` is the moment of asking for the list (`listed_rows.moment_of_asking`): what somebody has written since is
    fetched anew. Raises TransientError.
    """
    outcome = Outcome()
    ids = [each.item["id"] for each in objects]
    before = listed_rows.known(kind, ids)
    here = _here(kind, ids) if kind in TABLES else set(before)
    newer = listed_rows.written_since(asked, kind, ids)
    for each in objects:
        stripe_id = each.item["id"]
        try:
            with explained(f"{kind} {stripe_id}"), rows.noted() as changes:
                item = gateway.as_json(gateway.retrieve(kind, stripe_id)) if stripe_id in newer else each.item
                with listed.answering(each.beside):
                    _delete_with(each)
                    PROJECT[kind](item)
        except (MissingError, ForeignError):
            continue  # gone since it was listed, or none of ours
        except UnlinkedCustomerError as error:
            repair.remember_unmatched(error)
            outcome.problems["customer", error.stripe_customer_id] = str(error)
        except PermanentError as error:
            outcome.problems[kind, stripe_id] = str(error)
        else:
            is_changed = changes if kind in TABLES else before.get(stripe_id) != item
            outcome.added += stripe_id not in here
            outcome.changed += bool(stripe_id in here and is_changed)
            outcome.changes += [_said(kind, stripe_id, change) for change in changes if stripe_id in here]
    if kind == "subscription":
        of_these = Subscription.objects.filter(stripe_subscription_id__in=ids, price_cents__gt=0)
        for user_id in of_these.values_list("user_id", flat=True).distinct():
            past_of_customer.send(sender=None, user_id=user_id)
    return outcome


def _here(kind: str, ids: list[str]) -> set[str]:
    model, name = TABLES[kind]
    return set(model.objects.filter(**{f"{name}__in": ids}).values_list(name, flat=True))


def _said(kind: str, stripe_id: str, change: rows.Change) -> str:
    return f"{kind} {stripe_id} {change.name}: {change.old} → {change.new}"


def _delete_with(each: Listed) -> None:
    """No list has a deleted customer, but what belonged to it says so."""
    for (kind, object_id), found in each.beside.items():
        if kind == "customer" and found.get("deleted") and not tombstones.has_tombstone(object_id):
            handle_customer(object_id, deleted=True)


def _customer(item: Json) -> None:
    subscriptions.ensure_free(users.project(mirror.store(item)))


def _charge(item: Any) -> None:
    """Nobody is asked for its disputes, as they come from a list of their own."""
    history = charge_history.complete({**item, "disputed": False})
    charge: Charge = {**history.charge, "disputed": item.get("disputed", False)}
    project_charge(replace(history, charge=charge, disputes=mirror.charge_disputes(item["id"])))


def _dispute(item: Json) -> None:
    """A dispute changes what became of the charge's money."""
    mirror.store(item)
    charge = mirror.charge(identifier(item.get("charge")) or "")
    if charge:
        _charge(charge)


def _mirrored(item: Json) -> None:
    mirror.store(item)


PROJECT: dict[str, Callable[[Any], None]] = {
    "product": _mirrored,
    "price": _mirrored,
    "coupon": _mirrored,
    "customer": _customer,
    "subscription": project_subscription,
    "invoice": lambda item: project_invoice(mirror.store(item)),
    "charge": _charge,
    "dispute": _dispute,
}
