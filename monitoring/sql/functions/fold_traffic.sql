-- Folds requests of api_usage into the traffic tables that the monitoring views read; returns how many, at most
-- `max_requests`. To be called every minute. Each request is folded exactly once, whenever it was made, as what counts
-- is its id and not its time; what is not folded yet, the views read from api_usage. A second caller waits. A request
-- that cannot be folded is named by a warning and left out of the traffic tables for good.
--
-- An id is handed out before its row is committed. So the goal is the last id together with the transactions that held
-- a writer's lock on api_usage when it was read: once those have ended, no row up to the goal can appear any more. They
-- are waited for up to a second; those of a long transaction keep the goal until they end.
CREATE FUNCTION fold_traffic(max_requests bigint DEFAULT 500000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET work_mem = '16MB'
AS $$
DECLARE
    progress traffic_progress;
    goal bigint;
    folded bigint := 0;
    give_up_at timestamptz;
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

    give_up_at := clock_timestamp() + interval '1 second';
    WHILE
        progress.seen_id > progress.folded_to
        AND clock_timestamp() < give_up_at
        AND EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (progress.seen_writers))
    LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;

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
