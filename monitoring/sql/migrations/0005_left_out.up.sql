-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! functions/check_patience
-- How many milliseconds the first view that is locked may keep a reading of all waiting: the setting
-- app.check_patience_ms, up to a second, which it is without one that is a number.
CREATE OR REPLACE FUNCTION check_patience() RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        CASE
            WHEN current_setting('app.check_patience_ms', true) ~ '^[0-9]{1,4}$'
                THEN least(current_setting('app.check_patience_ms')::int, 1000)
            ELSE 1000
        END
$$;

--! functions/error_cause
-- What errors that differ in ids, names in quotes and numbers only have in common: their first line without quoted
-- values, paths of addresses, e-mail addresses, Stripe's ids, uuids, numbers of invoices, words with a digit, and
-- moments. One … stands for all that follow each other.
CREATE OR REPLACE FUNCTION error_cause(error text) RETURNS text
LANGUAGE plpgsql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
DECLARE
    cause text := left(split_part(btrim(coalesce(error, ''), E' \n'), E'\n', 1), 500);
    pattern text;
BEGIN
    -- What the first parentheses of each hold stays.
    FOREACH pattern IN ARRAY ARRAY[
        '(^|[\s(=:,])(''([^'']|''\w)*''(?!\w)|"[^"]*"|`[^`]*`|“[^”]*”|‘[^’]*’|«[^»]*»)',
        '(https?://[^\s/?#]+)\S*',
        '()[^\s@<>(),;:]+@[^\s@<>(),;:]+',
        '()\m[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\M',
        '()\m[A-Z0-9]{6,}-[0-9]+\M',
        '()\m[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}\M',
        '()\m[a-z]+_\w*[A-Z]\w*',
        '()\w*[0-9](\w|[.,:/+-]+\w)*'
    ]
    LOOP
        cause := regexp_replace(cause, pattern, '\1…', 'g');
    END LOOP;
    -- Few ids are left that have neither a digit nor a capital, and looking for them takes longer than all before.
    IF strpos(cause, '_') > 0 THEN
        cause := regexp_replace(
            cause,
            '\m(evt|cus|sub|si|price|prod|plan|in|ii|il|ch|py|pi|pm|re|du|dp|txn|po|seti|acct|req|tok|src|card|we)_\w+',
            '…', 'g'
        );
    END IF;
    cause := regexp_replace(
        cause,
        '\m(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[.,]?\s+(?=…)',
        '…', 'g'
    );
    RETURN btrim(regexp_replace(cause, '[-+$#]*…([-\s(),.:;/+$#%]*…)*', '…', 'g'));
END
$$;

--! functions/fold_traffic
-- Folds requests of api_usage into the traffic tables that the monitoring views read; returns how many, at most
-- `max_requests`. To be called every minute. Each request is folded exactly once, whenever it was made, as what counts
-- is its id and not its time; what is not folded yet, the views read from api_usage. A second caller waits. A request
-- that cannot be folded is named by a warning and left out of the traffic tables for good.
--
-- An id is handed out before its row is committed. So the goal is the last id together with the transactions that held
-- a writer's lock on api_usage when it was read: once those have ended, no row up to the goal can appear any more.
CREATE OR REPLACE FUNCTION fold_traffic(max_requests bigint DEFAULT 500000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET work_mem = '16MB'
AS $$
DECLARE
    progress traffic_progress;
    goal bigint;
    folded bigint := 0;
BEGIN
    IF max_requests IS NULL OR max_requests < 1 THEN
        RAISE EXCEPTION 'fold_traffic: max_requests must be at least 1, not %', coalesce(max_requests::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'fold_traffic: needs read committed, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state',
                  DETAIL = 'An older snapshot would miss requests that were committed since.';
    END IF;
    SELECT * INTO STRICT progress FROM traffic_progress FOR UPDATE;

    IF progress.seen_id = progress.folded_to THEN
        -- The id first: whoever took one up to it holds its lock by now, or has ended.
        progress.seen_id := greatest(
            progress.folded_to, (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM api_usage_id_seq AS s)
        );
        progress.seen_writers := coalesce((
            SELECT array_agg(DISTINCT l.virtualtransaction)
            FROM pg_locks AS l
            WHERE l.mode = 'RowExclusiveLock'
                AND l.locktype = 'relation'
                AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                AND l.relation IN (SELECT t.relid::oid FROM pg_partition_tree('api_usage') AS t)
                AND l.pid IS DISTINCT FROM pg_backend_pid()
        ), '{}');
    END IF;

    IF progress.seen_id > progress.folded_to
        AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (progress.seen_writers))
    THEN
        goal := least(progress.seen_id, progress.folded_to + max_requests);
        folded := fold_traffic_range(progress.folded_to, goal);
        progress.folded_to := goal;
        progress.folded_at := clock_timestamp();
        PERFORM delete_rows('traffic_hours', 'hour < now() - interval ''2 days''');
        PERFORM delete_rows('traffic_latency_hours', 'hour < now() - interval ''15 days''');
        PERFORM delete_rows('traffic_user_days', 'day < (now() AT TIME ZONE ''UTC'')::date - 95');
    END IF;

    UPDATE traffic_progress
    SET
        folded_to = progress.folded_to,
        folded_at = progress.folded_at,
        seen_id = progress.seen_id,
        seen_writers = progress.seen_writers;
    RETURN folded;
END
$$;

REVOKE EXECUTE ON FUNCTION fold_traffic(bigint) FROM public;

--! functions/rows_apart
-- The rows of a view as a JSON array, or the problem in words where it cannot be read within so many milliseconds of
-- waiting for a lock. Whatever is wrong with the view or with what it reads, the caller goes on; a view whose columns
-- are not of the types that the callers read is wrong too.
CREATE OR REPLACE FUNCTION rows_apart(view_name text, patience_ms int, OUT rows jsonb, OUT problem text)
RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- Moments stand in messages.
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET lock_timeout = '1s'
AS $$
DECLARE
    found jsonb;
BEGIN
    PERFORM set_config('lock_timeout', format('%sms', greatest(patience_ms, 1)), true);
    EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(r)), ''[]'') FROM %I AS r', view_name) INTO found;
    PERFORM FROM jsonb_to_recordset(found) AS r (
        warning_at numeric, critical_at numeric, lower_is_worse boolean, value numeric, detected_at timestamptz,
        objects text[], silenced_until timestamptz
    );
    rows := found;
EXCEPTION
    WHEN lock_not_available THEN
        problem := coalesce(
            (
                SELECT format('%s.', string_agg(format('table %s is locked by process %s', l.relname, l.pid), ', '))
                FROM locked_tables() AS l
            ),
            'A lock was not given in time.'
        );
    WHEN query_canceled THEN
        -- By statement_timeout it is about this view. Whoever else cancels means the whole statement.
        IF current_setting('statement_timeout') = '0' OR clock_timestamp()
            < statement_timestamp() + current_setting('statement_timeout')::interval THEN
            RAISE;
        END IF;
        problem := 'It takes longer than a statement may.';
    WHEN insufficient_privilege THEN
        problem := format('The role %s may not read it.', current_user);
    WHEN undefined_table OR undefined_column OR undefined_function THEN
        problem := format('Something that it reads is missing: %s.', SQLERRM);
    WHEN OTHERS THEN
        problem := format('It fails: %s.', SQLERRM);
END
$$;
