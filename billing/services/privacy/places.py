"""Where a person stands: the tables, what finds the person's rows there, and what becomes of them.

A preview counts what an erasure changes, by the same conditions. Parameters of all statements are `user` (the
customer's id), `customers` (their ids at Stripe), `pattern` (`personal_pattern()`) and `terms` (`personal_terms()`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

ERASED = "[erased]"

# Not searched for the person's name: who works here signs in with an address of their own, whatever it is; what
# configures the house is nobody's; the logs and the requests are erased by functions of their own.
STAFF = ("auth_", "account_", "mfa_", "socialaccount_", "django_session", "django_admin_log")
CONFIGURATION = (
    *("plans", "plan_prices", "stripe_catalogue", "entitled_statuses", "quota_rule", "health_checks", "job_schedules"),
    *("installation", "django_migrations", "django_content_type", "django_q_schedule", "django_q_ormq"),
    *("djstripe_account", "djstripe_accountv2", "djstripe_apikey", "djstripe_coupon", "djstripe_price"),
    *("djstripe_product", "djstripe_promotioncode", "djstripe_taxrate", "djstripe_webhookendpoint", "backup_runs"),
    *("stripe_tombstones", "worker_heartbeats"),
)
APART = ("users", "api_usage", "api_usage_deltas", "usage_corrections", "audit_log", "audit_seals", "read_log")
# Where personal_terms() looks: searched last, so that nothing is forgotten before it was found elsewhere.
SOURCES = ("stripe_webhook_events", "djstripe_")

_COLUMNS = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum), array_agg(t.typname::text ORDER BY a.attnum),
        array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND t.typname IN ('text', 'varchar', 'jsonb', '_text', '_varchar')
        AND has_table_privilege(c.oid, 'UPDATE')
    GROUP BY c.relname ORDER BY c.relname
"""
_SEARCHED = {"text": "{0}", "varchar": "{0}", "jsonb": "{0}::text"}
_REPLACED = {
    "text": "erased_text({0}, %(pattern)s)",
    # Cut to the length of the column.
    "varchar": "erased_text({0}, %(pattern)s)::{1}",
    "jsonb": "erased_json({0}, %(pattern)s)",
}
_LIST_SEARCHED = "array_to_string({0}, chr(10))"
_LIST_REPLACED = (
    "CASE WHEN {0} IS NOT NULL THEN"
    " ARRAY(SELECT erased_text(e.v, %(pattern)s) FROM unnest({0}) WITH ORDINALITY AS e (v, n) ORDER BY e.n) END"
)


@dataclass(frozen=True)
class Place:
    """Rows of a table: `where` finds those that say something of the person, `change` is the rest of an UPDATE.

    Without a `change` the rows go.
    """

    table: str
    where: str
    change: str | None

    @property
    def counting(self) -> str:
        """The statement that counts the rows."""
        return f'SELECT count(*) FROM "{self.table}" AS t WHERE {self.where}'

    @property
    def erasing(self) -> str:
        """The statement that changes or removes them."""
        if self.change is None:
            return f'DELETE FROM "{self.table}" AS t WHERE {self.where}'
        return f'UPDATE "{self.table}" AS t SET {self.change} WHERE {self.where}'


# Not every table has it.
_METADATA = "coalesce(to_jsonb(t) -> 'metadata', 'null')"


def _mirrored(table: str, owner: str) -> Place:
    # The trigger erases what is written: see erase_arriving().
    return Place(
        table,
        f"{owner} AND (t.stripe_data IS DISTINCT FROM erased_stripe(t.stripe_data) OR {_METADATA} <>"
        f" coalesce(erased_stripe({_METADATA}, 'metadata'), 'null'))",
        "stripe_data = t.stripe_data",
    )


_OF_CUSTOMER = "t.customer_id = ANY (%(customers)s)"
_OF_CHARGE = "t.charge_id IN (SELECT c.id FROM djstripe_charge AS c WHERE c.customer_id = ANY (%(customers)s))"
_BY_STRIPE_DATA = "t.stripe_data ->> 'customer' = ANY (%(customers)s)"

