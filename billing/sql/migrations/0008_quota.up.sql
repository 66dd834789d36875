-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/api_usage_deltas
ALTER TABLE api_usage_deltas ADD COLUMN throttled_requests int NOT NULL DEFAULT 0;
ALTER TABLE api_usage_deltas ADD COLUMN server_errors int NOT NULL DEFAULT 0;
ALTER TABLE api_usage_deltas ADD CONSTRAINT api_usage_deltas_failures_add_up CHECK ( throttled_requests >= 0 AND server_errors >= 0 AND throttled_requests::bigint + server_errors <= failed_requests ) NOT VALID;
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
    throttled_requests int NOT NULL DEFAULT 0,
    server_errors int NOT NULL DEFAULT 0,
    CONSTRAINT api_usage_deltas_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT api_usage_deltas_counted CHECK (total_requests > 0 AND failed_requests BETWEEN 0 AND total_requests),
    CONSTRAINT api_usage_deltas_failures_add_up CHECK (
        throttled_requests >= 0 AND server_errors >= 0
        AND throttled_requests::bigint + server_errors <= failed_requests
    ),
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

--! tables/entitlement_grants
-- What a customer may use beyond their plan from starts_at until before ends_at: so many requests more in each calendar
-- month (UTC) that it touches, while it is in force, and so many more a minute and key. Without an api_key_id it holds
-- for all of the customer's keys, else for that one alone. It ends by itself; to end it early is to bring ends_at
-- forward. Of an unlimited plan it changes the minute only.
CREATE TABLE entitlement_grants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT entitlement_grants_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    api_key_id uuid CONSTRAINT entitlement_grants_api_key_id_fkey REFERENCES api_keys (id) ON DELETE CASCADE,
    extra_requests bigint NOT NULL DEFAULT 0,
    extra_per_minute int NOT NULL DEFAULT 0,
    starts_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz NOT NULL,
    reason text NOT NULL CONSTRAINT entitlement_grants_reason_given CHECK (reason <> ''),
    granted_by text NOT NULL DEFAULT coalesce(nullif(current_setting('app.actor', true), ''), session_user)
    CONSTRAINT entitlement_grants_granted_by_given CHECK (granted_by <> ''),
    -- Granted once under it: the form that was sent, or the change of plan that keeps the rest of an old limit.
    idempotency_key text CONSTRAINT entitlement_grants_idempotency_key_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT entitlement_grants_ends_after_start CHECK (ends_at > starts_at),
    CONSTRAINT entitlement_grants_not_negative CHECK (extra_requests >= 0 AND extra_per_minute >= 0),
    CONSTRAINT entitlement_grants_something_granted CHECK (extra_requests > 0 OR extra_per_minute > 0),
    CONSTRAINT entitlement_grants_possible CHECK (
        extra_requests <= 1000000000000000 AND extra_per_minute <= 1000000000
    ),
    CONSTRAINT entitlement_grants_ids_short CHECK (octet_length(idempotency_key) <= 255),
    CONSTRAINT entitlement_grants_texts_bounded CHECK (
        octet_length(reason) <= 8192 AND octet_length(granted_by) <= 800
    ),
    CONSTRAINT entitlement_grants_times_plausible CHECK (
        least(starts_at, ends_at, created_at) >= '1970-01-01 00:00:00+00'
        AND greatest(starts_at, ends_at, created_at) < '2200-01-01 00:00:00+00'
    )
);

