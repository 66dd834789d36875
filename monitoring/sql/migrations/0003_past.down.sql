-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

-- Writes the ledger anew from the dates of the subscriptions themselves, then every day's snapshot: for data that was
-- loaded with its past, as a demo or an import. The number of movements.
-- Loses what only the ledger knows (prices changed in place), so recorded changes are replaced only when asked to.
CREATE OR REPLACE FUNCTION rebuild_mrr_history(replace_recorded boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    first_day date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('reconcile_mrr', 0));
    IF NOT coalesce(replace_recorded, false) AND EXISTS (SELECT FROM mrr_movements WHERE origin = 'change') THEN
        RAISE EXCEPTION 'rebuild_mrr_history: the ledger holds recorded changes, which the rebuilt one would lose'
            USING HINT = 'rebuild_mrr_history(true) replaces them.';
    END IF;
    PERFORM set_config('app.rebuild_mrr_history', 'on', true);
    DELETE FROM mrr_movements;
    PERFORM set_config('app.rebuild_mrr_history', 'off', true);

    WITH paid AS (
        SELECT
            s.id, s.user_id, s.tier, s.currency, s.price_cents,
            greatest(s.created_at, s.trial_end) AS started_at,
            CASE
                WHEN p.subscription_id IS NOT NULL THEN 'infinity'
                WHEN s.status = 'canceled' THEN s.canceled_at
                ELSE coalesce(s.current_period_start, s.created_at)
            END AS ended_at
        FROM subscriptions AS s
        LEFT JOIN paying_subscriptions AS p ON p.subscription_id = s.id
        WHERE s.tier <> 'free' AND s.price_cents > 0 AND NOT s.is_duplicate AND s.status <> 'trialing'
    ),
    spans AS (
        SELECT
            p.*,
            row_number() OVER customer AS ordinal,
            lag(p.ended_at) OVER customer AS previous_ended_at,
            lag(p.price_cents) OVER customer AS previous_cents,
            lag(p.tier) OVER customer AS previous_tier,
            lag(p.currency) OVER customer AS previous_currency,
            lead(p.started_at) OVER customer AS next_started_at,
            lead(p.currency) OVER customer AS next_currency
        FROM paid AS p
        WHERE p.started_at < p.ended_at AND p.started_at <= now()
        WINDOW customer AS (PARTITION BY p.user_id ORDER BY p.started_at, p.ended_at)
    ),
    starts AS (
        SELECT
            s.*,
            -- The next plan began before this one ended: the customer moved and never left.
            coalesce(s.previous_ended_at >= s.started_at AND s.previous_currency = s.currency, false) AS moved
        FROM spans AS s
    ),
    changes AS (
        SELECT
            s.started_at AS occurred_at, s.user_id, s.id AS subscription_id, s.currency,
            CASE WHEN s.moved THEN s.previous_cents ELSE 0 END AS before_cents, s.price_cents AS after_cents,
            CASE WHEN s.moved THEN s.previous_tier END AS tier_before, s.tier AS tier_after,
            CASE
                WHEN NOT s.moved THEN CASE WHEN s.ordinal = 1 THEN 'new' ELSE 'reactivation' END
                WHEN s.price_cents < s.previous_cents THEN 'contraction'
                ELSE 'expansion'
            END AS kind
        FROM starts AS s
        WHERE NOT (s.moved AND s.price_cents = s.previous_cents AND s.tier = s.previous_tier)
        UNION ALL
        SELECT
            least(s.ended_at, s.next_started_at), s.user_id, s.id, s.currency, s.price_cents, 0, s.tier, NULL, 'churn'
        FROM spans AS s
        WHERE
            least(s.ended_at, s.next_started_at) <= now()
            AND NOT coalesce(s.next_started_at <= s.ended_at AND s.next_currency = s.currency, false)
    )
    INSERT INTO mrr_movements (
        occurred_at, user_id, subscription_id, kind, currency, amount_cents, before_cents, after_cents,
        tier_before, tier_after, origin
    )
    SELECT
        c.occurred_at, c.user_id, c.subscription_id, c.kind, c.currency, c.after_cents - c.before_cents,
        c.before_cents, c.after_cents, c.tier_before, c.tier_after, 'history'
    FROM changes AS c
    ORDER BY c.occurred_at, c.user_id, c.kind = 'churn' DESC;

    PERFORM reconcile_mrr();
    DELETE FROM daily_mrr;
    first_day := least(
        (SELECT min(m.occurred_at AT TIME ZONE 'UTC') FROM mrr_movements AS m),
        (SELECT min(u.created_at AT TIME ZONE 'UTC') FROM users AS u)
    )::date;
    PERFORM refresh_daily_mrr(coalesce(first_day, (now() AT TIME ZONE 'UTC')::date));
    PERFORM refresh_daily_figures(coalesce(first_day, (now() AT TIME ZONE 'UTC')::date));
    RETURN (SELECT count(*) FROM mrr_movements);
END
$$;

DROP FUNCTION refresh_all_days;

DROP FUNCTION rebuild_mrr_history_of;

DROP FUNCTION mrr_history;
