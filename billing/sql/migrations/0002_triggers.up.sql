-- The wall clock, not the transaction's: two changes in one transaction are two moments.
CREATE FUNCTION set_updated_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

-- Gives each new user the free tier, once per statement.
CREATE FUNCTION create_default_subscriptions() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO subscriptions (user_id, tier, status, current_period_start)
    SELECT n.id, 'free', 'active', n.created_at
    FROM new_users AS n
    WHERE n.status <> 'deleted'
    ORDER BY n.id
    ON CONFLICT (user_id) WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate
    DO NOTHING;
    RETURN NULL;
END
$$;

-- Fills what the writer of a subscription left open: the plan's limit, also after a change of tier that named no new
-- limit, and the moment of a cancellation.
CREATE FUNCTION complete_subscription() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF (TG_OP = 'INSERT' AND NEW.monthly_request_limit IS NULL)
        OR (TG_OP = 'UPDATE' AND NEW.tier <> OLD.tier
            AND NEW.monthly_request_limit IS NOT DISTINCT FROM OLD.monthly_request_limit)
    THEN
        NEW.monthly_request_limit := (SELECT p.monthly_request_limit FROM plans AS p WHERE p.tier = NEW.tier);
    END IF;
    IF NEW.status = 'canceled' AND NEW.canceled_at IS NULL THEN
        NEW.canceled_at := now();
    END IF;
    RETURN NEW;
END
$$;

-- An ORM's save() writes back the counters as they were when it read the row. Only the fold, which sets app.counting
-- and is let through by the trigger's condition, moves them; anybody else's value is ignored.
CREATE FUNCTION guard_api_key_counters() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.usage_count := OLD.usage_count;
    NEW.last_used_at := OLD.last_used_at;
    RETURN NEW;
END
$$;

-- As guard_api_key_counters(), for the usage that sync_subscription_usage() maintains.
CREATE FUNCTION guard_subscription_counters() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.usage_count := OLD.usage_count;
    NEW.usage_synced_at := OLD.usage_synced_at;
    RETURN NEW;
END
$$;

CREATE FUNCTION keep_api_key_revoked() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'api_keys: a revoked key stays revoked'
        USING ERRCODE = 'check_violation', DETAIL = format('Key %s was revoked at %s.', OLD.key_prefix, OLD.revoked_at),
              HINT = 'Create a new key instead.';
END
$$;

-- Writes who changed a row, and only what changed, into audit_log. The argument names the table's key column. Actor,
-- reason and request id come from the settings app.actor, app.reason and app.request_id; without an actor the
-- session's role stands. Counters and updated_at are no changes; secrets and hashes are masked.
CREATE FUNCTION audit_row_change() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    key text := coalesce(after, before) ->> TG_ARGV[0];
    not_audited CONSTANT text[] := ARRAY['updated_at', 'usage_count', 'last_used_at', 'usage_synced_at'];
    secret CONSTANT text := '(hash|secret|password|token)';
    old_values jsonb;
    new_values jsonb;
BEGIN
    SELECT
        jsonb_object_agg(c.name, CASE WHEN c.name ~ secret THEN '"[masked]"' ELSE before -> c.name END)
            FILTER (WHERE jsonb_typeof(before -> c.name) <> 'null' OR TG_OP = 'UPDATE'),
        jsonb_object_agg(c.name, CASE WHEN c.name ~ secret THEN '"[masked]"' ELSE after -> c.name END)
            FILTER (WHERE jsonb_typeof(after -> c.name) <> 'null' OR TG_OP = 'UPDATE')
    INTO old_values, new_values
    FROM jsonb_object_keys(coalesce(after, before)) AS c (name)
    WHERE c.name <> ALL (not_audited) AND before -> c.name IS DISTINCT FROM after -> c.name;

    IF TG_OP = 'UPDATE' AND new_values IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_log (actor, action, table_name, row_id, old_values, new_values, reason, request_id)
    VALUES (
        coalesce(nullif(current_setting('app.actor', true), ''), session_user),
        lower(TG_OP),
        TG_TABLE_NAME,
        key,
        CASE WHEN TG_OP <> 'INSERT' THEN old_values END,
        CASE WHEN TG_OP <> 'DELETE' THEN new_values END,
        nullif(current_setting('app.reason', true), ''),
        nullif(current_setting('app.request_id', true), '')
    );
    RETURN NULL;
