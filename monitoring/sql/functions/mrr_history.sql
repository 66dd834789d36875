-- What the ledger of these customers (NULL: of all) has to say by the subscriptions themselves: at each moment a
-- customer pays for the one live subscription that counts. What a subscription was before a change, its row does not
-- know: that is read from the audit log, as far as it reaches. Of the time before it was first written here only dates
-- are known: it is taken to have been as it was first written, and an unpaid one to have been paid until its period
-- began.
CREATE FUNCTION mrr_history(customers uuid[]) RETURNS TABLE (
    occurred_at timestamptz,
    user_id uuid,
    subscription_id uuid,
    kind text,
    currency text,
    before_cents bigint,
    after_cents bigint,
    tier_before text,
    tier_after text
)
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
-- One customer and all of them are read in different ways.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH audited AS MATERIALIZED (
        SELECT a.row_id, a.id AS change_id, a.occurred_at, k.key, k.value
        FROM audit_log AS a
        CROSS JOIN LATERAL jsonb_each(a.old_values) AS k
        WHERE
            a.table_name = 'subscriptions' AND a.action = 'update'
            AND k.key IN ('tier', 'status', 'price_cents', 'currency', 'current_period_start')
            AND (
                customers IS NULL
                OR a.row_id IN (SELECT s.id::text FROM subscriptions AS s WHERE s.user_id = ANY (customers))
            )
    ),
    -- What a change overwrote, and what the later ones did: the first to say something about a column is right.
    overwritten AS (
        SELECT DISTINCT
            a.row_id, a.change_id, a.occurred_at,
            jsonb_object_agg(a.key, a.value) OVER (PARTITION BY a.row_id ORDER BY a.change_id DESC) AS columns
        FROM audited AS a
    ),
    versions AS (
        SELECT
            s.id, s.user_id, s.stripe_subscription_id, s.created_at, s.canceled_at, s.trial_end,
            s.status AS status_now, v.change_id,
            v.occurred_at AS until,
            coalesce(v.columns ->> 'tier', s.tier) AS tier,
            coalesce(v.columns ->> 'status', s.status) AS status,
            coalesce((v.columns ->> 'price_cents')::bigint, s.price_cents) AS price_cents,
            coalesce(v.columns ->> 'currency', s.currency) AS currency,
            coalesce((v.columns ->> 'current_period_start')::timestamptz, s.current_period_start) AS period_start
        FROM subscriptions AS s
        INNER JOIN (
            SELECT o.row_id, o.change_id, o.occurred_at, o.columns FROM overwritten AS o
            UNION ALL
            SELECT u.id::text, NULL, 'infinity', NULL FROM subscriptions AS u
            WHERE
                (customers IS NULL OR u.user_id = ANY (customers))
                AND (
                    u.tier <> 'free' OR u.stripe_subscription_id IS NOT NULL
                    OR u.id::text IN (SELECT o.row_id FROM overwritten AS o)
                )
        ) AS v ON v.row_id = s.id::text
        WHERE customers IS NULL OR s.user_id = ANY (customers)
    ),
    lives AS (
        SELECT
            v.*,
            lag(v.until) OVER life AS since,
            lead(v.status) OVER life AS next_status
        FROM versions AS v
        WINDOW life AS (PARTITION BY v.id ORDER BY v.change_id ASC NULLS LAST)
    ),
    spans AS (
        SELECT
            l.id, l.user_id, l.tier, l.currency, l.price_cents, l.created_at, l.stripe_subscription_id,
            CASE WHEN l.status = 'past_due' THEN 2 ELSE 1 END AS status_rank,
            CASE
                WHEN l.status = 'trialing' THEN greatest(l.since, l.created_at, l.trial_end)
                WHEN l.since IS NOT NULL THEN greatest(l.since, l.created_at)
                WHEN l.status IN ('active', 'past_due') AND l.trial_end >= least(l.until, now()) THEN l.created_at
                ELSE greatest(l.created_at, l.trial_end)
            END AS started_at,
            least(
                l.until,
                CASE WHEN l.status_now = 'canceled' THEN least(l.canceled_at, now()) END,
                CASE WHEN l.status IN ('unpaid', 'paused') THEN coalesce(l.period_start, l.created_at) END
            ) AS ended_at
        FROM lives AS l
        WHERE
            (l.tier <> 'free' OR l.stripe_subscription_id IS NOT NULL)
            AND CASE
                WHEN l.status IN ('active', 'past_due') THEN true
                -- The news of a trial's end comes later than the end.
                WHEN l.status = 'trialing' THEN l.trial_end IS NOT NULL AND l.next_status IN ('active', 'past_due')
                ELSE l.since IS NULL AND l.status IN ('canceled', 'unpaid', 'paused')
            END
    ),
    covered AS MATERIALIZED (
        SELECT s.* FROM spans AS s WHERE s.started_at < s.ended_at AND s.started_at <= now()
    ),
    moments AS (
        SELECT c.user_id, c.started_at AS moment FROM covered AS c
        UNION
        SELECT c.user_id, c.ended_at FROM covered AS c WHERE c.ended_at <= now()
    ),
    counted AS (
        SELECT DISTINCT ON (m.user_id, m.moment)
            m.user_id, m.moment, c.id, c.currency,
            CASE WHEN c.tier = 'free' THEN 0 ELSE coalesce(c.price_cents, 0) END AS cents,
            CASE WHEN c.tier <> 'free' AND c.price_cents > 0 THEN c.tier END AS tier
        FROM moments AS m
        LEFT JOIN covered AS c ON c.user_id = m.user_id AND c.started_at <= m.moment AND c.ended_at > m.moment
        ORDER BY
            m.user_id, m.moment, c.status_rank,
            array_position(ARRAY['enterprise', 'professional', 'starter', 'free'], c.tier),
            c.price_cents DESC, c.created_at DESC, c.stripe_subscription_id COLLATE "C" DESC
    ),
    steps AS (
        SELECT
            c.*,
            lag(c.id) OVER customer AS last_id,
            lag(c.currency) OVER customer AS last_currency,
            coalesce(lag(c.cents) OVER customer, 0) AS last_cents,
            lag(c.tier) OVER customer AS last_tier,
            coalesce(max(c.cents) OVER (customer ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) > 0 AS paid_before
        FROM counted AS c
        WINDOW customer AS (PARTITION BY c.user_id ORDER BY c.moment)
    ),
    -- Another currency is another book: what was paid in the old one ends there.
    legs AS (
        SELECT
            s.moment, s.user_id, s.last_id AS id, s.last_currency AS currency,
            s.last_cents AS before_cents, 0::bigint AS after_cents, s.last_tier AS tier_before, NULL AS tier_after,
            s.paid_before
        FROM steps AS s
        WHERE s.last_cents > 0 AND (s.cents = 0 OR s.currency <> s.last_currency)
        UNION ALL
        SELECT
            s.moment, s.user_id, s.id, s.currency,
            CASE WHEN s.currency = s.last_currency THEN s.last_cents ELSE 0 END, s.cents,
            CASE WHEN s.currency = s.last_currency THEN s.last_tier END, s.tier,
            s.paid_before
        FROM steps AS s
        WHERE s.cents > 0 AND (s.cents, s.tier, s.currency) IS DISTINCT FROM (s.last_cents, s.last_tier, s.last_currency)
    )
    SELECT
        g.moment, g.user_id, g.id,
        CASE
            WHEN g.after_cents = 0 THEN 'churn'
            WHEN g.before_cents = 0 THEN CASE WHEN g.paid_before THEN 'reactivation' ELSE 'new' END
            WHEN g.after_cents < g.before_cents THEN 'contraction'
            ELSE 'expansion'
        END,
        g.currency, g.before_cents, g.after_cents, g.tier_before, g.tier_after
    FROM legs AS g
    ORDER BY g.moment, g.user_id, g.after_cents > 0;
END
$$;
