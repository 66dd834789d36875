"""Finding a customer, or an event, by whatever support has at hand."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from billing.keys import format as key_format
from billing.models import (
    ApiKey,
    Payment,
    PaymentMovement,
    StripeCustomer,
    Subscription,
    UnmatchedCustomer,
    User,
    WebhookEvent,
)
from billing.services import search_filters, search_words
from billing.stripe import lookup

LIMIT = 20
SHORTEST_CUT = 8  # characters of an id of which the rest is missing
LONGEST = 200
# The row that a customer has now.
LIVE = {"status__in": Subscription.LIVE, "is_duplicate": False}
UUID_SHAPE = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
UUID_BEGINNING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{0,4}){0,3}(-[0-9a-f]{0,11})?", re.IGNORECASE)
STRIPE_ID = re.compile(r"[a-z]{2,12}_\w+", re.ASCII)
DASHBOARD = re.compile(r"https?://dashboard\.stripe\.com/(?P<path>[^?#\s]*)\S*", re.IGNORECASE)
LAST4 = re.compile(r"[\s*•.x]*(?P<digits>[0-9]{4})", re.IGNORECASE)
# As invoices (A1B2C3D4-0007) and receipts (1234-5678) have it.
NUMBER = re.compile(r"(?=[A-Za-z-]*[0-9])([A-Za-z0-9]+-[A-Za-z0-9-]*|[A-Z0-9]{8,})")


@dataclass(frozen=True)
class Hit:
    """A customer, an event or a customer at Stripe who is nobody's, by what it was found, and a customer's live row."""

    found: User | WebhookEvent | UnmatchedCustomer
    why: str
    subscription: Subscription | None = None

    @property
    def user(self) -> User | None:
        """The customer; None where something else was found."""
        return self.found if isinstance(self.found, User) else None


def find(text: str, *, limit: int = LIMIT) -> list[Hit]:
    """Find at most `limit` customers or events by whatever support has at hand.

    That is an e-mail, a name, an id of ours, Stripe's or Cognito's, an address of Stripe's dashboard, the number of an
    invoice or a receipt, the last four digits of a card, or the beginning of a key; or several ids. An id finds exactly
    its row, also when it was cut to 8 characters or more. Words find the address that equals them, else what begins
    with them, then what contains all of them, else what is nearly written so. With filters as `is:past_due` words are
    contained. Of what is found by the same, who pays most comes first. Reads by index only, however common the word is.
    An empty text finds nothing. Raises Refused for a value that a filter does not take.
    """
    term = cleaned(text)
    if not term:
        return []
    with by_index_only():
        return _with_subscriptions(_find(term, limit))


def _find(term: str, limit: int) -> list[Hit]:
    ids = stripe_ids(term)
    if len(ids) > 1:
        hits = [hit for each in ids for hit in _by_id(each, limit)]
        return list({hit.found.pk: hit for hit in hits}.values())[:limit]
    if term.partition("_")[0] in KINDS:
        return _by_id(term, limit)
    asked = search_filters.read(term)
    if asked.condition is not None:
        return _by_filters(asked.words, asked.condition, limit)
    return (_by_id(term, limit) if ids else []) or _by_anything_else(term, limit)


def _with_subscriptions(hits: list[Hit]) -> list[Hit]:
    """With what each customer has; of those found by the same, who pays most first."""
    live = Subscription.objects.filter(user__in=[hit.user for hit in hits if hit.user], **LIVE)
    by_user = {row.user_id: row for row in live}
    reasons = list(dict.fromkeys(hit.why for hit in hits))
    full = [replace(hit, subscription=by_user.get(hit.user.pk) if hit.user else None) for hit in hits]
    return sorted(
        full, key=lambda hit: (reasons.index(hit.why), -(hit.subscription.price_cents if hit.subscription else 0))
    )


def cleaned(text: str) -> str:
    """What was typed without what surrounds it: of an address of Stripe's dashboard the last id in it."""
    term = text.strip()
    address = DASHBOARD.fullmatch(term)
    if address:
        named = [part for part in address["path"].split("/") if STRIPE_ID.fullmatch(part)]
        term = named[-1] if named else ""
    return term[:LONGEST].replace("\0", "")


def stripe_ids(term: str) -> list[str]:
    """The ids of Stripe's that the term consists of; none where anything else is in it."""
    parts = re.split(r"[\s,;]+", term)
    return parts if all(STRIPE_ID.fullmatch(part) for part in parts) else []


def starting(field: str, term: str) -> Q:
    """A condition on an id: `term` itself, or what begins with it where it is long enough to be a cut one."""
    return Q(**{f"{field}__startswith" if len(term) >= SHORTEST_CUT else field: term})


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


def customer_ids(term: str, limit: int = LIMIT) -> list[str]:
    """The Stripe customers of this id, whole or cut; the id itself where none is here."""
    known = StripeCustomer.objects.filter(starting("pk", term)).order_by("pk")
    return list(known.values_list("pk", flat=True)[:limit]) or [term]


def _by_id(term: str, limit: int) -> list[Hit]:
    search = next((search for begins, search in BY_PREFIX.items() if term.startswith(begins)), None)
    return (search(term, limit) if search else []) or _by_mirror(term, limit) or _by_payload(term, limit)


