-- As rebuild_mrr_history(true), for one customer whose past became known: true when it differs from what was booked. A
-- ledger that knows of changes which the audit log has dropped stays as it is. The days since the first difference are
-- dropped, and written anew by the next snapshot.
CREATE FUNCTION rebuild_mrr_history_of(customer uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    first_day date;
BEGIN
    IF EXISTS (
        SELECT FROM mrr_movements AS m
        WHERE m.user_id = customer AND m.origin = 'change'
        AND NOT EXISTS (SELECT FROM audit_log AS a WHERE a.id = m.audit_id)
    ) THEN
        RETURN false;
    END IF;
    -- A churn may be booked under the subscription that was changed last.
    WITH booked AS (
        SELECT
            row_number() OVER (ORDER BY m.id) AS number, m.occurred_at,
            CASE WHEN m.after_cents > 0 THEN m.subscription_id END AS subscription_id,
            m.kind, m.currency, m.before_cents, m.after_cents, m.tier_before, m.tier_after
        FROM mrr_movements AS m
        WHERE m.user_id = customer
    ),
    wanted AS (
        SELECT
            row_number() OVER () AS number, h.occurred_at,
            CASE WHEN h.after_cents > 0 THEN h.subscription_id END AS subscription_id,
            h.kind, h.currency, h.before_cents, h.after_cents, h.tier_before, h.tier_after
        FROM mrr_history(ARRAY[customer]) AS h
    ),
    different AS (
        (TABLE booked EXCEPT TABLE wanted) UNION ALL (TABLE wanted EXCEPT TABLE booked)
    )
    SELECT (min(d.occurred_at) AT TIME ZONE 'UTC')::date INTO first_day FROM different AS d;
    IF first_day IS NULL THEN
        RETURN false;
    END IF;

    -- A snapshot that is being taken would write days without this customer.
    PERFORM pg_advisory_xact_lock(hashtextextended('refresh_daily_mrr', 0));
    DELETE FROM daily_mrr AS d WHERE d.day >= first_day;
    PERFORM set_config('app.rebuild_mrr_history', 'on', true);
    DELETE FROM mrr_movements AS m WHERE m.user_id = customer;
    PERFORM set_config('app.rebuild_mrr_history', 'off', true);
    INSERT INTO mrr_movements (
        occurred_at, user_id, subscription_id, kind, currency, amount_cents, before_cents, after_cents,
        tier_before, tier_after, origin
    )
    SELECT
        h.occurred_at, h.user_id, h.subscription_id, h.kind, h.currency, h.after_cents - h.before_cents,
        h.before_cents, h.after_cents, h.tier_before, h.tier_after, 'history'
    FROM mrr_history(ARRAY[customer]) AS h;
    RETURN true;
END
$$;