# The person's own rows, whatever they say.
OWN = (
    Place("users", "t.id = %(user)s AND t.erased_at IS NULL", "erased_at = now(), legal_hold = NULL"),
    Place(
        "api_keys",
        "t.user_id = %(user)s AND (t.name <> '' OR t.revoked_at IS NULL)",
        "name = '', revoked_at = coalesce(t.revoked_at, now()),"
        " revoked_reason = CASE WHEN t.revoked_at IS NULL THEN 'The customer was erased.' ELSE t.revoked_reason END",
    ),
    Place("customer_notes", f"t.user_id = %(user)s AND t.body <> '{ERASED}'", f"body = '{ERASED}'"),
    Place(
        "payment_history",
        "t.user_id = %(user)s AND (t.invoice_url IS NOT NULL OR t.receipt_url IS NOT NULL)",
        "invoice_url = NULL, receipt_url = NULL",
    ),
    Place("open_invoices", "t.user_id = %(user)s AND t.hosted_invoice_url IS NOT NULL", "hosted_invoice_url = NULL"),
    Place("stripe_requests", "t.user_id = %(user)s AND t.parameters ? 'email'", "parameters = t.parameters - 'email'"),
    Place(
        "reconciliation_differences",
        "t.user_id = %(user)s AND t.field IN ('email', 'name') AND num_nonnulls(t.local_value, t.stripe_value) > 0",
        "local_value = NULL, stripe_value = NULL",
    ),
    Place(
        "stripe_webhook_events",
        "t.id IN (SELECT e.id FROM events_of_customer(%(user)s) AS e)"
        " AND t.payload IS DISTINCT FROM erased_stripe(t.payload)",
        "payload = erased_stripe(t.payload)",
    ),
    _mirrored("djstripe_customer", "t.id = ANY (%(customers)s)"),
    *(
        _mirrored(f"djstripe_{table}", _OF_CUSTOMER)
        for table in (
            *("charge", "invoice", "invoiceitem", "paymentintent", "paymentmethod", "session", "setupintent"),
            *("source", "subscription", "taxid"),
        )
    ),
    _mirrored("djstripe_dispute", _OF_CHARGE),
    _mirrored("djstripe_refund", _OF_CHARGE),
    _mirrored("djstripe_card", _BY_STRIPE_DATA),
    _mirrored("djstripe_bankaccount", _BY_STRIPE_DATA),
)
# Counts of failures, by address or by name: they go, as an address that is erased could not be told from another.
_STAFF_NAME = (
    "t.username ~* %(pattern)s AND NOT EXISTS (SELECT FROM auth_user AS s"
    " WHERE lower(t.username) IN (lower(s.username), lower(s.email)))"
)
ATTEMPTS = (
    Place("authentication_failures", "t.source = ANY (%(terms)s) OR t.last_subject ~* %(pattern)s", None),
    Place(
        "axes_accessattemptexpiration",
        f"t.access_attempt_id IN (SELECT t.id FROM axes_accessattempt AS t WHERE {_STAFF_NAME})",
        None,
    ),
    *(Place(f"axes_{log}", _STAFF_NAME, None) for log in ("accessattempt", "accessfailurelog", "accesslog")),
)


# Of Stripe's objects those of another customer say what that one is called, be it the same.
_NOT_OF_ANOTHER = (
    "NOT EXISTS (SELECT FROM stripe_customers AS o WHERE o.user_id <> %(user)s AND o.stripe_customer_id IN ("
    "to_jsonb(t) ->> 'id', to_jsonb(t) ->> 'customer_id',"
    " to_jsonb(t) #>> '{payload,data,object,id}', to_jsonb(t) #>> '{payload,data,object,customer}'))"
)


def mentions(*, in_sources: bool) -> Iterator[Place]:
    """Every other place of any table that names the person: `in_sources` those of Stripe's objects, else the others."""
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS)
        tables = cursor.fetchall()
    left_out = {*CONFIGURATION, *APART, *(place.table for place in ATTEMPTS)}
    for table, names, types, declared in tables:
        if table in left_out or table.startswith(STAFF) or table.startswith(SOURCES) != in_sources:
            continue
        columns: list[tuple[str, str, str]] = []
        for name, kind, type_name in zip(names, types, declared, strict=True):
            quoted = f't."{name}"'
            searched, replaced = (
                (_LIST_SEARCHED, _LIST_REPLACED) if kind.startswith("_") else (_SEARCHED[kind], _REPLACED[kind])
            )
            columns.append((name, searched.format(quoted), replaced.format(quoted, type_name)))
        named = " OR ".join(f"{searched} ~* %(pattern)s" for _, searched, _ in columns)
        yield Place(
            table,
            f"({named}) AND {_NOT_OF_ANOTHER}" if in_sources else named,
            ", ".join(f'"{name}" = {replaced}' for name, _, replaced in columns),
        )


def parameters(user_id: Any) -> dict[str, Any]:
    """The parameters of all statements about a customer, as things stand."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.terms, personal_pattern(t.terms),"
            " ARRAY(SELECT c.stripe_customer_id FROM stripe_customers AS c WHERE c.user_id = %(user)s)"
            " FROM (SELECT personal_terms(%(user)s) AS terms) AS t",
            {"user": user_id},
        )
        terms, pattern, customers = cursor.fetchone()
    return {"user": user_id, "terms": terms, "pattern": pattern, "customers": customers}