def _by_anything_else(term: str, limit: int) -> list[Hit]:
    if UUID_SHAPE.fullmatch(term):
        return _by_uuid(UUID(term), term)
    found: list[Hit] = []
    if UUID_BEGINNING.fullmatch(term):
        found = _by_uuid_beginning(term, limit)
    if NUMBER.fullmatch(term):
        found = found or _of_customers(
            lookup.by_number(term, limit, is_cut=len(term) >= SHORTEST_CUT), "number of an invoice or receipt", limit
        )
    if match := LAST4.fullmatch(term):
        found = found or _of_customers(lookup.by_last4(match["digits"], limit), "last four digits", limit)
    return found or _by_words(term, limit)


def _customers(users: Iterable[User], why: str) -> list[Hit]:
    return [Hit(user, why) for user in users]


def _owners(rows: QuerySet[Subscription] | QuerySet[Payment] | QuerySet[ApiKey], why: str, limit: int) -> list[Hit]:
    """The customers of the rows, each once."""
    owners = {row.user_id: row.user for row in rows.select_related("user")[:limit]}
    return _customers(list(owners.values()), why)


def _of_customers(customer_ids: list[str], why: str, limit: int) -> list[Hit]:
    """Whose the customers at Stripe are, each once; a customer at Stripe who is nobody's is found itself."""
    links = StripeCustomer.objects.filter(pk__in=customer_ids).select_related("user")
    owners = {link.user_id: link.user for link in links[:limit]}
    unmatched = UnmatchedCustomer.objects.filter(pk__in=customer_ids)
    return [*_customers(owners.values(), why), *(Hit(row, why) for row in unmatched[:limit])][:limit]


def _by_stripe_customer(term: str, limit: int) -> list[Hit]:
    unmatched = UnmatchedCustomer.objects.filter(starting("pk", term)).order_by("pk")
    return _of_customers(
        [*customer_ids(term, limit), *unmatched.values_list("pk", flat=True)[:limit]], "Stripe customer", limit
    )


def _by_subscription(field: str, why: str) -> Callable[[str, int], list[Hit]]:
    return lambda term, limit: _owners(Subscription.objects.filter(starting(field, term)), why, limit)


def _by_payment(field: str, why: str) -> Callable[[str, int], list[Hit]]:
    return lambda term, limit: _owners(Payment.objects.filter(starting(field, term)), why, limit)


def _by_movement(term: str, limit: int) -> list[Hit]:
    moved = PaymentMovement.objects.filter(starting("stripe_object_id", term))
    return _owners(Payment.objects.filter(pk__in=moved.values("payment_id")), "refund or dispute", limit)


def _by_mirror(term: str, limit: int) -> list[Hit]:
    found = lookup.by_id(term, limit) if len(term) >= SHORTEST_CUT else []
    return _of_customers(found, "Stripe object", limit)


def _by_payload(term: str, limit: int) -> list[Hit]:
    """By what an event was about, where no table has it: a refund, for one."""
    about = WebhookEvent.objects.filter(payload__contains={"data": {"object": {"id": term}}})
    objects = [event.payload["data"]["object"] for event in about[:limit]]
    named = {str(item.get(name)) for item in objects for name in ("customer", "charge") if item.get(name)}
    of_customers = _of_customers(sorted(named), "Stripe event about it", limit)
    return of_customers or _owners(Payment.objects.filter(stripe_charge_id__in=named), "Stripe event about it", limit)


def _by_event(term: str, limit: int) -> list[Hit]:
    events = WebhookEvent.objects.filter(starting("stripe_event_id", term)).defer("payload")[:limit]
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


def _by_uuid_beginning(term: str, limit: int) -> list[Hit]:
    digits = term.replace("-", "")
    between = (UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f")))
    return _customers(User.objects.filter(pk__range=between)[:limit], "customer id")


def _by_words(term: str, limit: int) -> list[Hit]:
    if found := list(search_words.equal(term)[:limit]):
        return _customers(found, "e-mail")
    hits = _customers(search_words.beginning_with(term)[:limit], "begins with it")
    if len(hits) < limit:
        known = {hit.user.pk for hit in hits if hit.user}
        # So many that those known already cannot push the others out.
        contains = search_words.containing(term)[: limit + len(known)]
        more = [user for user in contains if user.pk not in known]
        hits += _customers(more[: limit - len(hits)], "contains it")
    return hits or _customers(search_words.similar(term, limit), "written nearly so")


def _by_filters(words: str, condition: Q, limit: int) -> list[Hit]:
    rows = Subscription.objects.filter(condition, **LIVE).exclude(user__status=User.Status.DELETED)
    if words:
        rows = rows.filter(user__in=search_words.containing(words))
    best = rows.select_related("user").order_by("-price_cents", "pk")[:limit]
    return _customers([row.user for row in best], "filter")


BY_PREFIX: dict[str, Callable[[str, int], list[Hit]]] = {
    "cus_": _by_stripe_customer,
    "sub_": _by_subscription("stripe_subscription_id", "Stripe subscription"),
    "price_": _by_subscription("stripe_price_id", "Stripe price"),
    "in_": _by_payment("stripe_invoice_id", "Stripe invoice"),
    "ch_": _by_payment("stripe_charge_id", "Stripe charge"),
    "py_": _by_payment("stripe_charge_id", "Stripe charge"),
    "pi_": _by_payment("stripe_payment_intent_id", "Stripe payment intent"),
    "re_": _by_movement,
    "pyr_": _by_movement,
    "du_": _by_movement,
    "dp_": _by_movement,
    "evt_": _by_event,
    key_format.BEGINS: _by_key,
}
# What a name of nobody begins with.
KINDS = {begins.partition("_")[0] for begins in BY_PREFIX} | lookup.KINDS