-- What is in force, for every check of a limit: what has ended is not looked at.
CREATE INDEX entitlement_grants_in_force ON entitlement_grants (user_id, ends_at)
INCLUDE (starts_at, api_key_id, extra_requests, extra_per_minute);
CREATE INDEX entitlement_grants_api_key_id ON entitlement_grants (api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX entitlement_grants_created_at ON entitlement_grants (created_at);

--! tables/monthly_usage_totals
ALTER TABLE monthly_usage_totals ADD COLUMN throttled_requests bigint NOT NULL DEFAULT 0;
ALTER TABLE monthly_usage_totals ADD COLUMN server_errors bigint NOT NULL DEFAULT 0;
ALTER TABLE monthly_usage_totals ADD CONSTRAINT monthly_usage_totals_failures_add_up CHECK ( throttled_requests >= 0 AND server_errors >= 0 AND throttled_requests + server_errors <= failed_requests ) NOT VALID;
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
    -- Of those that failed: answered with 429, and with 5xx.
    throttled_requests bigint NOT NULL DEFAULT 0,
    server_errors bigint NOT NULL DEFAULT 0,
    CONSTRAINT monthly_usage_totals_pkey PRIMARY KEY (user_id, month),
    CONSTRAINT monthly_usage_totals_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT monthly_usage_totals_adds_up CHECK (total_requests = successful_requests + failed_requests),
    CONSTRAINT monthly_usage_totals_failures_add_up CHECK (
        throttled_requests >= 0 AND server_errors >= 0 AND throttled_requests + server_errors <= failed_requests
    )
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX monthly_usage_totals_month ON monthly_usage_totals (month, total_requests DESC);
*/

--! tables/quota_rule
-- Which requests count against a month's limit, in its one row, as the setting QUOTA_COUNTS said at the last migrate:
-- all of them, or those that were served, which are not answered with 429 or 5xx.
CREATE TABLE quota_rule (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT quota_rule_one_row CHECK (only_row),
    counts text NOT NULL CONSTRAINT quota_rule_counts_known CHECK (counts IN ('all', 'served'))
);

INSERT INTO quota_rule (counts) VALUES ('all');

--! tables/rate_limits
ALTER TABLE rate_limits ADD COLUMN refused_count bigint DEFAULT 0;
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
    -- Of a month: requests that were refused, which are recorded with 429 and were not counted. NULL once permits were
    -- leased, as who has them refuses by itself.
    refused_count bigint DEFAULT 0,
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

--! tables/usage_corrections
-- Requests of a customer's month (UTC) that are to count more or fewer than were recorded, signed: what was counted is
-- never changed. They enter where use is held against a limit or told to a customer, see quota_usage, and no statistics
-- of requests. Append-only: what is wrong is corrected by another one, counted by "number"; they go only with their
-- customer. The key says which one it was about, and changes nothing.
CREATE TABLE usage_corrections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT usage_corrections_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    month date NOT NULL,
    number int NOT NULL DEFAULT 0,
    api_key_id uuid,
    requests bigint NOT NULL,
    reason text NOT NULL CONSTRAINT usage_corrections_reason_given CHECK (reason <> ''),
    made_by text NOT NULL DEFAULT coalesce(nullif(current_setting('app.actor', true), ''), session_user)
    CONSTRAINT usage_corrections_made_by_given CHECK (made_by <> ''),
    -- Made once under it: the form that was sent.
    idempotency_key text CONSTRAINT usage_corrections_idempotency_key_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Two at once with the same number of an old snapshot: neither knows of the other, so one fails.
    CONSTRAINT usage_corrections_number_key UNIQUE (user_id, month, number),
    CONSTRAINT usage_corrections_number_positive CHECK (number > 0),
    CONSTRAINT usage_corrections_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT usage_corrections_month_plausible CHECK (month >= '1970-01-01' AND month < '2200-01-01'),
    CONSTRAINT usage_corrections_requests_possible CHECK (
        requests <> 0 AND requests BETWEEN -1000000000000000 AND 1000000000000000
    ),
    CONSTRAINT usage_corrections_ids_short CHECK (octet_length(idempotency_key) <= 255),
    CONSTRAINT usage_corrections_texts_bounded CHECK (octet_length(reason) <= 8192 AND octet_length(made_by) <= 800),
    CONSTRAINT usage_corrections_times_plausible CHECK (
        created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX usage_corrections_month ON usage_corrections (month);
CREATE INDEX usage_corrections_created_at ON usage_corrections (created_at);

--! functions/correct_usage
-- Corrects what a customer has used of a month, named by its first day (UTC), by so many requests more or, negative,
-- fewer; returns what counts then. Never below nothing. The reason goes into the audit log; the key says which one it
-- was about, and may be NULL. Under an idempotency key that was used before nothing is corrected again, and NULL
-- returned.
CREATE FUNCTION correct_usage(
    user_id uuid,
    month date,
    requests bigint,
    reason text,
    api_key_id uuid DEFAULT NULL,
    idempotency_key text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF correct_usage.user_id IS NULL OR correct_usage.month IS NULL OR coalesce(correct_usage.requests, 0) = 0
        OR coalesce(btrim(correct_usage.reason), '') = ''
    THEN
        RAISE EXCEPTION 'correct_usage: a customer, a month, requests other than 0 and a reason are needed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF extract(DAY FROM correct_usage.month) <> 1::numeric THEN
        RAISE EXCEPTION 'correct_usage: % is not the first day of a month', correct_usage.month
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM users AS u WHERE u.id = correct_usage.user_id) THEN
        RAISE EXCEPTION 'correct_usage: there is no customer %', correct_usage.user_id
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO usage_corrections (user_id, month, requests, reason, api_key_id, idempotency_key)
    VALUES (
        correct_usage.user_id,
        correct_usage.month,
        correct_usage.requests,
        correct_usage.reason,
        correct_usage.api_key_id,
        correct_usage.idempotency_key
    )
    ON CONFLICT ON CONSTRAINT usage_corrections_idempotency_key_key DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT q.used_requests
        FROM quota_usage AS q
        WHERE q.user_id = correct_usage.user_id AND q.month = correct_usage.month
    );
END
$$;

--! functions/count_api_usage
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
            max_response_time_ms, throttled_requests, server_errors
        )
        SELECT
            n.user_id,
            n.api_key_id,
            n.created_at,
            n.response_time_ms,
            pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date,
            1,
            (n.status_code OPERATOR(pg_catalog.>=) 400)::int,
            n.response_time_ms,
            (n.status_code OPERATOR(pg_catalog.=) 429)::int,
            (n.status_code OPERATOR(pg_catalog.>=) 500)::int
        FROM new_requests AS n;
        RETURN NULL;
    END IF;

    INSERT INTO public.api_usage_deltas (
        user_id, api_key_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests,
        max_response_time_ms, throttled_requests, server_errors
    )
    SELECT
        n.user_id,
        n.api_key_id,
        pg_catalog.max(n.created_at),
        pg_catalog.sum(n.response_time_ms),
        pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date AS month,
        pg_catalog.count(*),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.>=) 400),
        pg_catalog.max(n.response_time_ms),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.=) 429),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.>=) 500)
    FROM new_requests AS n
    GROUP BY n.user_id, n.api_key_id, pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date;
    RETURN NULL;