END
$$;

-- Only retention and the draining of the default partition, run by the table's owner, may remove rows; they set
-- app.audit_retention for their own duration.
CREATE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND current_setting('app.audit_retention', true) = 'on'
        AND pg_has_role((SELECT c.relowner FROM pg_class AS c WHERE c.oid = TG_RELID), 'USAGE')
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s on %s was refused.', TG_OP, TG_TABLE_NAME);
END
$$;

-- What was counted cannot be changed afterwards: the totals could not follow, as a maximum cannot be taken back.
CREATE FUNCTION refuse_usage_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'api_usage: a counted request does not change'
        USING ERRCODE = 'check_violation',
              DETAIL = 'user_id, api_key_id, status_code, response_time_ms and created_at are in the monthly totals.';
END
$$;

-- Queues what a statement added to api_usage, and never waits for another writer: no shared row is touched until
-- roll_up_usage() folds the queue. monthly_usage_summary adds the queue to the totals, so it is exact at once.
--
-- This runs for every insert, so two things are left out. Up to a hundred rows are queued one by one, as grouping them
-- would cost more than it saves; only a larger statement is grouped. And a qualified name needs no SET search_path,
-- which alone costs a tenth of an insert's throughput.
CREATE FUNCTION count_api_usage() RETURNS trigger
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
            date_trunc('month', n.created_at AT TIME ZONE 'UTC')::date,
            1,
            (n.status_code >= 400)::int,
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
        max(n.created_at),
        sum(n.response_time_ms),
        date_trunc('month', n.created_at AT TIME ZONE 'UTC')::date AS month,
        count(*),
        count(*) FILTER (WHERE n.status_code >= 400),
        max(n.response_time_ms)
    FROM new_requests AS n
    GROUP BY n.user_id, n.api_key_id, date_trunc('month', n.created_at AT TIME ZONE 'UTC')::date;
    RETURN NULL;
END
$$;

