"""The mirror's rows of what Stripe has listed: each object's own row, without those of what it contains.

dj-stripe asks Stripe for every object that one refers to and writes a row for each line of an invoice. Nobody reads
those; an event of the object brings them later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models import CharField, TextField
from djstripe import models
from djstripe.models.base import StripeModel

from billing.stripe import gateway, listed
from billing.stripe.errors import PermanentError

# Kind of object to its table, and to what a row cannot be without.
MODELS: dict[str, type[StripeModel]] = {
    "charge": models.Charge,
    "coupon": models.Coupon,
    "customer": models.Customer,
    "dispute": models.Dispute,
    "invoice": models.Invoice,
    "price": models.Price,
    "product": models.Product,
    "subscription": models.Subscription,
}
LINKS = {
    "charge": ("customer",),
    "dispute": ("charge",),
    "invoice": ("customer",),
    "price": ("product",),
    "subscription": ("customer",),
}


def store(fetched: Any) -> Any:
    """Write the object's row where it differs; returns its JSON.

    A customer that it belongs to and that is not mirrored yet is taken from what was listed with it. Raises
    PermanentError where it was not, KeyError for a kind that is not in MODELS.
    """
    data = fetched if isinstance(fetched, dict) else gateway.as_json(fetched)
    kind = data["object"]
    model = MODELS[kind]
    if known(kind, [data["id"]]).get(data["id"]) == data:
        return data
    for link in LINKS.get(kind, ()):
        _require(link, data)
    values = _columns(kind, data)
    model.objects.bulk_create(
        [model(**values)],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=[*(name for name in values if name != "id"), "djstripe_updated"],
    )
    return data


def known(kind: str, ids: Iterable[str]) -> dict[str, Any]:
    """The objects of one kind that are mirrored, by id."""
    return dict(MODELS[kind].objects.filter(id__in=list(ids)).values_list("id", "stripe_data"))


def moment_of_asking() -> str:
    """What to ask of the database before Stripe, for `written_since`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        return str(cursor.fetchone()[0])


def written_since(asked: str, kind: str, ids: list[str]) -> set[str]:
    """Those of the objects that somebody mirrored after `asked`, and so perhaps from a later answer of Stripe's.

    A row's `xmin` is the number of the transaction that wrote it, without its epoch; those of long ago need none:
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT t.id
            FROM "{MODELS[kind]._meta.db_table}" AS t
            CROSS JOIN (
                SELECT asked.snapshot, pg_snapshot_xmin(asked.snapshot)::text::bigint AS oldest
                FROM (SELECT %s::pg_snapshot AS snapshot) AS asked
            ) AS a
            WHERE t.id = ANY (%s) AND age(t.xmin) <= age(a.oldest::text::xid8::xid)
                AND NOT pg_visible_in_snapshot(
                    (a.oldest + (t.xmin::text::bigint - a.oldest %% 4294967296 + 4294967296) %% 4294967296)::text::xid8,
                    a.snapshot
                )
            """,
            [asked, ids],
        )
        return {str(object_id) for (object_id,) in cursor.fetchall()}


def _require(link: str, data: Any) -> None:
    """Have a row to refer to: the constraint would speak only at the end of the transaction."""
    object_id = data.get(link)
    if object_id is None or MODELS[link].objects.filter(id=object_id).exists():
        return
    found = listed.find(link, object_id)
    if found is None:
        raise PermanentError(f"Stripe did not list the {link} of {data['object']} {data['id']}, {object_id}.")
    store(found)


def _columns(kind: str, data: Any) -> dict[str, Any]:
    """As dj-stripe reads the object, relations apart."""
    account = models.Account.objects.values_list("id", flat=True).first()
    values: dict[str, Any] = {"stripe_data": data, "djstripe_owner_account_id": account}
    for field in MODELS[kind]._meta.concrete_fields:
        if field.name.startswith("djstripe_") or field.name in ("stripe_data", "date_purged"):
            continue
        if field.is_relation:
            if field.name in LINKS.get(kind, ()):
                values[field.attname] = data.get(field.name)
            continue
        value = field.stripe_to_db(data) if hasattr(field, "stripe_to_db") else data.get(field.name)
        values[field.name] = "" if value is None and isinstance(field, CharField | TextField) else value
    return values