END
$$;

--! functions/count_usage_correction
-- Has usage_count follow a correction at once. A subscription that somebody else is changing is left to
-- sync_subscription_usage().
CREATE FUNCTION count_usage_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM set_config('app.counting', 'on', true);
    UPDATE subscriptions AS s
    SET usage_count = own.requests, usage_synced_at = now()
    FROM (
        SELECT l.id, m.requests
        FROM subscriptions AS l
        INNER JOIN miscounted_subscriptions AS m ON m.id = l.id
        WHERE l.user_id = NEW.user_id
        FOR NO KEY UPDATE OF l SKIP LOCKED
    ) AS own
    WHERE s.id = own.id;
    PERFORM set_config('app.counting', '', true);
    RETURN NULL;
END
$$;

--! functions/lease_rate_limit
-- Counts up to n requests of a key at once, for a server that checks thousands a second: it hands them out by itself
-- until expires_at, at most five seconds, and never beyond the minute in which they were counted, or extra quota that
-- made room for them. So no window is used beyond its limit, a key that is revoked meanwhile is served for five seconds
-- at most, and a permit that is not used stays counted. Returns one row: how many were granted, as many as the tighter
-- window has room for, until when (NULL when none was), and the reason as check_rate_limit() gives it.
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
        expires_at := least(clock_timestamp() + interval '5 seconds', taken.serve_until);
    END IF;
    RETURN NEXT;
END
$$;

REVOKE EXECUTE ON FUNCTION lease_rate_limit(uuid, int) FROM public;

--! functions/number_usage_correction
-- Gives a correction its number among those of its customer's month, and refuses one of a month that has not begun and
-- one that would leave less than nothing. Those of one customer queue behind each other until their transactions end.
CREATE FUNCTION number_usage_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    used numeric;
BEGIN
    IF NEW.month > this_month THEN
        RAISE EXCEPTION 'usage_corrections: the month % has not begun', to_char(NEW.month, 'YYYY-MM')
            USING ERRCODE = 'check_violation',
                  HINT = format('It is %s or earlier, in UTC.', to_char(this_month, 'YYYY-MM'));
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(format('usage_corrections %s', NEW.user_id), 0));
    NEW.number := 1 + (
        SELECT count(*) FROM usage_corrections AS c WHERE c.user_id = NEW.user_id AND c.month = NEW.month
    );
    used := coalesce(
        (
            SELECT q.counted_requests::numeric + q.corrected_requests::numeric
            FROM quota_usage AS q
            WHERE q.user_id = NEW.user_id AND q.month = NEW.month
        ), 0
    );
    IF NEW.requests < 0 AND used + NEW.requests::numeric < 0::numeric THEN
        RAISE EXCEPTION 'usage_corrections: % of % counts % requests, from which % cannot be taken',
            to_char(NEW.month, 'YYYY-MM'), NEW.user_id, used, -NEW.requests::numeric
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

