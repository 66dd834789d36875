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