-- Folds the queue of counted requests into monthly_usage_totals and into the keys' usage_count and last_used_at;
-- returns how many queued rows were folded. One statement deletes and adds, so nothing is counted twice or lost; a
-- second caller waits and folds what is left. A key that somebody else is changing is left for the next call, so that
-- the fold never takes part in a deadlock; monthly_usage_summary is exact all the same. The memory is for half a
-- million queued rows: in temporary files the fold takes a fifth longer.
CREATE FUNCTION roll_up_usage() RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET work_mem = '64MB'
AS $$
DECLARE
    folded bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('roll_up_usage', 0));
    IF NOT EXISTS (SELECT 1 FROM api_usage_deltas) THEN
        RETURN 0;
    END IF;

    -- Set here and not in the function's header, which only a superuser may do.
    PERFORM set_config('app.counting', 'on', true);
    WITH keys AS MATERIALIZED (
        SELECT k.id
        FROM api_keys AS k
        WHERE k.id IN (SELECT d.api_key_id FROM api_usage_deltas AS d)
        ORDER BY k.id
        FOR NO KEY UPDATE SKIP LOCKED
    ),
    queued AS (
        DELETE FROM api_usage_deltas AS d
        WHERE d.api_key_id IS NULL
            OR d.api_key_id IN (SELECT keys.id FROM keys)
            OR NOT EXISTS (SELECT 1 FROM api_keys AS k WHERE k.id = d.api_key_id)
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
            sum(q.total_response_time_ms)::bigint AS total_response_time_ms,
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
            sum(c.total_response_time_ms),
            max(c.max_response_time_ms),
            max(c.last_request_at)
        FROM counted AS c
        GROUP BY c.user_id, c.month
        ON CONFLICT (user_id, month) DO UPDATE
        SET
            total_requests = t.total_requests + excluded.total_requests,
            successful_requests = t.successful_requests + excluded.successful_requests,
            failed_requests = t.failed_requests + excluded.failed_requests,
            total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
            max_response_time_ms = greatest(t.max_response_time_ms, excluded.max_response_time_ms),
            last_request_at = greatest(t.last_request_at, excluded.last_request_at)
    ),
    used AS (
        UPDATE api_keys AS k
        SET
            usage_count = k.usage_count + u.requests,
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
    PERFORM set_config('app.counting', '', true);
    RETURN folded;
END
$$;

-- Sets usage_count of every live subscription to its user's requests of this calendar month (UTC), queued ones
-- included; returns how many changed. usage_synced_at is when the count last moved.
CREATE FUNCTION sync_subscription_usage() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sync_subscription_usage', 0));

    PERFORM set_config('app.counting', 'on', true);
    WITH stale AS (
        SELECT s.id, coalesce(m.total_requests, 0) AS requests
        FROM subscriptions AS s
        LEFT JOIN monthly_usage_summary AS m
            ON m.user_id = s.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        WHERE s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
            AND s.usage_count <> coalesce(m.total_requests, 0)
        ORDER BY s.id
        FOR NO KEY UPDATE OF s
    )
    UPDATE subscriptions AS s
    SET usage_count = stale.requests, usage_synced_at = now()
    FROM stale
    WHERE s.id = stale.id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('app.counting', '', true);
    RETURN changed;
END
$$;

-- The partitions of a table that is partitioned by range of a timestamptz, with their bounds as the catalogue has
-- them; the default partition and half-detached ones are left out. An open bound is infinite.
CREATE FUNCTION monthly_partitions(parent regclass)
RETURNS TABLE (partition regclass, opens timestamptz, closes timestamptz)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
    SELECT
        i.inhrelid::regclass,
        coalesce(substring(b.bounds FROM 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
        coalesce(substring(b.bounds FROM 'TO \(''([^'']+)''\)')::timestamptz, 'infinity')
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS b (bounds)
    WHERE i.inhparent = parent AND NOT i.inhdetachpending AND b.bounds <> 'DEFAULT'
    ORDER BY 2
$$;

-- Makes the partition of one month (UTC) of api_usage or audit_log and moves the rows that waited for it in the
-- default partition. True when it was made, false when the month had one already. The caller holds the locks: see
-- create_monthly_partitions().
--
-- Rows move before the new table has its counting trigger, so they are not counted twice. ATTACH takes a weaker lock
-- on the parent than CREATE … PARTITION OF and does not stall readers.
CREATE FUNCTION create_monthly_partition(parent regclass, month date) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict error
DECLARE
    parent_name CONSTANT text := (SELECT c.relname FROM pg_class AS c WHERE c.oid = parent);
    partition_name CONSTANT text := parent_name || to_char(month, '"_"YYYY"_"MM');
    key_column CONSTANT text := CASE parent_name WHEN 'api_usage' THEN 'created_at' WHEN 'audit_log' THEN 'occurred_at' END;
    starts CONSTANT timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    ends CONSTANT timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF key_column IS NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: % is not partitioned by month', parent
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT 1 FROM monthly_partitions(parent) AS p WHERE p.opens <= starts AND p.closes >= ends) THEN
        RETURN false;
    END IF;
    IF to_regclass(quote_ident(partition_name)) IS NOT NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: table % exists but is no partition of %', partition_name, parent
            USING ERRCODE = 'duplicate_table', HINT = 'Attach it, rename it or drop it.';
    END IF;

    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition_name, parent_name);
    IF to_regclass(quote_ident(parent_name || '_default')) IS NOT NULL THEN
        PERFORM set_config('app.audit_retention', 'on', true);
        EXECUTE format(
            'WITH moved AS (DELETE FROM %1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *) INSERT INTO %5$I SELECT * FROM moved',
            parent_name || '_default', key_column, starts, ends, partition_name
        );
        PERFORM set_config('app.audit_retention', '', true);
    END IF;
    IF parent_name = 'api_usage' THEN
        EXECUTE format(
            'ALTER TABLE %I SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)',
            partition_name
        );
        EXECUTE format(
            'CREATE TRIGGER count_usage AFTER INSERT ON %I REFERENCING NEW TABLE AS new_requests'
            ' FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage()',
            partition_name
        );
    ELSE
        EXECUTE format(
            'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()',
            partition_name
        );
    END IF;
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent_name, partition_name, starts, ends
    );
    RETURN true;
