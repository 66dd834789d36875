-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DO $$ BEGIN DROP TABLE IF EXISTS pg_temp.kept_rights; END $$;
CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    c.relname,
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('extra_quota', 'current_limits', 'monthly_usage_summary', 'quota_usage', 'miscounted_subscriptions') AND a.grantee <> c.relowner;

DROP VIEW miscounted_subscriptions;
DROP VIEW quota_usage;
DROP VIEW monthly_usage_summary;
DROP VIEW current_limits;
DROP VIEW extra_quota;

ALTER TABLE api_usage_deltas DROP CONSTRAINT api_usage_deltas_failures_add_up;
ALTER TABLE api_usage_deltas DROP COLUMN throttled_requests;
ALTER TABLE api_usage_deltas DROP COLUMN server_errors;
/* The table is now:
-- What the counting trigger queued and roll_up_usage() has not folded yet. Logged on purpose: an unlogged queue comes
-- back empty after a crash. Rows live for seconds, so vacuum goes by count and not by share. Every request writes one:
-- what can be derived is left out, and the order of the columns leaves no gaps between them.
CREATE TABLE api_usage_deltas (
    user_id uuid NOT NULL,
    api_key_id uuid,
    last_request_at timestamptz NOT NULL,
    total_response_time_ms bigint NOT NULL,
    month date NOT NULL,
    total_requests int NOT NULL,
    failed_requests int NOT NULL,
    max_response_time_ms int NOT NULL,
    CONSTRAINT api_usage_deltas_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT api_usage_deltas_counted CHECK (total_requests > 0 AND failed_requests BETWEEN 0 AND total_requests),
    CONSTRAINT api_usage_deltas_times_add_up CHECK (
        max_response_time_ms >= 0 AND total_response_time_ms BETWEEN 0 AND total_requests::bigint * max_response_time_ms
    ),
    CONSTRAINT api_usage_deltas_month_plausible CHECK (month >= '1970-01-01' AND month < '2200-01-01'),
    CONSTRAINT api_usage_deltas_times_plausible CHECK (
        last_request_at >= '1970-01-01 00:00:00+00' AND last_request_at < '2200-01-01 00:00:00+00'
    )
)
WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 20000
);
*/

ALTER TABLE monthly_usage_totals DROP CONSTRAINT monthly_usage_totals_failures_add_up;
ALTER TABLE monthly_usage_totals DROP COLUMN throttled_requests;
ALTER TABLE monthly_usage_totals DROP COLUMN server_errors;
/* The table is now:
-- Usage per user and calendar month (UTC), folded. Outlives the partitions it was counted from.
CREATE TABLE monthly_usage_totals (
    user_id uuid NOT NULL,
    month date NOT NULL,
    total_requests bigint NOT NULL,
    successful_requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    max_response_time_ms int NOT NULL,
    last_request_at timestamptz NOT NULL,
    CONSTRAINT monthly_usage_totals_pkey PRIMARY KEY (user_id, month),
    CONSTRAINT monthly_usage_totals_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT monthly_usage_totals_adds_up CHECK (total_requests = successful_requests + failed_requests)
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX monthly_usage_totals_month ON monthly_usage_totals (month, total_requests DESC);
*/

ALTER TABLE rate_limits DROP COLUMN refused_count;
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

-- Counts up to n requests of a key at once, for a server that checks thousands a second: it hands them out by itself
-- until expires_at, at most five seconds and never beyond the minute in which they were counted. So no window is used
-- beyond its limit, a key that is revoked meanwhile is served for five seconds at most, and a permit that is not used
-- stays counted. Returns one row: how many were granted, as many as the tighter window has room for, until when (NULL
-- when none was), and the reason as check_rate_limit() gives it.
CREATE OR REPLACE FUNCTION lease_rate_limit(api_key_id uuid, n int)
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

DROP FUNCTION recorded_requests;

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

DROP FUNCTION take_rate_limit;

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

DROP FUNCTION take_rate_limit_permits;

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

-- Exact usage per user and calendar month (UTC): what is folded plus what is still queued. Times beyond what a bigint
-- holds stop at its end.
CREATE VIEW monthly_usage_summary AS
SELECT
    counted.user_id,
    counted.month,
    sum(counted.total_requests)::bigint AS total_requests,
    sum(counted.successful_requests)::bigint AS successful_requests,
    sum(counted.failed_requests)::bigint AS failed_requests,
    least(sum(counted.total_response_time_ms), 9223372036854775807)::bigint AS total_response_time_ms,
    max(counted.max_response_time_ms) AS max_response_time_ms,
    max(counted.last_request_at) AS last_request_at
FROM (
    SELECT
        t.user_id,
        t.month,
        t.total_requests,
        t.successful_requests,
        t.failed_requests,
        t.total_response_time_ms,
        t.max_response_time_ms,
        t.last_request_at
    FROM monthly_usage_totals AS t
    UNION ALL
    SELECT
        d.user_id,
        d.month,
        d.total_requests,
        d.total_requests - d.failed_requests AS successful_requests,
        d.failed_requests,
        d.total_response_time_ms,
        d.max_response_time_ms,
        d.last_request_at
    FROM api_usage_deltas AS d
) AS counted
GROUP BY counted.user_id, counted.month;

-- The live subscriptions whose usage_count is not their user's requests of this calendar month (UTC), queued ones
-- included, as far as the column counts; and what it should be.
CREATE VIEW miscounted_subscriptions AS
SELECT
    s.id,
    least(coalesce(m.total_requests, 0), 1000000000000000) AS requests
FROM live_subscriptions AS s
LEFT JOIN monthly_usage_summary AS m
    ON s.user_id = m.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
WHERE s.usage_count <> least(coalesce(m.total_requests, 0), 1000000000000000);

DROP TRIGGER audit ON usage_corrections;
DROP TRIGGER refuse_truncate ON usage_corrections;
DROP TRIGGER refuse_change ON usage_corrections;
DROP TRIGGER count_correction ON usage_corrections;
DROP TRIGGER number_correction ON usage_corrections;
DROP TRIGGER check_key ON usage_corrections;

DROP TRIGGER audit ON entitlement_grants;
DROP TRIGGER check_key ON entitlement_grants;

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION correct_usage;

DROP TABLE usage_corrections;

DROP TABLE quota_rule;

DROP TABLE entitlement_grants;

DROP FUNCTION refuse_usage_correction_change;

DROP FUNCTION refuse_key_of_another;

DROP FUNCTION number_usage_correction;

DROP FUNCTION count_usage_correction;

--!
DO $$
DECLARE
    kept record;
BEGIN
    -- A view that is gone has no rights.
    FOR kept IN SELECT k.statement FROM kept_rights AS k WHERE to_regclass(quote_ident(k.relname)) IS NOT NULL LOOP
        EXECUTE kept.statement;
    END LOOP;
    -- Another migration of this transaction may keep rights, too.
    DROP TABLE kept_rights;
END
$$;
