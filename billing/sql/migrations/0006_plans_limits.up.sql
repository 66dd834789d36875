-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON api_keys;
DROP TRIGGER set_updated_at ON api_keys;
DROP TRIGGER keep_revoked ON api_keys;
DROP TRIGGER guard_counters ON api_keys;

--! tables/api_keys
ALTER TABLE api_keys ADD COLUMN key_fast_hash text;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_fast_hash_sha256 CHECK (key_fast_hash ~ '^[0-9a-f]{64}$') NOT VALID;
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

--! tables/rate_limit_permits
-- What callers under repeatable read and serializable counted: one row a request, numbered from 1 in its window, of
-- the key (a minute) or the user (a month) that holder names. Such a caller's snapshot is older than its turn, so it
-- can neither read nor change a count that others change; but the unique index tells it which numbers are taken,
-- whatever its snapshot. It never reads this table, so that serializable transactions do not conflict over it. Number
-- -1 says that the window has a row in rate_limits. Unlogged as rate_limits is.
CREATE SEQUENCE rate_limit_permits_seq;

CREATE UNLOGGED TABLE rate_limit_permits (
    holder uuid NOT NULL,
    window_start timestamptz NOT NULL,
    window_seconds bigint NOT NULL,
    number bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT rate_limit_permits_pkey PRIMARY KEY (holder, window_seconds, window_start, number),
    CONSTRAINT rate_limit_permits_window_positive CHECK (window_seconds > 0),
    CONSTRAINT rate_limit_permits_number_known CHECK (number > 0 OR number = -1),
    CONSTRAINT rate_limit_permits_expires_after_start CHECK (expires_at > window_start),
    CONSTRAINT rate_limit_permits_times_plausible CHECK (
        least(window_start, expires_at) >= '1970-01-01 00:00:00+00'
        AND greatest(window_start, expires_at) < '2200-01-01 00:00:00+00'
    )
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

ALTER SEQUENCE rate_limit_permits_seq OWNED BY rate_limit_permits.number;

CREATE INDEX rate_limit_permits_expires_at ON rate_limit_permits (expires_at);

--! tables/rate_limits
ALTER TABLE rate_limits ADD COLUMN user_id uuid;
CREATE UNIQUE INDEX rate_limits_month_of_user ON rate_limits (user_id, window_start) WHERE user_id IS NOT NULL;
/* The table is now:
-- Requests counted per window: a minute of a key, and a month of a user, whose keys share it; its row names the key
-- that began it. Unlogged: losing it in a crash forgives at most a window. No foreign key, as its check would write
-- WAL for every new window; rows of a deleted key expire by themselves.
CREATE UNLOGGED TABLE rate_limits (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    api_key_id uuid NOT NULL,
    window_start timestamptz NOT NULL,
    window_seconds int NOT NULL,
    request_count bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    -- Of a month only.
    user_id uuid,
    CONSTRAINT rate_limits_window_key UNIQUE (api_key_id, window_seconds, window_start),
    CONSTRAINT rate_limits_window_positive CHECK (window_seconds > 0),
    CONSTRAINT rate_limits_count_not_negative CHECK (request_count >= 0),
    CONSTRAINT rate_limits_expires_after_start CHECK (expires_at > window_start),
    CONSTRAINT rate_limits_times_plausible CHECK (
        least(window_start, expires_at) >= '1970-01-01 00:00:00+00'
        AND greatest(window_start, expires_at) < '2200-01-01 00:00:00+00'
    )
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX rate_limits_expires_at ON rate_limits (expires_at);
CREATE UNIQUE INDEX rate_limits_month_of_user ON rate_limits (user_id, window_start) WHERE user_id IS NOT NULL;
*/

--! tables/stripe_requests
ALTER TABLE stripe_requests DROP CONSTRAINT stripe_requests_kind_known;
ALTER TABLE stripe_requests ADD CONSTRAINT stripe_requests_kind_known CHECK (kind IN ( 'refund', 'cancel_now', 'cancel_at_period_end', 'resume', 'pause_collection', 'resume_collection', 'tag_customer', 'change_plan', 'change_plan_at_period_end', 'release_schedule', 'extend_trial', 'apply_coupon', 'remove_coupon', 'credit', 'void_invoice', 'mark_paid', 'mark_uncollectible' )) NOT VALID;
/* The table is now:
-- What we ask Stripe to change: written, with who and why, before Stripe is asked, so that an answer that is lost
-- leaves a row to be settled. parameters are never a secret; audit_id is the audit row of what was, or may have been,
-- done. asked: on its way; unknown: it may have been done; refused: it was not done.
CREATE TABLE stripe_requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    stripe_object_id text NOT NULL,
    user_id uuid CONSTRAINT stripe_requests_user_id_fkey REFERENCES users (id) ON DELETE SET NULL,
    row_id uuid NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    idempotency_key text NOT NULL CONSTRAINT stripe_requests_idempotency_key_key UNIQUE,
    state text NOT NULL DEFAULT 'asked',
    answer_id text,
    answer text NOT NULL DEFAULT '',
    actor text NOT NULL CONSTRAINT stripe_requests_actor_given CHECK (actor <> ''),
    reason text NOT NULL CONSTRAINT stripe_requests_reason_given CHECK (reason <> ''),
    audit_id bigint,
    asked_at timestamptz NOT NULL DEFAULT now(),
    looked_at timestamptz,
    settled_at timestamptz,
    CONSTRAINT stripe_requests_kind_known CHECK (kind IN (
        'refund', 'cancel_now', 'cancel_at_period_end', 'resume', 'pause_collection', 'resume_collection',
        'tag_customer', 'change_plan', 'change_plan_at_period_end', 'release_schedule', 'extend_trial', 'apply_coupon',
        'remove_coupon', 'credit', 'void_invoice', 'mark_paid', 'mark_uncollectible'
    )),
    CONSTRAINT stripe_requests_state_known CHECK (state IN ('asked', 'done', 'refused', 'unknown')),
    CONSTRAINT stripe_requests_settled_is_dated CHECK ((state IN ('done', 'refused')) = (settled_at IS NOT NULL)),
    CONSTRAINT stripe_requests_effect_is_audited CHECK (state NOT IN ('done', 'unknown') OR audit_id IS NOT NULL),
    CONSTRAINT stripe_requests_parameters_object CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT stripe_requests_ids_short CHECK (
        octet_length(stripe_object_id) BETWEEN 1 AND 255 AND octet_length(answer_id) BETWEEN 1 AND 255
        AND octet_length(idempotency_key) BETWEEN 1 AND 255
    ),
    CONSTRAINT stripe_requests_texts_bounded CHECK (
        octet_length(answer) <= 8192 AND octet_length(actor) <= 800 AND octet_length(reason) <= 8192
        AND pg_column_size(parameters) <= 8192
    ),
    CONSTRAINT stripe_requests_times_plausible CHECK (
        least(asked_at, looked_at, settled_at) >= '1970-01-01 00:00:00+00'
        AND greatest(asked_at, looked_at, settled_at) < '2200-01-01 00:00:00+00'
    )
);

-- Stripe's state tells whether a request was carried out only while nothing else is asked of the same object.
CREATE UNIQUE INDEX stripe_requests_one_open ON stripe_requests (stripe_object_id)
WHERE state IN ('asked', 'unknown');
CREATE INDEX stripe_requests_asked_at ON stripe_requests (asked_at);
CREATE INDEX stripe_requests_state ON stripe_requests (state, asked_at DESC);
CREATE INDEX stripe_requests_object ON stripe_requests (stripe_object_id, asked_at DESC);
CREATE INDEX stripe_requests_user_id ON stripe_requests (user_id, asked_at DESC);
*/

--! functions/check_rate_limit
-- Counts one request of a key if it is within the limits that its user is entitled to, per minute (of the key) and per
-- calendar month, UTC (of the user), and says so. Returns one row: allowed, how many more requests the tighter window
-- has room for, when that window ends, and the reason: ok; rate, too many this minute; quota, the month is used up;
-- key, the key is unknown, revoked or expired or its user is not active, and reset_at is NULL. A refused request is not
-- counted. Call it on its own: callers of one user wait for each other until their transactions end.
CREATE OR REPLACE FUNCTION check_rate_limit(api_key_id uuid)
RETURNS TABLE (allowed boolean, remaining int, reset_at timestamptz, reason text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    taken record;
BEGIN
    IF check_rate_limit.api_key_id IS NULL THEN
        RAISE EXCEPTION 'check_rate_limit: api_key_id is NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    taken := take_rate_limit(check_rate_limit.api_key_id, 1);
    allowed := taken.granted = 1;
    remaining := least(taken.remaining, 2147483647);
    reset_at := taken.reset_at;
    reason := taken.reason;
    RETURN NEXT;
END
$$;

REVOKE EXECUTE ON FUNCTION check_rate_limit(uuid) FROM public;

--! functions/cleanup_rate_limits
-- Deletes the windows that have ended; returns how many rows those were.
CREATE OR REPLACE FUNCTION cleanup_rate_limits() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_rate_limits', 0));
    RETURN delete_rows('rate_limits', 'expires_at <= now()') + delete_rows('rate_limit_permits', 'expires_at <= now()');
END
$$;

--! functions/fix_orphaned_stripe_customers
-- Gives the free plan to every user of orphaned_customers and returns them. A second call returns none. What
-- Stripe has for them is reconciliation's business. A user who cannot be given it, or whom somebody else holds for a
-- second, is left to the next call with a warning.
CREATE OR REPLACE FUNCTION fix_orphaned_stripe_customers()
RETURNS TABLE (user_id uuid, email text, stripe_customer_id text, action text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
    orphan record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fix_orphaned_stripe_customers', 0));
    SET LOCAL lock_timeout = '1s';  -- until the function ends

    FOR orphan IN
        SELECT u.id, u.email, u.stripe_customer_id
        FROM orphaned_customers AS o
        INNER JOIN users AS u ON u.id = o.user_id
        ORDER BY u.email, u.id
    LOOP
        BEGIN
            INSERT INTO subscriptions (user_id, tier, status, current_period_start)
            VALUES (orphan.id, 'free', 'active', now())
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                RETURN QUERY
                SELECT orphan.id, orphan.email, orphan.stripe_customer_id, 'created_free_subscription';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            PERFORM leave_out(format('fix_orphaned_stripe_customers: left out user %s: %s', orphan.id, SQLERRM));
        END;
    END LOOP;
END
$$;

--! functions/is_rate_limit_permit_taken
-- Whether a committed transaction has taken the number, whether or not this one's snapshot shows it: the unique index
-- knows. What is inserted to ask it is undone.
CREATE FUNCTION is_rate_limit_permit_taken(
    holder uuid, window_seconds int, window_start timestamptz, expires_at timestamptz, number bigint
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO rate_limit_permits (holder, window_seconds, window_start, expires_at, number)
    VALUES (holder, window_seconds, window_start, expires_at, number);
    RAISE SQLSTATE 'GF001';
EXCEPTION
    WHEN unique_violation THEN
        RETURN true;
    WHEN SQLSTATE 'GF001' THEN
        RETURN false;
END
$$;

REVOKE EXECUTE ON FUNCTION is_rate_limit_permit_taken(uuid, int, timestamptz, timestamptz, bigint) FROM public;

--! functions/last_rate_limit_permit
-- How many requests rate_limit_permits counts in a window; 0 for none.
CREATE FUNCTION last_rate_limit_permit(holder uuid, window_seconds int, window_start timestamptz) RETURNS bigint
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(max(p.number) FILTER (WHERE p.number > 0), 0)
    FROM (
        SELECT p.number
        FROM rate_limit_permits AS p
        WHERE p.holder = last_rate_limit_permit.holder
            AND p.window_seconds = last_rate_limit_permit.window_seconds
            AND p.window_start = last_rate_limit_permit.window_start
        ORDER BY p.number DESC
        LIMIT 1
    ) AS p
$$;

REVOKE EXECUTE ON FUNCTION last_rate_limit_permit(uuid, int, timestamptz) FROM public;

--! functions/lease_rate_limit
-- Counts up to n requests of a key at once, for a server that checks thousands a second: it hands them out by itself
-- until expires_at, at most five seconds and never beyond the minute in which they were counted. So no window is used
-- beyond its limit, a key that is revoked meanwhile is served for five seconds at most, and a permit that is not used
-- stays counted. Returns one row: how many were granted, as many as the tighter window has room for, until when (NULL
-- when none was), and the reason as check_rate_limit() gives it.
CREATE FUNCTION lease_rate_limit(api_key_id uuid, n int)
RETURNS TABLE (granted int, expires_at timestamptz, reason text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    taken record;
BEGIN
    IF lease_rate_limit.api_key_id IS NULL THEN
        RAISE EXCEPTION 'lease_rate_limit: api_key_id is NULL' USING ERRCODE = 'invalid_parameter_value';
    ELSIF n IS NULL OR n < 1 THEN
        RAISE EXCEPTION 'lease_rate_limit: n is %, but must be 1 or more', coalesce(n::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    taken := take_rate_limit(lease_rate_limit.api_key_id, n);
    granted := taken.granted;
    reason := taken.reason;
    IF granted > 0 THEN
        expires_at := least(clock_timestamp() + interval '5 seconds', taken.minute_end);
    END IF;
    RETURN NEXT;
END
$$;

REVOKE EXECUTE ON FUNCTION lease_rate_limit(uuid, int) FROM public;

--! functions/number_rate_limit_permits
-- Takes the first `wanted` free numbers of a window, as many as are left up to its limit, for
-- take_rate_limit_permits(). `counted` is what rate_limits has counted in it, NULL without a row, and `used` what is
-- used at least. Returns how many were taken and what the window has used then. Numbers are taken in order, so the
-- first free one is found by asking for ever larger ones and then by halves.
CREATE FUNCTION number_rate_limit_permits(
    holder uuid,
    window_seconds int,
    window_start timestamptz,
    expires_at timestamptz,
    counted bigint,
    used bigint,
    window_limit bigint,
    wanted int,
    OUT granted int,
    OUT last bigint
) RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    taken bigint := used - coalesce(counted, 0);
    highest CONSTANT bigint := window_limit - coalesce(counted, 0);
    step bigint := 1;
    free bigint;
    asked bigint;
BEGIN
    IF counted IS NULL AND is_rate_limit_permit_taken(holder, window_seconds, window_start, expires_at, -1) THEN
        RAISE EXCEPTION 'check_rate_limit: the window was begun by a caller under read committed'
            USING ERRCODE = 'serialization_failure', HINT = 'Try again in a new transaction.';
    END IF;
    granted := 0;
    last := window_limit;
    WHILE free IS NULL OR taken + 1 < free LOOP
        IF taken >= highest THEN
            RETURN;
        END IF;
        asked := CASE WHEN free IS NULL THEN least(taken + step, highest) ELSE (taken + free) / 2 END;
        IF is_rate_limit_permit_taken(holder, window_seconds, window_start, expires_at, asked) THEN
            taken := asked;
            step := step * 2;
        ELSE
            free := asked;
        END IF;
    END LOOP;

    granted := least(wanted, highest - taken);
    last := coalesce(counted, 0) + taken + granted;
    INSERT INTO rate_limit_permits (holder, window_start, window_seconds, number, expires_at)
    SELECT holder, window_start, window_seconds, n.number, expires_at
    FROM generate_series(taken + 1, taken + granted) AS n (number);
END
$$;

REVOKE EXECUTE ON FUNCTION number_rate_limit_permits(
    uuid, int, timestamptz, timestamptz, bigint, bigint, bigint, int
) FROM public;

--! functions/recorded_requests
-- The requests of a user that were recorded in the month that begins then, what is not folded yet included; for
-- take_rate_limit(), which asks only once the month has room for less than a tenth of its limit or for less than 1,000:
-- the queue has no index, as that would cost every insert, and reading it costs milliseconds. Until then a request that
-- nobody checked counts when it is folded, within a minute. Under a limit of 1,000 the rows themselves are few, have an
-- index, and are counted up to that limit.
CREATE FUNCTION recorded_requests(owner uuid, month_start timestamptz, monthly_limit bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    recorded bigint;
BEGIN
    IF monthly_limit > 1000 THEN
        SELECT m.total_requests INTO recorded
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    ELSE
        SELECT count(*) INTO recorded
        FROM (
            SELECT
            FROM api_usage AS a
            WHERE a.user_id = owner
                AND a.created_at >= month_start
                AND a.created_at < (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
            LIMIT monthly_limit
        ) AS counted;
    END IF;
    RETURN coalesce(recorded, 0);
END
$$;

REVOKE EXECUTE ON FUNCTION recorded_requests(uuid, timestamptz, bigint) FROM public;

--! functions/roll_up_usage_of
-- The fold itself, of the customers' rows or of all (NULL); returns how many queued rows it took. For roll_up_usage()
-- only, which holds the lock. One statement deletes and adds, so nothing is counted twice or lost. A key that somebody
-- else is changing is left for the next call, so that the fold never takes part in a deadlock.
--
-- Where a row stands in the way of the others, each half is folded on its own, down to the customer whose it is.
CREATE OR REPLACE FUNCTION roll_up_usage_of(customers uuid[]) RETURNS bigint -- noqa: LT01
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    folded bigint;
    middle int;
BEGIN
    WITH keys AS MATERIALIZED (
        SELECT k.id
        FROM api_keys AS k
        WHERE k.id IN (
            SELECT d.api_key_id FROM api_usage_deltas AS d WHERE customers IS NULL OR d.user_id = ANY (customers)
        )
        ORDER BY k.id
        FOR NO KEY UPDATE SKIP LOCKED
    ),
    queued AS (
        DELETE FROM api_usage_deltas AS d
        WHERE (customers IS NULL OR d.user_id = ANY (customers))
            AND (
                d.api_key_id IS NULL
                OR d.api_key_id IN (SELECT keys.id FROM keys)
                OR NOT EXISTS (SELECT 1 FROM api_keys AS k WHERE k.id = d.api_key_id)
            )
        RETURNING *
    ),
    -- The one pass over what may be a million rows: everything after it works on users and keys.
    counted AS MATERIALIZED (
        SELECT
            q.user_id,
            q.api_key_id,
            q.month,
            count(*) AS queued,
            sum(q.total_requests) AS total_requests,
            sum(q.failed_requests) AS failed_requests,
            sum(q.total_response_time_ms) AS total_response_time_ms,
            max(q.max_response_time_ms) AS max_response_time_ms,
            max(q.last_request_at) AS last_request_at
        FROM queued AS q
        GROUP BY q.user_id, q.api_key_id, q.month
    ),
    totals AS (
        INSERT INTO monthly_usage_totals AS t (
            user_id, month, total_requests, successful_requests, failed_requests,
            total_response_time_ms, max_response_time_ms, last_request_at
        )
        SELECT
            c.user_id,
            c.month,
            sum(c.total_requests),
            sum(c.total_requests - c.failed_requests),
            sum(c.failed_requests),
            least(sum(c.total_response_time_ms), 9223372036854775807)::bigint,
            max(c.max_response_time_ms),
            max(c.last_request_at)
        FROM counted AS c
        GROUP BY c.user_id, c.month
        ON CONFLICT (user_id, month) DO UPDATE
        SET
            total_requests = t.total_requests + excluded.total_requests,
            successful_requests = t.successful_requests + excluded.successful_requests,
            failed_requests = t.failed_requests + excluded.failed_requests,
            total_response_time_ms = least(
                t.total_response_time_ms::numeric + excluded.total_response_time_ms::numeric, 9223372036854775807
            )::bigint,
            max_response_time_ms = greatest(t.max_response_time_ms, excluded.max_response_time_ms),
            last_request_at = greatest(t.last_request_at, excluded.last_request_at)
    ),
    used AS (
        UPDATE api_keys AS k
        SET
            -- As far as the column counts.
            usage_count = least(k.usage_count + u.requests::bigint, 1000000000000000),
            last_used_at = greatest(k.last_used_at, u.last_request_at)
        FROM (
            SELECT
                c.api_key_id,
                sum(c.total_requests)::bigint AS requests,
                max(c.last_request_at) AS last_request_at
            FROM counted AS c
            WHERE c.api_key_id IS NOT NULL
            GROUP BY c.api_key_id
        ) AS u
        WHERE k.id = u.api_key_id
    )
    SELECT coalesce(sum(c.queued), 0) INTO folded FROM counted AS c;
    RETURN folded;
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
    IF cardinality(customers) = 1 THEN
        PERFORM leave_out(format('roll_up_usage: left out customer %s: %s', customers[1], SQLERRM));
        RETURN 0;
    END IF;
    IF customers IS NULL THEN
        customers := ARRAY(SELECT DISTINCT d.user_id FROM api_usage_deltas AS d);
    END IF;
    middle := cardinality(customers) / 2;
    RETURN CASE WHEN middle > 0 THEN roll_up_usage_of(customers[:middle]) ELSE 0 END
        + roll_up_usage_of(customers[middle + 1:]);
END
$$;

REVOKE EXECUTE ON FUNCTION roll_up_usage_of(uuid[]) FROM public;

--! functions/sync_subscription_usage
-- Sets usage_count of every live subscription to its user's requests of this calendar month (UTC), queued ones
-- included; returns how many changed. usage_synced_at is when the count last moved. A subscription that somebody else
-- is changing is left to the next call: nobody waits for it. One that cannot be changed is named by a warning and keeps
-- no other one.
CREATE OR REPLACE FUNCTION sync_subscription_usage() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    miscounted record;
    changed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sync_subscription_usage', 0));

    PERFORM set_config('app.counting', 'on', true);
    BEGIN
        WITH stale AS (
            SELECT s.id, m.requests
            FROM subscriptions AS s
            INNER JOIN miscounted_subscriptions AS m ON m.id = s.id
            ORDER BY s.id
            FOR NO KEY UPDATE OF s SKIP LOCKED
        )
        UPDATE subscriptions AS s
        SET usage_count = stale.requests, usage_synced_at = now()
        FROM stale
        WHERE s.id = stale.id;
        GET DIAGNOSTICS changed = ROW_COUNT;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
        changed := 0;
        FOR miscounted IN SELECT m.id, m.requests FROM miscounted_subscriptions AS m ORDER BY m.id LOOP
            BEGIN
                UPDATE subscriptions AS s
                SET usage_count = miscounted.requests, usage_synced_at = now()
                FROM (SELECT l.id FROM subscriptions AS l WHERE l.id = miscounted.id FOR NO KEY UPDATE SKIP LOCKED) AS own
                WHERE s.id = own.id;
                changed := changed + FOUND::int;
            EXCEPTION
                WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
                    PERFORM leave_out(
                        format('sync_subscription_usage: left out subscription %s: %s', miscounted.id, SQLERRM)
                    );
            END;
        END LOOP;
    END;
    PERFORM set_config('app.counting', '', true);
    RETURN changed;
END
$$;

--! functions/take_rate_limit
-- Counts up to `wanted` requests of a key, as many as the key's minute and its user's month have room for, and says
-- how many those were; for check_rate_limit() and lease_rate_limit() only, which say what the reasons mean. It runs
-- for every request, so it pins no search_path: its two callers do, and nobody else may call it.
--
-- Callers of one user queue behind each other until their transactions end, so that together they never pass a limit:
-- call it on its own. A month has used what was checked or what was recorded, whichever is more; see
-- recorded_requests() for when it asks.
CREATE FUNCTION take_rate_limit(
    key uuid,
    wanted int,
    OUT granted int,
    OUT remaining bigint,
    OUT reset_at timestamptz,
    OUT reason text,
    OUT minute_end timestamptz
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();
    minute_start CONSTANT timestamptz := date_trunc('minute', moment);
    month_start CONSTANT timestamptz := date_trunc('month', moment, 'UTC');
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    owner uuid;
    per_minute bigint;
    per_month bigint;
    used_this_minute bigint;
    used_this_month bigint;
    recorded bigint;
    late bigint := 0;
    -- Counted by take_rate_limit_permits(), if ever a caller in this database was.
    has_permits CONSTANT boolean := pg_sequence_last_value('rate_limit_permits_seq') IS NOT NULL;
    permits_this_minute bigint := 0;
    permits_this_month bigint := 0;
BEGIN
    granted := 0;
    remaining := 0;
    minute_end := minute_start + interval '1 minute';
    SELECT k.user_id, e.rate_limit_per_minute, e.monthly_request_limit, coalesce(t.total_requests, 0)
    INTO owner, per_minute, per_month, recorded
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN entitlements AS e ON e.user_id = k.user_id
    LEFT JOIN monthly_usage_totals AS t ON t.user_id = k.user_id AND t.month = (month_start AT TIME ZONE 'UTC')::date
    WHERE k.id = key
        AND u.status = 'active'
        AND k.revoked_at IS NULL
        AND coalesce(k.expires_at > moment, true);
    IF NOT FOUND THEN
        reason := 'key';
        RETURN;
    END IF;
    IF per_minute IS NULL THEN  -- no subscription
        SELECT p.rate_limit_per_minute, p.monthly_request_limit INTO per_minute, per_month
        FROM plans AS p
        WHERE p.tier = 'free';
    END IF;

    PERFORM pg_advisory_xact_lock(hashtextextended(format('check_rate_limit %s', owner), 0));
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        SELECT t.granted, t.used_this_minute, t.used_this_month INTO granted, used_this_minute, used_this_month
        FROM take_rate_limit_permits(
            key, owner, wanted, per_minute, per_month, recorded, minute_start, month_start, month_end
        ) AS t;
    ELSE
        IF has_permits THEN
            permits_this_minute := last_rate_limit_permit(key, 60, minute_start);
            permits_this_month := last_rate_limit_permit(owner, month_seconds, month_start);
        END IF;
        wanted := greatest(least(wanted, per_minute), 1);

        -- First all that is wanted is counted; what was too much is taken back below. The lock hides it until then.
        UPDATE rate_limits AS r SET request_count = r.request_count + wanted
        WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start
        RETURNING r.request_count + permits_this_minute INTO used_this_minute;
        IF NOT FOUND THEN
            used_this_minute := permits_this_minute + wanted;
            INSERT INTO rate_limits (api_key_id, window_start, window_seconds, request_count, expires_at)
            VALUES (key, minute_start, 60, wanted, minute_end);
        END IF;
        IF per_month IS NOT NULL THEN
            UPDATE rate_limits AS r
            SET request_count = greatest(r.request_count, recorded - permits_this_month) + wanted
            WHERE r.user_id = owner AND r.window_start = month_start
            RETURNING r.request_count + permits_this_month INTO used_this_month;
            IF NOT FOUND THEN
                used_this_month := greatest(recorded, permits_this_month) + wanted;
                INSERT INTO rate_limits (api_key_id, window_start, window_seconds, request_count, expires_at, user_id)
                VALUES (key, month_start, month_seconds, used_this_month - permits_this_month, month_end, owner)
                -- The key had another owner, who goes on from what was recorded.
                ON CONFLICT (api_key_id, window_seconds, window_start)
                DO UPDATE SET request_count = excluded.request_count, user_id = excluded.user_id;
            END IF;
            IF per_month - used_this_month < greatest(1000, per_month / 10) THEN
                late := greatest(recorded_requests(owner, month_start, per_month) - (used_this_month - wanted), 0);
                used_this_month := used_this_month + late;
            END IF;
        END IF;
        IF has_permits THEN
            -- Tells callers with an older snapshot that the windows have their rows.
            INSERT INTO rate_limit_permits (holder, window_start, window_seconds, number, expires_at)
            SELECT key, minute_start, 60, -1, minute_end
            UNION ALL
            SELECT owner, month_start, month_seconds, -1, month_end WHERE per_month IS NOT NULL
            ON CONFLICT DO NOTHING;
        END IF;

        granted := greatest(wanted - greatest(used_this_minute - per_minute, used_this_month - per_month, 0), 0);
        IF granted < wanted THEN
            used_this_minute := used_this_minute - (wanted - granted);
            UPDATE rate_limits AS r SET request_count = r.request_count - (wanted - granted)
            WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start;
        END IF;
        IF (granted < wanted OR late > 0) AND per_month IS NOT NULL THEN
            used_this_month := used_this_month - (wanted - granted);
            UPDATE rate_limits AS r SET request_count = r.request_count - (wanted - granted) + late
            WHERE r.user_id = owner AND r.window_start = month_start;
        END IF;
    END IF;

    IF granted > 0 THEN
        reason := 'ok';
        remaining := least(per_minute - used_this_minute, per_month - used_this_month);
    ELSE
        reason := CASE WHEN used_this_month >= per_month THEN 'quota' ELSE 'rate' END;
    END IF;
    reset_at := CASE
        WHEN reason = 'quota' OR reason = 'ok' AND per_month - used_this_month < per_minute - used_this_minute
            THEN month_end
        ELSE minute_end
    END;
END
$$;

REVOKE EXECUTE ON FUNCTION take_rate_limit(uuid, int) FROM public;

--! functions/take_rate_limit_permits
-- How take_rate_limit() counts under repeatable read and serializable; the table rate_limit_permits says why not in
-- rate_limits. What rate_limits has counted is added; where that has changed since the transaction's snapshot, which
-- happens only while callers of one user count in both ways at once, the call fails to serialize. Returns what was
-- granted, at most 1,000, and what both windows have used then.
CREATE FUNCTION take_rate_limit_permits(
    key uuid,
    owner uuid,
    wanted int,
    per_minute bigint,
    per_month bigint,
    recorded bigint,
    minute_start timestamptz,
    month_start timestamptz,
    month_end timestamptz,
    OUT granted int,
    OUT used_this_minute bigint,
    OUT used_this_month bigint
) RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    minute_end CONSTANT timestamptz := minute_start + interval '1 minute';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    counted_this_minute bigint;
    counted_this_month bigint;
    last bigint;
BEGIN
    PERFORM nextval('rate_limit_permits_seq');
    granted := 0;

    SELECT r.request_count INTO counted_this_minute
    FROM rate_limits AS r
    WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start
    FOR NO KEY UPDATE;
    used_this_minute := coalesce(counted_this_minute, 0);
    IF per_month IS NOT NULL THEN
        SELECT r.request_count INTO counted_this_month
        FROM rate_limits AS r
        WHERE r.user_id = owner AND r.window_start = month_start
        FOR NO KEY UPDATE;
        used_this_month := greatest(counted_this_month, recorded);
        IF per_month - used_this_month < greatest(1000, per_month / 10) THEN
            used_this_month := greatest(used_this_month, recorded_requests(owner, month_start, per_month));
        END IF;
        IF used_this_month >= per_month THEN
            RETURN;
        END IF;
    END IF;

    SELECT p.granted, p.last INTO granted, last
    FROM number_rate_limit_permits(
        key, 60, minute_start, minute_end, counted_this_minute, used_this_minute, per_minute, least(wanted, 1000)
    ) AS p;
    used_this_minute := last;
    IF per_month IS NOT NULL AND granted > 0 THEN
        SELECT p.granted, p.last INTO granted, last
        FROM number_rate_limit_permits(
            owner, month_seconds, month_start, month_end, counted_this_month, used_this_month, per_month, granted
        ) AS p;
        used_this_month := last;
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION take_rate_limit_permits(
    uuid, uuid, int, bigint, bigint, bigint, timestamptz, timestamptz, timestamptz
) FROM public;

--! triggers/api_keys
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
