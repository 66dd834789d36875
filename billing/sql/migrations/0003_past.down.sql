-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

-- Gives each new user the free plan, once per statement.
CREATE OR REPLACE FUNCTION create_free_subscriptions() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO subscriptions (user_id, tier, status, current_period_start)
    SELECT n.id, 'free', 'active', n.created_at
    FROM new_users AS n
    WHERE n.status <> 'deleted'
    ORDER BY n.id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

DROP TABLE stripe_backfill_problems;

DROP TABLE stripe_backfill_lists;

DROP TABLE stripe_backfills;
