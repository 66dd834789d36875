"""What is overdue, what became of what failed this month, which cards fail next: for the dashboard and the report."""

from dataclasses import dataclass

from glyphforge.money import money
from glyphforge.rows import Json
from monitoring.dashboard.figures import query


@dataclass(frozen=True)
class AtRisk:
    """The rows of `v_payments_at_risk` added up. Amounts are in words, one currency after the other."""

    invoices: int
    customers: int
    without_owner: int
    with_time: int
    due: str
    mrr: str


def at_risk() -> AtRisk:
    """Add up what is overdue; a subscription's MRR counts once, however many of its invoices are."""
    rows = query(
        "SELECT currency, count(*) AS invoices, count(DISTINCT user_id) AS customers,"
        " count(*) FILTER (WHERE owner IS NULL) AS without_owner, count(*) FILTER (WHERE is_extended) AS with_time,"
        " sum(amount_due_cents)::bigint AS due_cents, sum(mrr_cents) FILTER (WHERE is_first)::bigint AS mrr_cents"
        " FROM (SELECT v.*, row_number() OVER (PARTITION BY subscription_id ORDER BY id) = 1 AS is_first"
        " FROM v_payments_at_risk AS v) AS v GROUP BY currency ORDER BY count(*) DESC, currency"
    )
    return AtRisk(
        **{name: sum(row[name] for row in rows) for name in ("invoices", "customers", "without_owner", "with_time")},
        due=_amounts(rows, "due_cents"),
        mrr=_amounts(rows, "mrr_cents"),
    )


def recovery_lines() -> list[str]:
    """What failed this month (UTC) and what became of it, one sentence a currency."""
    rows = query(
        "SELECT currency, sum(failed)::bigint AS failed, sum(failed_cents)::bigint AS failed_cents,"
        " sum(recovered)::bigint AS recovered, sum(recovered_cents)::bigint AS recovered_cents,"
        " sum(lost)::bigint AS lost, sum(lost_cents)::bigint AS lost_cents,"
        " sum(open)::bigint AS open, sum(open_cents)::bigint AS open_cents FROM v_payment_recovery"
        " WHERE month = date_trunc('month', now() AT TIME ZONE 'UTC')::date GROUP BY currency ORDER BY 3 DESC, currency"
    )
    return [
        "Failed this month: "
        + ", ".join(
            f"{word}{row[name]:,} ({money(row[f'{name}_cents'], row['currency'], short=True)})"
            for word, name in (("", "failed"), ("recovered ", "recovered"), ("lost ", "lost"), ("open ", "open"))
        )
        for row in rows
    ]


def expiring_cards() -> int:
    """How many cards will have expired when they are charged next."""
    return int(query("SELECT count(*) AS cards FROM v_expiring_cards")[0]["cards"])


def _amounts(rows: list[Json], name: str) -> str:
    return " + ".join(money(row[name], row["currency"], short=True) for row in rows if row[name]) or money(
        0, short=True
    )