--! functions/recorded_requests
DROP FUNCTION recorded_requests;

-- The requests of a user that were recorded in the month that begins then, what is not folded yet included, and how
-- many of them do not count; for take_rate_limit(), which asks only once the month has room for less than a tenth of
-- its limit or for less than 1,000: the queue has no index, as that would cost every insert, and reading it costs
-- milliseconds. Until then a request that nobody checked counts when it is folded, within a minute. Under a limit of
-- 1,000 the rows themselves are few, have an index, and are counted up to that limit.
--
-- Where quota_rule leaves out what was not served, 5xx is recorded and does not count. Of what was answered with 429,
-- as many as were `refused` were never counted, and so are not among the recorded; what was answered so beyond them had
-- been allowed, and does not count. Where it is not known how many were refused (NULL), all are taken for refused.
CREATE FUNCTION recorded_requests(
    owner uuid,
    month_start timestamptz,
    monthly_limit bigint,
    refused bigint,
    OUT recorded bigint,
    OUT uncounted bigint
) RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    only_served CONSTANT boolean := coalesce((SELECT r.counts = 'served' FROM quota_rule AS r), false);
    -- What was not served leaves room, so that there may be more rows than the limit.
    most_rows CONSTANT bigint := CASE WHEN only_served THEN 1000 ELSE greatest(monthly_limit, 0) END;
    answered_429 bigint;
    answered_5xx bigint;
BEGIN
    IF monthly_limit <= 1000 THEN
        SELECT
            count(*),
            count(*) FILTER (WHERE counted.status_code = 429),
            count(*) FILTER (WHERE counted.status_code >= 500)
        INTO recorded, answered_429, answered_5xx
        FROM (
            SELECT a.status_code
            FROM api_usage AS a
            WHERE a.user_id = owner AND a.created_at >= month_start AND a.created_at < month_end
            LIMIT most_rows
        ) AS counted;
    END IF;
    IF monthly_limit > 1000 OR only_served AND recorded = most_rows THEN
        SELECT m.total_requests, m.throttled_requests, m.server_errors INTO recorded, answered_429, answered_5xx
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    END IF;
    recorded := coalesce(recorded, 0);
    uncounted := 0;
    IF only_served AND recorded > 0 THEN
        uncounted := answered_5xx + greatest(answered_429 - refused, 0);
        recorded := recorded - answered_429 + greatest(answered_429 - refused, 0);
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION recorded_requests(uuid, timestamptz, bigint, bigint) FROM public;

--! functions/refuse_key_of_another
-- A row that names a customer and a key of theirs names no key of somebody else's.
CREATE FUNCTION refuse_key_of_another() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM api_keys AS k WHERE k.id = NEW.api_key_id AND k.user_id = NEW.user_id) THEN
        RAISE EXCEPTION '%: customer % has no API key %', TG_TABLE_NAME, NEW.user_id, NEW.api_key_id
            USING ERRCODE = 'foreign_key_violation', HINT = 'Leave api_key_id empty for all keys of the customer.';
    END IF;
    RETURN NEW;
END
$$;

--! functions/refuse_usage_correction_change
-- Corrections of usage are append-only, whoever asks: what was wrong is corrected by another one. They go with their
-- customer, who is gone already when the cascade reaches them.
CREATE FUNCTION refuse_usage_correction_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM users AS u WHERE u.id = OLD.user_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'usage_corrections: rows are append-only'
        USING ERRCODE = 'insufficient_privilege',
              DETAIL = format('%s was refused.', TG_OP),
              HINT = 'Correct it by another row with the opposite sign.';