END
$$;

-- Partitions of api_usage or audit_log for this month (UTC), for that many ahead, and for every month that has rows in
-- the default partition. Returns how many of this month and the ones ahead were made.
--
-- Attaching needs the default partition to itself for a moment. Writers are kept out of the parent meanwhile: one
-- that had chosen the default partition for its row would find, once let in, that the row belongs elsewhere, and fail.
-- A lock request that waits stalls everybody behind it, so each attempt gives up after 100 ms and lets them pass.
CREATE FUNCTION create_monthly_partitions(parent regclass, months int) RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    max_attempts CONSTANT int := 20;
    attempt int := 0;
    key_column CONSTANT text := CASE parent WHEN 'api_usage'::regclass THEN 'created_at' ELSE 'occurred_at' END;
    default_partition CONSTANT regclass := (SELECT nullif(t.partdefid, 0) FROM pg_partitioned_table AS t WHERE t.partrelid = parent);
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC');
    wanted CONSTANT date[] := ARRAY(
        SELECT (this_month + make_interval(months => n))::date FROM generate_series(0, months) AS n
    );
    waiting boolean := false;
    stray date[] := '{}';
    month date;
    made int := 0;
BEGIN
    IF default_partition IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', default_partition) INTO waiting;
    END IF;
    IF NOT waiting AND NOT EXISTS (
        SELECT 1
        FROM unnest(wanted) AS w (starts)
        WHERE NOT EXISTS (
            SELECT 1 FROM monthly_partitions(parent) AS p
            WHERE p.opens <= w.starts::timestamp AT TIME ZONE 'UTC'
                AND p.closes >= (w.starts + interval '1 month') AT TIME ZONE 'UTC'
        )
    ) THEN
        RETURN 0;
    END IF;

    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', parent);
            IF default_partition IS NOT NULL THEN
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', default_partition);
            END IF;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            attempt := attempt + 1;
            IF attempt = max_attempts THEN
                RAISE EXCEPTION '%: gave up after % attempts to lock its default partition', parent, attempt
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction reads or writes it; try again later.';
            END IF;
            PERFORM pg_sleep(least(0.05 * attempt, 0.5) * (0.5 + random()));
        END;
    END LOOP;

    IF default_partition IS NOT NULL THEN
        EXECUTE format(
            'SELECT coalesce(array_agg(DISTINCT date_trunc(''month'', %I AT TIME ZONE ''UTC'')::date), ''{}'') FROM %s',
            key_column, default_partition
        ) INTO stray;
    END IF;
    FOREACH month IN ARRAY wanted LOOP
        made := made + create_monthly_partition(parent, month)::int;
    END LOOP;
    FOREACH month IN ARRAY stray LOOP
        IF create_monthly_partition(parent, month) THEN
            RAISE NOTICE '%: made a partition for %, which had rows in the default partition', parent, to_char(month, 'YYYY-MM');
        END IF;
    END LOOP;
    RETURN made;
END
$$;

