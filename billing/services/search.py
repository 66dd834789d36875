"""Finding a customer, or an event, by whatever support has at hand."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Left

from billing.keys import format as key_format
from billing.models import ApiKey, Payment, Subscription, User, WebhookEvent

LIMIT = 20
SHORTEST_PART = 3  # characters; fewer make no trigram
LONGEST = 200
UUID_SHAPE = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Hit:
    """A customer or an event, and by what it was found."""

    found: User | WebhookEvent
    why: str

    @property
    def user(self) -> User | None:
        """The customer; None where an event was found."""
        return self.found if isinstance(self.found, User) else None


def find(text: str, *, limit: int = LIMIT) -> list[Hit]:
    """Find at most `limit` customers or events by whatever support has at hand.

    That is an e-mail, a name, an id of ours, Stripe's or Cognito's, or the beginning of a key. An id finds exactly its
    row. Words find the address that equals them, else what begins with them, then what contains them. Reads by index
    only, however common the word is. An empty text finds nothing.
    """
    term = text.strip()[:LONGEST].replace("\0", "")
    if not term:
        return []
    with by_index_only():
        search = next((search for begins, search in BY_PREFIX.items() if term.startswith(begins)), None)
        if search is not None:
            return search(term, limit)
        if UUID_SHAPE.fullmatch(term):
            return _by_uuid(UUID(term), term)
        return _by_words(term, limit)


@contextmanager
def by_index_only() -> Iterator[None]:
    """Keep the planner from reading whole tables inside the block, which is a transaction.

    For a prefix that most rows share it would rather read the table from its start. Sets `enable_seqscan`:
    https://www.postgresql.org/docs/current/runtime-config-query.html
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        yield
        cursor.execute("SET LOCAL enable_seqscan = DEFAULT")


def _customers(users: QuerySet[User] | list[User], why: str) -> list[Hit]:
    return [Hit(user, why) for user in users]


def _owners(rows: QuerySet[Subscription] | QuerySet[Payment] | QuerySet[ApiKey], why: str, limit: int) -> list[Hit]:
    """The customers of the rows, each once."""
    owners = {row.user_id: row.user for row in rows.select_related("user")[:limit]}
    return _customers(list(owners.values()), why)


def _by_stripe_customer(term: str, limit: int) -> list[Hit]:
    return _customers(User.objects.filter(stripe_customer_id=term)[:limit], "Stripe customer")


def _by_subscription(term: str, limit: int) -> list[Hit]:
    return _owners(Subscription.objects.filter(stripe_subscription_id=term), "Stripe subscription", limit)


def _by_payment(field: str, why: str) -> Callable[[str, int], list[Hit]]:
    return lambda term, limit: _owners(Payment.objects.filter(**{field: term}), why, limit)


def _by_event(term: str, limit: int) -> list[Hit]:
    events = WebhookEvent.objects.filter(stripe_event_id=term).defer("payload")[:limit]
    return [Hit(event, "Stripe event") for event in events]


def _by_key(term: str, limit: int) -> list[Hit]:
    # Somebody may paste the whole key; only its beginning is known here.
    prefix = key_format.prefix_of(term) or term
    return _owners(ApiKey.objects.filter(key_prefix__startswith=prefix), "API key", limit)


def _by_uuid(key: UUID, term: str) -> list[Hit]:
    users = _customers(User.objects.filter(Q(pk=key) | Q(cognito_user_id=term.lower()))[:2], "customer or Cognito id")
    return (
        users
        or _owners(Subscription.objects.filter(pk=key), "subscription", 1)
        or _owners(ApiKey.objects.filter(pk=key), "API key", 1)
        or _owners(Payment.objects.filter(pk=key), "payment", 1)
    )


def _by_words(term: str, limit: int) -> list[Hit]:
    exact = User.objects.filter(Q(email__iexact=term) | Q(cognito_user_id=term))
    found = list(exact[:limit])
    if found:
        return _customers(found, "e-mail")
    # As the index has it: of a name, which may be longer than an index row, the beginning.
    begins = User.objects.alias(beginning=Left("name", LONGEST)).filter(
        Q(email__istartswith=term) | Q(beginning__istartswith=term)
    )
    hits = _customers(begins[:limit], "begins with it")
    if len(hits) < limit and len(term) >= SHORTEST_PART:
        known = {hit.user.pk for hit in hits if hit.user}
        contains = User.objects.filter(Q(email__icontains=term) | Q(name__icontains=term))
        # So many that those known already cannot push the others out.
        more = [user for user in contains[: limit + len(known)] if user.pk not in known]
        hits += _customers(more[: limit - len(hits)], "contains it")
    return hits


BY_PREFIX: dict[str, Callable[[str, int], list[Hit]]] = {
    "cus_": _by_stripe_customer,
    "sub_": _by_subscription,
    "in_": _by_payment("stripe_invoice_id", "Stripe invoice"),
    "ch_": _by_payment("stripe_charge_id", "Stripe charge"),
    "py_": _by_payment("stripe_charge_id", "Stripe charge"),
    "pi_": _by_payment("stripe_payment_intent_id", "Stripe payment intent"),
    "evt_": _by_event,
    key_format.BEGINS: _by_key,
}
