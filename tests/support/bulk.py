"""Rows by the thousand, each kind in one statement. Single rows are in `factories`.

`customers` and what `of_each_customer` adds are counted through, so that a test knows what is where; their `session` is
a cursor of Django's or a connection of psycopg's. The statements under *A company* are life-like: benchmarks run them.
"""

from typing import Any

CUSTOMERS = 7_500  # enough for PostgreSQL to plan as it does in production
RARE = 500  # one in so many is suspended, and all of theirs fails


# A table's columns, made of a customer's `user_id`, number `n`, whether `rare`, and `at`, the moment of joining.
OF_A_CUSTOMER = {
    "payment_history": {
        "user_id": "user_id",
        "amount_cents": "100",
        "stripe_invoice_id": "'in_cus_' || n",
        "stripe_charge_id": "'ch_cus_' || n",
        "status": "CASE WHEN rare THEN 'failed' ELSE 'succeeded' END",
        "created_at": "at",
    },
    "api_keys": {"user_id": "user_id", "key_prefix": "'glyph_sk_live_' || n", "key_hash": "'x'", "created_at": "at"},
    "stripe_webhook_events": {
        "stripe_event_id": "'evt_cus_' || n",
        "event_type": "'invoice.paid'",
        "payload": """jsonb_build_object('data', jsonb_build_object('object',
            jsonb_build_object('customer', 'cus_' || n)))""",
        "status": "CASE WHEN rare THEN 'failed' ELSE 'processed' END",
        "received_at": "at",
    },
    "api_usage": {
        "user_id": "user_id",
        "endpoint": "'/v1/glyphs'",
        "method": "'GET'",
        "status_code": "200",
        "response_time_ms": "9",
        "created_at": "now() - n * interval '1 second'",
    },
    "audit_log": {
        "occurred_at": "now() + n * interval '1 second'",
        "actor": "'somebody' || n % 50",
        "action": "'update'",
        "table_name": "'users'",
        "row_id": "user_id",
    },
    "job_runs": {
        "job": "CASE WHEN rare THEN 'weekly' ELSE 'rollup' END",
        "status": "CASE WHEN rare THEN 'failed' ELSE 'succeeded' END",
        "scheduled_for": "at",
        "started_at": "at",
    },
    "alerts": {
        "fingerprint": "'check' || n",
        "alert_type": "CASE WHEN rare THEN 'drift' ELSE 'error_rate' END",
        "subject": "'customer' || n || '@example.com'",
        "severity": "CASE WHEN rare THEN 'critical' ELSE 'warning' END",
        "state": "CASE WHEN rare THEN 'firing' ELSE 'resolved' END",
        "fired_at": "at",
        "resolved_at": "CASE WHEN NOT rare THEN at END",
    },
    "notifications": {
        "alert_id": "(SELECT id FROM alerts WHERE fingerprint = 'check' || n)",
        "channel": "'slack'",
        "kind": "CASE WHEN rare THEN 'escalated' ELSE 'opened' END",
        "severity": "'warning'",
        "status": "CASE WHEN rare THEN 'dead' ELSE 'sent' END",
        "sent_at": "CASE WHEN NOT rare THEN at END",
    },
    "mrr_movements": {
        "user_id": "user_id",
        "subscription_id": "gen_random_uuid()",
        "kind": "CASE WHEN rare THEN 'churn' ELSE 'new' END",
        "currency": "'usd'",
        "amount_cents": "CASE WHEN rare THEN -100 ELSE 100 END",
        "before_cents": "CASE WHEN rare THEN 100 ELSE 0 END",
        "after_cents": "CASE WHEN rare THEN 0 ELSE 100 END",
        "tier_before": "CASE WHEN rare THEN 'starter' END",
        "tier_after": "CASE WHEN NOT rare THEN 'starter' END",
        "occurred_at": "at",
    },
    "reconciliation_differences": {
        "run_id": "(SELECT id FROM reconciliation_runs)",
        "kind": "CASE WHEN rare THEN 'missing_at_stripe' ELSE 'differs' END",
        "object_kind": "'charge'",
        "stripe_id": "'ch_' || n",
        "status": "CASE WHEN rare THEN 'open' ELSE 'repaired' END",
        "closed_at": "CASE WHEN NOT rare THEN at END",
    },
    "authentication_failures": {
        "kind": "CASE WHEN rare THEN 'staff_second_factor' ELSE 'api_key' END",
        "source": "'203.0.113.' || n",
        "window_start": "at",
    },
}