-- Makes the monthly partitions of api_usage for this month (UTC) and `months` ahead, 0 to 120, and moves the rows of
-- the default partition into partitions of their own. Returns how many of those months were missing; a second caller
-- waits.
CREATE FUNCTION create_api_usage_partitions(months int DEFAULT 3) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF months IS NULL OR months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'create_api_usage_partitions: months must be between 0 and 120, not %', coalesce(months::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    RETURN create_monthly_partitions('api_usage', months);
END
$$;

-- Makes the monthly partitions of audit_log for this month (UTC) and `months` ahead, 0 to 120, and moves the rows of
-- the default partition into partitions of their own. Returns how many of those months were missing; a second caller
-- waits.
CREATE FUNCTION create_audit_log_partitions(months int DEFAULT 3) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF months IS NULL OR months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'create_audit_log_partitions: months must be between 0 and 120, not %', coalesce(months::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    RETURN create_monthly_partitions('audit_log', months);
END
$$;

-- Claims an event for 15 minutes and counts the attempt. True to exactly one caller: for a pending event, one never
-- seen (a stub row is stored), a failed one that is due, or one whose lease ran out. An event whose eighth lease ran
-- out took its worker down every time: it is dead.
CREATE FUNCTION start_webhook_processing(event_id text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    lease CONSTANT interval := '15 minutes';
    max_attempts CONSTANT int := 8;
    claimed text;
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'start_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO stripe_webhook_events AS e (stripe_event_id, status, attempts, processing_started_at)
    VALUES (event_id, 'processing', 1, clock_timestamp())
    ON CONFLICT (stripe_event_id) DO UPDATE
    SET
        status = CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 'dead' ELSE 'processing' END,
        attempts = e.attempts + CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 0 ELSE 1 END,
        last_error = CASE
            WHEN e.status = 'processing' THEN format('The worker of attempt %s did not finish within %s.', e.attempts, lease)
            ELSE e.last_error
        END,
        next_retry_at = NULL,
        processing_started_at = clock_timestamp()
    WHERE e.status = 'pending'
        OR (e.status = 'failed' AND coalesce(e.next_retry_at, '-infinity') <= clock_timestamp())
        OR (e.status = 'processing' AND coalesce(e.processing_started_at, '-infinity') <= clock_timestamp() - lease)
    RETURNING e.status INTO claimed;

    RETURN coalesce(claimed = 'processing', false);
END
$$;

-- Ends the processing of an event: NULL error, processed; else failed, to be tried again after 1, 2, 4 … minutes (at
-- most 6 hours, plus up to half as jitter), and dead after 8 attempts. False when the event was not being processed.
CREATE FUNCTION complete_webhook_processing(event_id text, error text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    max_attempts CONSTANT int := 8;
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'complete_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE stripe_webhook_events AS e
    SET
        status = CASE WHEN error IS NULL THEN 'processed' WHEN e.attempts >= max_attempts THEN 'dead' ELSE 'failed' END,
        last_error = error,
        processed_at = CASE WHEN error IS NULL THEN clock_timestamp() END,
        next_retry_at = CASE
            WHEN error IS NOT NULL AND e.attempts < max_attempts THEN
                clock_timestamp() + least(interval '1 minute' * 2 ^ greatest(e.attempts - 1, 0), interval '6 hours') * (1 + random() / 2)
        END
    WHERE e.stripe_event_id = event_id AND e.status = 'processing';
    RETURN FOUND;
END
$$;

-- Sets failed events with fewer than max_attempts attempts back to pending, due or not, and returns them. Dead events
-- stay dead: replaying one is a decision about that event.
CREATE FUNCTION retry_failed_webhooks(max_attempts int DEFAULT 3)
RETURNS TABLE (stripe_event_id text, event_type text, attempts int)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF max_attempts IS NULL OR max_attempts < 1 THEN
        RAISE EXCEPTION 'retry_failed_webhooks: max_attempts must be at least 1, not %', coalesce(max_attempts::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('retry_failed_webhooks', 0));

    RETURN QUERY
    WITH retried AS (
        UPDATE stripe_webhook_events AS e
        SET status = 'pending', next_retry_at = NULL
        WHERE e.status = 'failed' AND e.attempts < max_attempts
        RETURNING e.stripe_event_id, e.event_type, e.attempts, e.received_at
    )
    SELECT r.stripe_event_id, r.event_type, r.attempts FROM retried AS r ORDER BY r.received_at, r.stripe_event_id;
END
$$;

-- Gives the free tier to every user who has a Stripe customer but no live subscription, deleted users excepted, and
-- returns them. A second call returns none. What Stripe has for them is reconciliation's business.
CREATE FUNCTION fix_orphaned_stripe_customers()
RETURNS TABLE (user_id uuid, email text, stripe_customer_id text, action text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fix_orphaned_stripe_customers', 0));

    RETURN QUERY
    WITH fixed AS (
        INSERT INTO subscriptions (user_id, tier, status, current_period_start)
        SELECT u.id, 'free', 'active', now()
        FROM users AS u
        WHERE u.stripe_customer_id IS NOT NULL
            AND u.status <> 'deleted'
            AND NOT EXISTS (
                SELECT 1
                FROM subscriptions AS s
                WHERE s.user_id = u.id
                    AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
                    AND NOT s.is_duplicate
            )
        ORDER BY u.id
        ON CONFLICT (user_id) WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate
        DO NOTHING
        RETURNING subscriptions.user_id
    )
    SELECT u.id, u.email, u.stripe_customer_id, 'created_free_subscription'
    FROM fixed AS f
    INNER JOIN users AS u ON u.id = f.user_id
    ORDER BY u.email;
END
$$;

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER default_subscription AFTER INSERT ON users
REFERENCING NEW TABLE AS new_users
FOR EACH STATEMENT EXECUTE FUNCTION create_default_subscriptions();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

-- Triggers fire in the order of their names: the guard and the completion come before set_updated_at compares the row.
CREATE TRIGGER complete_subscription BEFORE INSERT OR UPDATE OF tier, status, monthly_request_limit ON subscriptions
FOR EACH ROW EXECUTE FUNCTION complete_subscription();

CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, usage_synced_at ON subscriptions
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_subscription_counters();

-- Counting is no change of the subscription: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON subscriptions
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.usage_synced_at IS NOT DISTINCT FROM new.usage_synced_at
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the sync moves for every user: it must not pay for an audit.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, tier, status, stripe_subscription_id, stripe_price_id, quantity, price_cents, currency, "interval",
current_period_start, current_period_end, cancel_at_period_end, canceled_at, trial_end, is_duplicate,
monthly_request_limit, created_at
ON subscriptions
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

-- Triggers fire in the order of their names: the guard comes before set_updated_at compares the row.
CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, last_used_at ON api_keys
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_api_key_counters();

CREATE TRIGGER keep_revoked BEFORE UPDATE OF revoked_at ON api_keys
FOR EACH ROW WHEN (old.revoked_at IS NOT NULL AND new.revoked_at IS DISTINCT FROM old.revoked_at)
EXECUTE FUNCTION keep_api_key_revoked();

-- Being used is no change of the key: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON api_keys
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.last_used_at IS NOT DISTINCT FROM new.last_used_at
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the fold moves for every key that was used: it must not pay for an audit.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, name, environment, key_prefix, key_hash, expires_at, revoked_at, revoked_reason, created_at
ON api_keys
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON plans
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON plans
FOR EACH ROW EXECUTE FUNCTION audit_row_change('tier');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON plan_prices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON plan_prices
FOR EACH ROW EXECUTE FUNCTION audit_row_change('stripe_price_id');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON stripe_webhook_events
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

-- A statement on the parent fires only the parent's statement trigger, one straight into a partition only the
-- partition's: both have it, and nothing is counted twice. create_monthly_partition() adds it to new partitions.
CREATE TRIGGER count_usage AFTER INSERT ON api_usage
REFERENCING NEW TABLE AS new_requests
FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage();

CREATE TRIGGER count_usage AFTER INSERT ON api_usage_default
REFERENCING NEW TABLE AS new_requests
FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage();

CREATE TRIGGER keep_counted BEFORE UPDATE OF user_id, api_key_id, status_code, response_time_ms, created_at ON api_usage
FOR EACH ROW EXECUTE FUNCTION refuse_usage_change();

-- PostgreSQL clones the row trigger to every partition, but not the one for TRUNCATE.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log
FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_log_default
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- The monthly partitions that exist already.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT p.partition FROM monthly_partitions('api_usage') AS p LOOP
        EXECUTE format(
            'CREATE TRIGGER count_usage AFTER INSERT ON %s REFERENCING NEW TABLE AS new_requests'
            ' FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage()',
            partition
        );
    END LOOP;
    FOR partition IN SELECT p.partition FROM monthly_partitions('audit_log') AS p LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()',
            partition
        );
    END LOOP;
END
$$;