END
$$;

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
            max(q.last_request_at) AS last_request_at,
            sum(q.throttled_requests) AS throttled_requests,
            sum(q.server_errors) AS server_errors
        FROM queued AS q
        GROUP BY q.user_id, q.api_key_id, q.month
    ),
    totals AS (
        INSERT INTO monthly_usage_totals AS t (
            user_id, month, total_requests, successful_requests, failed_requests,
            total_response_time_ms, max_response_time_ms, last_request_at, throttled_requests, server_errors
        )
        SELECT
            c.user_id,
            c.month,
            sum(c.total_requests),
            sum(c.total_requests - c.failed_requests),
            sum(c.failed_requests),
            least(sum(c.total_response_time_ms), 9223372036854775807)::bigint,
            max(c.max_response_time_ms),
            max(c.last_request_at),
            sum(c.throttled_requests),
            sum(c.server_errors)
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
            last_request_at = greatest(t.last_request_at, excluded.last_request_at),
            throttled_requests = t.throttled_requests + excluded.throttled_requests,
            server_errors = t.server_errors + excluded.server_errors
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

--! functions/take_rate_limit
DROP FUNCTION take_rate_limit;

-- Counts up to `wanted` requests of a key, as many as the key's minute and its user's month have room for, and says
-- how many those were; for check_rate_limit() and lease_rate_limit() only, which say what the reasons mean. It runs
-- for every request, so it pins no search_path: its two callers do, and nobody else may call it.
--
-- Callers of one user queue behind each other until their transactions end, so that together they never pass a limit:
-- call it on its own. A month has used what was checked or what was recorded, whichever is more; see
-- recorded_requests() for when it asks. Extra quota, corrections of usage and requests that do not count by quota_rule
-- are room in a month; its counters know nothing of them. `serve_until` is when the minute or extra quota ends.
CREATE FUNCTION take_rate_limit(
    key uuid,
    wanted int,
    OUT granted int,
    OUT remaining bigint,
    OUT reset_at timestamptz,
    OUT reason text,
    OUT serve_until timestamptz
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();
    minute_start CONSTANT timestamptz := date_trunc('minute', moment);
    minute_end CONSTANT timestamptz := minute_start + interval '1 minute';
    month_start CONSTANT timestamptz := date_trunc('month', moment, 'UTC');
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    is_lease CONSTANT boolean := wanted > 1;
    owner uuid;
    per_minute bigint;
    per_month bigint;
    extra_per_minute bigint;
    extra_room bigint;
    used_this_minute bigint;
    used_this_month bigint;
    only_served boolean;
    recorded bigint;
    uncounted bigint;
    refused bigint;
    asked record;
    late bigint := 0;
    -- Counted by take_rate_limit_permits(), if ever a caller in this database was.
    has_permits CONSTANT boolean := pg_sequence_last_value('rate_limit_permits_seq') IS NOT NULL;
    permits_this_minute bigint := 0;
    permits_this_month bigint := 0;
BEGIN
    granted := 0;
    remaining := 0;
    SELECT
        k.user_id,
        e.rate_limit_per_minute,
        e.monthly_request_limit,
        coalesce(q.counts = 'served', false),
        coalesce(t.total_requests - CASE q.counts WHEN 'served' THEN t.throttled_requests ELSE 0 END, 0),
        coalesce(CASE q.counts WHEN 'served' THEN t.server_errors END, 0),
        coalesce(g.extra_per_minute, 0),
        coalesce(g.extra_requests, 0) - coalesce(c.requests, 0),
        least(g.ends_at, minute_end)
    INTO owner, per_minute, per_month, only_served, recorded, uncounted, extra_per_minute, extra_room, serve_until
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN quota_rule AS q ON true
    LEFT JOIN entitlements AS e ON e.user_id = k.user_id
    LEFT JOIN monthly_usage_totals AS t ON t.user_id = k.user_id AND t.month = (month_start AT TIME ZONE 'UTC')::date
    LEFT JOIN LATERAL (
        SELECT
            sum(f.extra_requests) AS extra_requests,
            sum(f.extra_per_minute) AS extra_per_minute,
            min(f.ends_at) AS ends_at
        FROM entitlement_grants AS f
        WHERE f.user_id = k.user_id
            AND f.ends_at > moment
            AND f.starts_at <= moment
            AND (f.api_key_id IS NULL OR f.api_key_id = k.id)
    ) AS g ON true
    LEFT JOIN LATERAL (
        SELECT sum(f.requests) AS requests
        FROM usage_corrections AS f
        WHERE f.user_id = k.user_id AND f.month = (month_start AT TIME ZONE 'UTC')::date
    ) AS c ON true
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
    per_minute := per_minute + extra_per_minute;
    per_month := per_month + least(extra_room + uncounted, 9223372036854775807 - per_month);

    PERFORM pg_advisory_xact_lock(hashtextextended(format('check_rate_limit %s', owner), 0));
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        SELECT t.granted, t.used_this_minute, t.used_this_month, t.per_month
        INTO granted, used_this_minute, used_this_month, per_month
        FROM take_rate_limit_permits(
            key, owner, wanted, per_minute, per_month, recorded, uncounted, minute_start, month_start, month_end
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
            SET request_count = greatest(r.request_count, recorded - permits_this_month) + wanted,
                refused_count = CASE WHEN NOT is_lease THEN r.refused_count END
            WHERE r.user_id = owner AND r.window_start = month_start
            RETURNING r.request_count + permits_this_month, r.refused_count INTO used_this_month, refused;
            IF NOT FOUND THEN
                used_this_month := greatest(recorded, permits_this_month) + wanted;
                refused := CASE WHEN NOT is_lease THEN 0 END;
                INSERT INTO rate_limits (
                    api_key_id, window_start, window_seconds, request_count, expires_at, user_id, refused_count
                )
                VALUES (
                    key, month_start, month_seconds, used_this_month - permits_this_month, month_end, owner, refused
                )
                -- The key had another owner, who goes on from what was recorded.
                ON CONFLICT (api_key_id, window_seconds, window_start)
                DO UPDATE SET
                    request_count = excluded.request_count,
                    user_id = excluded.user_id,
                    refused_count = excluded.refused_count;
            END IF;
            IF per_month - used_this_month < greatest(1000, per_month / 10) THEN
                -- Who counts by permits refuses without a count.
                asked := recorded_requests(owner, month_start, per_month, CASE WHEN NOT has_permits THEN refused END);
                late := greatest(asked.recorded - (used_this_month - wanted), 0);
                used_this_month := used_this_month + late;
                per_month := per_month + asked.uncounted - uncounted;
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
            UPDATE rate_limits AS r
            SET request_count = r.request_count - (wanted - granted) + late,
                refused_count = r.refused_count + CASE WHEN only_served THEN wanted - granted ELSE 0 END
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
DROP FUNCTION take_rate_limit_permits;

-- How take_rate_limit() counts under repeatable read and serializable; the table rate_limit_permits says why not in
-- rate_limits. What rate_limits has counted is added; where that has changed since the transaction's snapshot, which
-- happens only while callers of one user count in both ways at once, the call fails to serialize. Returns what was
-- granted, at most 1,000, what both windows have used then, and the month's limit with the room that requests leave
-- which do not count, as many as there are by now.
CREATE FUNCTION take_rate_limit_permits(
    key uuid,
    owner uuid,
    wanted int,
    per_minute bigint,
    INOUT per_month bigint,
    recorded bigint,
    uncounted bigint,
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
    asked record;
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
            asked := recorded_requests(owner, month_start, per_month, NULL);
            used_this_month := greatest(used_this_month, asked.recorded);
            per_month := per_month + asked.uncounted - uncounted;
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
    uuid, uuid, int, bigint, bigint, bigint, bigint, timestamptz, timestamptz, timestamptz
) FROM public;

--! views/extra_quota
-- What each customer may use beyond the plan now, with any key. What was granted to one key is left out: it is that
-- key's alone.
CREATE VIEW extra_quota AS
SELECT
    g.user_id,
    least(sum(g.extra_requests), 1000000000000000)::bigint AS extra_requests,
    least(sum(g.extra_per_minute), 1000000000)::int AS extra_per_minute
FROM entitlement_grants AS g
WHERE g.api_key_id IS NULL AND g.starts_at <= statement_timestamp() AND g.ends_at > statement_timestamp()
GROUP BY g.user_id;

--! views/current_limits
-- What holds for each customer with a live subscription now: its entitlements, with the extra quota that is in force
-- for all of the customer's keys. A NULL monthly_request_limit is unlimited.
CREATE VIEW current_limits AS
SELECT
    e.subscription_id,
    e.user_id,
    e.tier,
    e.is_entitled,
    e.monthly_request_limit + least(
        coalesce(
            (
                SELECT x.extra_requests
                FROM extra_quota AS x
                WHERE x.user_id = e.user_id
            ), 0
        ), 9223372036854775807 - e.monthly_request_limit
    ) AS monthly_request_limit,
    e.rate_limit_per_minute + least(
        coalesce(
            (
                SELECT x.extra_per_minute
                FROM extra_quota AS x
                WHERE x.user_id = e.user_id
            ), 0
        ), 2147483647 - e.rate_limit_per_minute
    ) AS rate_limit_per_minute
FROM entitlements AS e;

--! views/monthly_usage_summary
-- Exact usage per user and calendar month (UTC): what is folded plus what is still queued. Times beyond what a bigint
-- holds stop at its end. Of the failed requests throttled_requests were answered with 429, server_errors with 5xx.
CREATE OR REPLACE VIEW monthly_usage_summary AS
SELECT
    counted.user_id,
    counted.month,
    sum(counted.total_requests)::bigint AS total_requests,
    sum(counted.successful_requests)::bigint AS successful_requests,
    sum(counted.failed_requests)::bigint AS failed_requests,
    least(sum(counted.total_response_time_ms), 9223372036854775807)::bigint AS total_response_time_ms,
    max(counted.max_response_time_ms) AS max_response_time_ms,
    max(counted.last_request_at) AS last_request_at,
    sum(counted.throttled_requests)::bigint AS throttled_requests,
    sum(counted.server_errors)::bigint AS server_errors
FROM (
    SELECT
        t.user_id,
        t.month,
        t.total_requests,
        t.successful_requests,
        t.failed_requests,
        t.total_response_time_ms,
        t.max_response_time_ms,
        t.last_request_at,
        t.throttled_requests,
        t.server_errors
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
        d.last_request_at,
        d.throttled_requests,
        d.server_errors
    FROM api_usage_deltas AS d
) AS counted
GROUP BY counted.user_id, counted.month;

--! views/quota_usage
-- What counts against each customer's limit of a calendar month (UTC): the requests that quota_rule counts, and with
-- them what was corrected. After a change of the rule that may be less than nothing, which is nothing.
CREATE VIEW quota_usage AS
SELECT
    c.user_id,
    c.month,
    sum(c.counted)::bigint AS counted_requests,
    sum(c.corrected)::bigint AS corrected_requests,
    greatest(sum(c.counted) + sum(c.corrected), 0)::bigint AS used_requests
FROM (
    SELECT
        m.user_id,
        m.month,
        m.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
            WHEN 'served' THEN m.throttled_requests + m.server_errors
            ELSE 0
        END AS counted,
        0 AS corrected
    FROM monthly_usage_summary AS m
    UNION ALL
    SELECT
        u.user_id,
        u.month,
        0 AS counted,
        u.requests AS corrected
    FROM usage_corrections AS u
) AS c
GROUP BY c.user_id, c.month;

--! views/miscounted_subscriptions
-- The live subscriptions whose usage_count is not what counts against their user's limit of this calendar month (UTC),
-- queued requests included, as far as the column counts; and what it should be.
CREATE OR REPLACE VIEW miscounted_subscriptions AS
SELECT
    s.id,
    least(coalesce(m.used_requests, 0), 1000000000000000) AS requests
FROM live_subscriptions AS s
LEFT JOIN quota_usage AS m
    ON s.user_id = m.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
WHERE s.usage_count <> least(coalesce(m.used_requests, 0), 1000000000000000);

--! triggers/entitlement_grants
CREATE TRIGGER check_key BEFORE INSERT OR UPDATE OF user_id, api_key_id ON entitlement_grants
FOR EACH ROW WHEN (new.api_key_id IS NOT NULL)
EXECUTE FUNCTION refuse_key_of_another();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON entitlement_grants
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/usage_corrections
CREATE TRIGGER check_key BEFORE INSERT ON usage_corrections
FOR EACH ROW WHEN (new.api_key_id IS NOT NULL)
EXECUTE FUNCTION refuse_key_of_another();

CREATE TRIGGER number_correction BEFORE INSERT ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION number_usage_correction();

CREATE TRIGGER count_correction AFTER INSERT ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION count_usage_correction();

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION refuse_usage_correction_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON usage_corrections
FOR EACH STATEMENT EXECUTE FUNCTION refuse_usage_correction_change();

CREATE TRIGGER audit AFTER INSERT OR DELETE ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');