def customers(session: Any, count: int = CUSTOMERS, **columns: str) -> None:
    """Customers 1 to `count`, each a minute older than the one before; `columns` are further expressions of `n`."""
    made = {
        "email": "'customer' || n || '@example.com'",
        "name": "'Customer ' || n",
        "stripe_customer_id": "'cus_' || n",
        "cognito_user_id": "gen_random_uuid()",
        "status": f"CASE WHEN n % {RARE} = 0 THEN 'suspended' ELSE 'active' END",
        "created_at": "now() - n * interval '1 minute'",
    }
    _insert(session, "users", made | columns, f"generate_series(1, {count}) AS n")
    # What the trigger gave them in this one moment is spread over time, as it would have been.
    session.execute(FREE)


def of_each_customer(session: Any, *tables: str, **columns: str) -> None:
    """A row of each of the tables for each customer of `customers`; `columns` are further expressions."""
    for table in tables:
        _insert(
            session,
            table,
            OF_A_CUSTOMER[table] | columns,
            "(SELECT id AS user_id, substr(stripe_customer_id, 5)::int AS n, status = 'suspended' AS rare,"
            " created_at AS at FROM users) AS c",
        )


def _insert(session: Any, table: str, columns: dict[str, str], source: str) -> None:
    session.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {source}")


# --- A company: few have most of everything, and rows come in the order of time --------------------

