-- Seals the rows of audit_log that no seal covers yet, up to `most_rows` and at most 10,000 a seal; returns how many
-- rows. To be called every few minutes. A second caller waits. Writers never wait.  An id is handed out before its row
-- is committed. So the goal is the last id, read before the transactions that hold a writer's lock on audit_log: once
-- those have ended, no row up to the goal can appear any more. They are waited for as many seconds, in which nothing is
-- locked; then nothing is sealed, and the next call tries again.
CREATE FUNCTION seal_audit_log(most_rows int DEFAULT 100000, wait_seconds int DEFAULT 10) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    most_in_a_seal CONSTANT int := 10000;
    ends_at CONSTANT timestamptz := clock_timestamp() + make_interval(secs => wait_seconds::double precision);
    sealed bigint := 0;
    goal bigint;
    writers text[];
    wanted int;
    last_id bigint;
    seal audit_seals;
BEGIN
    IF most_rows IS NULL OR most_rows < 1 THEN
        RAISE EXCEPTION 'seal_audit_log: most_rows must be at least 1, not %', coalesce(most_rows::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF wait_seconds IS NULL OR wait_seconds NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'seal_audit_log: wait_seconds must be between 0 and 60, not %', coalesce(wait_seconds::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'seal_audit_log: needs read committed, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state',
                  DETAIL = 'An older snapshot would miss rows that were committed since.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log seals', 0));

    goal := (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM audit_log_id_seq AS s);
    writers := ARRAY(
        SELECT DISTINCT l.virtualtransaction
        FROM pg_locks AS l
        WHERE l.mode = 'RowExclusiveLock'
            AND l.locktype = 'relation'
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
            AND l.relation IN (SELECT t.relid::oid FROM pg_partition_tree('audit_log') AS t)
            AND l.pid IS DISTINCT FROM pg_backend_pid()
    );
    WHILE EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (writers)) LOOP
        IF clock_timestamp() >= ends_at THEN
            RETURN 0;
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;

    SELECT s.to_id, s.sha256 INTO seal.to_id, seal.previous FROM audit_seals AS s ORDER BY s.to_id DESC LIMIT 1;
    seal.previous := coalesce(seal.previous, sha256(''::bytea));
    LOOP
        seal.from_id := coalesce(seal.to_id, 0) + 1;
        wanted := least(most_in_a_seal, most_rows - sealed)::int;
        last_id := (
            SELECT max(e.id)
            FROM (
                SELECT a.id FROM audit_log AS a WHERE a.id BETWEEN seal.from_id AND goal ORDER BY a.id LIMIT wanted
            ) AS e
        );
        SELECT
            count(*),
            array_agg(d.id ORDER BY d.id),
            array_agg(d.occurred_at ORDER BY d.id),
            array_agg(d.digest ORDER BY d.id)
        INTO seal.rows, seal.row_ids, seal.row_times, seal.row_digests
        FROM audit_digests(seal.from_id, last_id) AS d;
        EXIT WHEN seal.rows = 0;
        -- Of a seal that is full the rest of the ids is the next one's.
        seal.to_id := CASE WHEN seal.rows < wanted THEN goal ELSE last_id END;
        seal.sealed_at := clock_timestamp();
        seal.sha256 := seal_hash(seal);
        INSERT INTO audit_seals SELECT seal.*;
        seal.previous := seal.sha256;
        sealed := sealed + seal.rows;
        EXIT WHEN sealed >= most_rows OR seal.to_id >= goal;
    END LOOP;
    RETURN sealed;
END
$$;

REVOKE EXECUTE ON FUNCTION seal_audit_log(int, int) FROM public;
