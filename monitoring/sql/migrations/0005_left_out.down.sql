-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

-- How many milliseconds the first view that is locked may keep a reading of all waiting: the setting
-- app.check_patience_ms, else a second.
CREATE OR REPLACE FUNCTION check_patience() RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(nullif(current_setting('app.check_patience_ms', true), '')::int, 1000)
$$;

-- What errors that differ in ids and numbers only have in common: their first line without quoted values, addresses,
-- Stripe's ids, uuids, hexadecimal and other numbers, moments among them.
CREATE OR REPLACE FUNCTION error_cause(error text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
    SELECT
        btrim(regexp_replace(
            regexp_replace(
                regexp_replace(
                    regexp_replace(
                        regexp_replace(
                            regexp_replace(
                                left(split_part(coalesce(error, ''), E'\n', 1), 500),
                                '(^|[\s(=:,])(''[^'']*''|"[^"]*"|`[^`]*`)', '\1…', 'g'
                            ),
                            '[^\s@<>(),;:]+@[^\s@<>(),;:]+', '…', 'g'
                        ),
                        '\m(evt|cus|sub|si|price|prod|plan|in|ii|il|ch|py|pi|pm|re|du|dp|txn|seti|acct|req|tok|src|card|we)_\w+',
                        '…', 'g'
                    ),
                    '\m[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\M', '…', 'g'
                ),
                '\m(0[xX][0-9a-fA-F]+|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,})\M', '…', 'g'
            ),
            '[-+]?[0-9]+([.,:/T-]?[0-9]+)*Z?|(\s|…)+(?=(\s|…))', '…', 'g'
        ))
$$;

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
        DELETE FROM traffic_hours WHERE hour < now() - interval '2 days';
        DELETE FROM traffic_latency_hours WHERE hour < now() - interval '15 days';
        DELETE FROM traffic_user_days WHERE day < (now() AT TIME ZONE 'UTC')::date - 95;
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

-- The rows of a view as a JSON array, or the problem in words where it cannot be read within so many milliseconds of
-- waiting for a lock. Whatever is wrong with the view or with what it reads, the caller goes on.
CREATE OR REPLACE FUNCTION rows_apart(view_name text, patience_ms int, OUT rows jsonb, OUT problem text)
RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- Moments stand in messages.
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET lock_timeout = '1s'
AS $$
BEGIN
    PERFORM set_config('lock_timeout', format('%sms', greatest(patience_ms, 1)), true);
    EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(r)), ''[]'') FROM %I AS r', view_name) INTO rows;
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