# Eighty-four first and seventy-eight last names, so that many share one; some are suspended, some have left.
USERS = """
INSERT INTO users (email, name, stripe_customer_id, cognito_user_id, status, created_at)
SELECT
    CASE WHEN p.status <> 'deleted' THEN lower(p.first || '.' || p.last) || p.n || '@' || p.company || '.example' END,
    p.first || ' ' || p.last,
    'cus_' || p.n,
    gen_random_uuid()::text,
    p.status,
    p.joined_at
FROM (
    SELECT
        n,
        (%(first)s::text[])[1 + n %% cardinality(%(first)s::text[])] AS first,
        (%(last)s::text[])[1 + (n / 7) %% cardinality(%(last)s::text[])] AS last,
        (%(companies)s::text[])[1 + (n / 3) %% cardinality(%(companies)s::text[])] AS company,
        CASE WHEN n %% 400 = 0 THEN 'suspended' WHEN n %% 900 = 0 THEN 'deleted' ELSE 'active' END AS status,
        now() - random() * interval '900 days' AS joined_at
    FROM generate_series(1, %(users)s) AS n
) AS p
"""
# The trigger has just given everybody the free plan; they have had it since they joined.
FREE = "UPDATE subscriptions AS s SET created_at = u.created_at FROM users AS u WHERE u.id = s.user_id"
# One in five pays: many at once, others after a while. Some are past due, stale or on trial, a few have gone.
PAYERS = """
CREATE TEMPORARY TABLE payers AS
SELECT
    c.id AS user_id,
    c.n,
    c.stripe_customer_id,
    CASE WHEN c.n % 50 = 0 THEN 'enterprise' WHEN c.n % 15 = 0 THEN 'professional' ELSE 'starter' END AS tier,
    CASE
        WHEN c.n % 25 = 0 THEN 'canceled'
        WHEN c.n % 40 = 0 THEN 'past_due'
        WHEN c.n % 35 = 0 THEN 'trialing'
        ELSE 'active'
    END AS status,
    c.created_at + random() * random() * 0.9 * (now() - c.created_at) AS started_at
FROM (
    SELECT
        u.id,
        u.stripe_customer_id,
        u.created_at,
        row_number() OVER (ORDER BY u.id) AS n
    FROM users AS u
    WHERE u.status = 'active'
) AS c
WHERE c.n % 5 = 0
"""
LEFT_FREE = """
UPDATE subscriptions AS s SET status = 'canceled', canceled_at = p.started_at
FROM payers AS p WHERE s.user_id = p.user_id AND p.status <> 'canceled'
"""
SUBSCRIPTIONS = """
INSERT INTO subscriptions (
    user_id, tier, status, stripe_subscription_id, stripe_price_id, price_cents, "interval", current_period_start,
    current_period_end, canceled_at, trial_end, created_at
)
SELECT
    p.user_id,
    p.tier,
    p.status,
    'sub_' || p.n,
    'price_' || p.tier,
    CASE p.tier WHEN 'enterprise' THEN 50000 + (p.n % 9) * 10000 WHEN 'professional' THEN 9900 ELSE 2900 END,
    'month',
    now() - p.age - interval '10 days',
    now() - p.age + interval '20 days',
    CASE WHEN p.status = 'canceled' THEN p.started_at + 0.7 * (now() - p.started_at) END,
    CASE WHEN p.status = 'trialing' THEN now() + interval '4 days' END,
    p.started_at
FROM (
    SELECT
        payers.*,
        CASE WHEN payers.n % 1005 = 0 THEN interval '25 days' ELSE interval '0' END AS age
    FROM payers
) AS p
"""
# Somebody cancelled by hand and forgot the free plan.
ORPHANS = """
UPDATE subscriptions AS s SET status = 'canceled'
FROM (SELECT u.id, row_number() OVER (ORDER BY u.id) AS n FROM users AS u) AS u
WHERE u.id = s.user_id AND s.tier = 'free' AND s.status = 'active' AND u.n % 5000 = 1
"""
# Nearly everybody has a key, who pays a second one for development; some were rotated.
KEYS = """
INSERT INTO api_keys (user_id, key_prefix, key_hash, environment, name, created_at, revoked_at, revoked_reason)
SELECT
    k.user_id,
    'glyph_sk_' || CASE k.environment WHEN 'production' THEN 'live' ELSE 'dev' END || '_'
    || left(encode(sha256((k.user_id || k.environment)::bytea), 'hex'), 8),
    '$2b$12$' || encode(sha256(k.user_id::text::bytea), 'hex'),
    k.environment,
    k.environment || ' key',
    k.created_at,
    CASE WHEN k.n % 33 = 0 THEN now() - random() * interval '30 days' END,
    CASE WHEN k.n % 33 = 0 THEN 'Rotated' END
FROM (
    SELECT
        owned.*,
        row_number() OVER (ORDER BY owned.user_id, owned.environment) AS n
    FROM (
        SELECT u.id AS user_id, 'production' AS environment, u.created_at
        FROM users AS u
        WHERE u.status <> 'deleted' AND u.stripe_customer_id NOT LIKE '%77'
        UNION ALL
        SELECT p.user_id, 'development', p.started_at FROM payers AS p WHERE p.n % 3 > 0
    ) AS owned
) AS k
"""
PAYMENTS = """
INSERT INTO payment_history (
    user_id, stripe_invoice_id, stripe_payment_intent_id, stripe_charge_id, amount_cents, refunded_cents, status,
    failure_message, receipt_url, paid_at, created_at
)
SELECT
    c.user_id,
    'in_' || c.number,
    'pi_' || c.number,
    'ch_' || c.number,
    c.price_cents,
    CASE WHEN c.luck > 0.995 THEN c.price_cents ELSE 0 END,
    CASE WHEN c.luck < 0.03 THEN 'failed' WHEN c.luck > 0.995 THEN 'refunded' ELSE 'succeeded' END,
    CASE WHEN c.luck < 0.03 THEN 'Your card was declined.' END,
    CASE WHEN c.luck >= 0.03 THEN 'https://pay.stripe.com/receipts/' || c.number END,
    CASE WHEN c.luck >= 0.03 THEN c.due_at END,
    c.due_at
FROM (
    SELECT
        s.user_id,
        s.price_cents,
        s.stripe_subscription_id || '_' || m AS number,
        s.created_at + m * interval '30 days' AS due_at,
        random() AS luck
    FROM subscriptions AS s CROSS JOIN generate_series(0, 30) AS m
    WHERE s.tier <> 'free' AND s.created_at + m * interval '30 days' <= coalesce(s.canceled_at, now())
) AS c
ORDER BY c.due_at
"""
# Most events are about those who pay, and some customers have far more than others.
EVENTS = """
WITH known AS MATERIALIZED (
    SELECT row_number() OVER () AS pick, payers.stripe_customer_id FROM payers
),
drawn AS MATERIALIZED (
    SELECT
        n,
        1 + floor(power(random(), 2) * (SELECT count(*) FROM known))::bigint AS pick,
        now() - random() * interval '30 days' AS received_at
    FROM generate_series(1, %(events)s) AS n
)
INSERT INTO stripe_webhook_events (
    stripe_event_id, event_type, status, attempts, last_error, next_retry_at, payload, received_at,
    processing_started_at, processed_at
)
SELECT
    'evt_' || d.n,
    (ARRAY['invoice.paid', 'invoice.created', 'customer.subscription.updated', 'charge.succeeded'])[1 + d.n %% 4],
    e.status,
    1 + d.n %% 4,
    CASE WHEN e.status IN ('failed', 'dead') THEN 'No plan claims the price.' END,
    CASE WHEN e.status = 'failed' THEN now() + interval '1 hour' END,
    jsonb_build_object(
        'id', 'evt_' || d.n,
        'data', jsonb_build_object('object', jsonb_build_object(
            'id', 'in_' || d.n, 'customer', k.stripe_customer_id, 'lines', repeat(md5(d.n::text), 20)
        ))
    ),
    d.received_at,
    d.received_at + interval '1 second',
    CASE WHEN e.status = 'processed' THEN d.received_at + interval '2 seconds' END
FROM drawn AS d
INNER JOIN known AS k ON k.pick = d.pick
CROSS JOIN LATERAL (
    SELECT CASE WHEN d.n %% 2000 = 0 THEN 'failed' WHEN d.n %% 9999 = 0 THEN 'dead' ELSE 'processed' END AS status
) AS e
"""
# A year of it: how rows began, and then changes to a few columns, most of them by Stripe's events.
AUDIT_ROWS = """
WITH ids AS MATERIALIZED (
    SELECT row_number() OVER () AS n, 'subscriptions' AS table_name, s.id::text AS row_id FROM subscriptions AS s
    UNION ALL
    SELECT row_number() OVER (), 'users', u.id::text FROM users AS u
    UNION ALL
    SELECT row_number() OVER (), 'api_keys', k.id::text FROM api_keys AS k
),
begun AS MATERIALIZED (
    SELECT 'users' AS table_name, u.id::text AS row_id, u.created_at AS at FROM users AS u
    UNION ALL
    SELECT 'subscriptions', s.id::text, s.created_at FROM subscriptions AS s
    UNION ALL
    SELECT 'api_keys', k.id::text, k.created_at FROM api_keys AS k
),
recent AS MATERIALIZED (
    SELECT * FROM begun AS b WHERE b.at > now() - interval '364 days'
),
changed AS MATERIALIZED (
    SELECT
        CASE WHEN n %% 10 < 6 THEN 'subscriptions' WHEN n %% 10 < 8 THEN 'users' ELSE 'api_keys' END AS table_name,
        1 + floor(random() * %(users)s)::bigint AS n,
        now() - random() * interval '364 days' AS at
    FROM generate_series(1, %(audit_rows)s - (SELECT count(*) FROM recent)) AS n
)
INSERT INTO audit_log (occurred_at, actor, action, table_name, row_id, old_values, new_values, reason, request_id)
SELECT
    e.at,
    CASE WHEN e.luck < 0.8 THEN 'stripe' ELSE 'agent' || (e.luck * 100)::int END,
    e.action,
    e.table_name,
    e.row_id,
    CASE WHEN e.action = 'update' THEN '{"status": "active"}'::jsonb END,
    jsonb_build_object('status', 'past_due', 'updated_at', e.at),
    CASE WHEN e.luck >= 0.8 THEN 'Asked for in a ticket' END,
    gen_random_uuid()::text
FROM (
    SELECT r.at, 'insert' AS action, r.table_name, r.row_id, random() AS luck FROM recent AS r
    UNION ALL
    SELECT c.at, 'update', c.table_name, ids.row_id, random()
    FROM changed AS c INNER JOIN ids ON ids.table_name = c.table_name AND ids.n = c.n
) AS e
ORDER BY e.at
"""
# A week of the jobs that run every minute, and what the others keep; see monitoring/jobs/functions/housekeeping.py.
JOB_RUNS = """
INSERT INTO job_runs (job, scheduled_for, status, started_at, finished_at, rows_affected, "trigger")
SELECT s.job, r.at, 'succeeded', r.at, r.at + interval '2 seconds', 10, 'schedule'
FROM job_schedules AS s
CROSS JOIN LATERAL generate_series(
    now() - CASE WHEN s.interval_seconds < 3600 THEN interval '7 days' ELSE interval '364 days' END,
    now(),
    make_interval(secs => s.interval_seconds)
) AS r (at)
ORDER BY r.at
"""
# What an evaluation would have opened.
ALERTS = """
INSERT INTO alerts (
    fingerprint, alert_type, subject, severity, state, message, remediation, value, object_type, object_id, fired_at
)
SELECT
    a.fingerprint, a.alert_type, a.subject, a.severity, 'firing', a.message, a.remediation, a.value, a.object_type,
    a.object_id, now()
FROM v_alerts AS a
"""
PEOPLE = """
CREATE TEMPORARY TABLE people AS
SELECT (row_number() OVER () - 1)::int AS n, u.id AS user_id, k.id AS key_id
FROM users AS u LEFT JOIN api_keys AS k ON k.user_id = u.id AND k.revoked_at IS NULL
"""
# Of the days between two ages, in no order. Few users make most requests, one request in fifty fails, and times spread
# over three orders of magnitude.
REQUESTS = """
INSERT INTO api_usage (user_id, api_key_id, endpoint, method, status_code, response_time_ms, created_at)
SELECT
    p.user_id,
    p.key_id,
    '/v1/endpoint/' || (random() * 39)::int,
    CASE WHEN random() < 0.7 THEN 'GET' ELSE 'POST' END,
    CASE WHEN random() < 0.02 THEN 500 ELSE 200 END,
    (5 * exp(random() * 6))::int,
    now() - (%(newest)s + random() * (%(oldest)s - %(newest)s)) * interval '1 day'
FROM (
    SELECT (power(random(), 2) * ((SELECT count(*) FROM people) - 1))::int AS pick
    FROM generate_series(1, %(batch)s)
) AS r
INNER JOIN people AS p ON p.n = r.pick
"""
