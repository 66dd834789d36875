-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON api_keys;
DROP TRIGGER set_updated_at ON api_keys;
DROP TRIGGER keep_revoked ON api_keys;
DROP TRIGGER guard_counters ON api_keys;

ALTER TABLE api_keys DROP CONSTRAINT api_keys_replaced_ends;
ALTER TABLE api_keys DROP CONSTRAINT api_keys_times_plausible;
ALTER TABLE api_keys DROP COLUMN replaced_at;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_times_plausible CHECK ( least(last_used_at, expires_at, revoked_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(last_used_at, expires_at, revoked_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- A key's hash, never the key: the prefix finds the row, bcrypt checks the rest. key_fast_hash spares bcrypt: the HMAC
-- of key and key_hash under a secret that the database does not hold; NULL until the key was checked under it.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT api_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL DEFAULT '',
    environment text NOT NULL DEFAULT 'development',
    key_prefix text NOT NULL,
    key_hash text NOT NULL,
    key_fast_hash text,
    usage_count bigint NOT NULL DEFAULT 0,
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_keys_environment_known CHECK (environment IN ('development', 'staging', 'production')),
    CONSTRAINT api_keys_prefix_short CHECK (length(key_prefix) BETWEEN 1 AND 32),
    CONSTRAINT api_keys_hash_is_no_key CHECK (key_hash <> '' AND key_hash NOT LIKE 'glyph\_sk\_%'),
    CONSTRAINT api_keys_fast_hash_sha256 CHECK (key_fast_hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT api_keys_usage_not_negative CHECK (usage_count >= 0),
    -- Far from what a bigint holds: counting stops there, and never fails.
    CONSTRAINT api_keys_usage_possible CHECK (usage_count <= 1000000000000000),
    CONSTRAINT api_keys_reason_needs_revocation CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL),
    CONSTRAINT api_keys_texts_bounded CHECK (
        octet_length(name) <= 800 AND octet_length(key_hash) <= 255 AND octet_length(revoked_reason) <= 8192
    ),
    CONSTRAINT api_keys_times_plausible CHECK (
        least(last_used_at, expires_at, revoked_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(last_used_at, expires_at, revoked_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
)
-- Half-empty pages keep the counters' updates on the same page, without index writes.
WITH (fillfactor = 70);

CREATE INDEX api_keys_prefix ON api_keys (key_prefix text_pattern_ops);
CREATE INDEX api_keys_user_id ON api_keys (user_id, created_at);
CREATE INDEX api_keys_usable ON api_keys (user_id) INCLUDE (expires_at) WHERE revoked_at IS NULL;

-- The back office's sorts and filters.
CREATE INDEX api_keys_created_at ON api_keys (created_at);
CREATE INDEX api_keys_environment ON api_keys (environment, created_at DESC);
CREATE INDEX api_keys_revoked ON api_keys (created_at DESC) WHERE revoked_at IS NOT NULL;
*/

-- Queues what a statement added to api_usage, and never waits for another writer: no shared row is touched until
-- roll_up_usage() folds the queue. monthly_usage_summary adds the queue to the totals, so it is exact at once.
--
-- This runs for every insert, so two things are left out. Up to a hundred rows are queued one by one, as grouping them
-- would cost more than it saves; only a larger statement is grouped. And where every name is qualified, operators and
-- types too, it needs no SET search_path, which alone costs a tenth of an insert's throughput.
CREATE OR REPLACE FUNCTION count_api_usage() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM new_requests OFFSET 100) THEN
        INSERT INTO public.api_usage_deltas (
            user_id, api_key_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests,
            max_response_time_ms
        )
        SELECT
            n.user_id,
            n.api_key_id,
            n.created_at,
            n.response_time_ms,
            pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date,
            1,
            (n.status_code OPERATOR(pg_catalog.>=) 400)::int,
            n.response_time_ms
        FROM new_requests AS n;
        RETURN NULL;
    END IF;

    INSERT INTO public.api_usage_deltas (
        user_id, api_key_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests,
        max_response_time_ms
    )
    SELECT
        n.user_id,
        n.api_key_id,
        pg_catalog.max(n.created_at),
        pg_catalog.sum(n.response_time_ms),
        pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date AS month,
        pg_catalog.count(*),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.>=) 400),
        pg_catalog.max(n.response_time_ms)
    FROM new_requests AS n
    GROUP BY n.user_id, n.api_key_id, pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date;
    RETURN NULL;
END
$$;

-- Triggers fire in the order of their names: the guard comes before set_updated_at compares the row.
CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, last_used_at ON api_keys
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_api_key_counters();

CREATE TRIGGER keep_revoked BEFORE UPDATE OF revoked_at ON api_keys
FOR EACH ROW WHEN (old.revoked_at IS NOT NULL AND new.revoked_at IS DISTINCT FROM old.revoked_at)
EXECUTE FUNCTION keep_api_key_revoked();

-- Being used and being checked is no change of the key: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON api_keys
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.last_used_at IS NOT DISTINCT FROM new.last_used_at
    AND old.key_fast_hash IS NOT DISTINCT FROM new.key_fast_hash
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the fold moves for every key that was used: it must not pay for an audit; and but
-- the fast hash, which is derived.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, name, environment, key_prefix, key_hash, expires_at, revoked_at, revoked_reason, created_at
ON api_keys
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'last_used_at', 'key_fast_hash');
