-- The ledger of recurring revenue: every change of what a customer pays a month, and the subscription that caused it.
-- No foreign keys: the books outlive a deleted customer.
CREATE TABLE mrr_movements (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT mrr_movements_pkey PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    user_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    audit_id bigint,
    kind text NOT NULL,
    currency text NOT NULL,
    amount_cents bigint NOT NULL,
    before_cents bigint NOT NULL,
    after_cents bigint NOT NULL,
    tier_before text,
    tier_after text,
    origin text NOT NULL DEFAULT 'change',
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT mrr_movements_adds_up CHECK (amount_cents = after_cents - before_cents),
    CONSTRAINT mrr_movements_origin_known CHECK (origin IN ('change', 'history', 'reconciled')),
    CONSTRAINT mrr_movements_kind_fits CHECK (
        CASE kind
            WHEN 'new' THEN before_cents = 0 AND after_cents > 0
            WHEN 'reactivation' THEN before_cents = 0 AND after_cents > 0
            WHEN 'expansion' THEN before_cents > 0 AND amount_cents >= 0
            WHEN 'contraction' THEN after_cents > 0 AND amount_cents < 0
            WHEN 'churn' THEN before_cents > 0 AND after_cents = 0
            ELSE false
        END
    ),
    CONSTRAINT mrr_movements_tier_while_paying CHECK (
        (tier_before IS NOT NULL) = (before_cents > 0) AND (tier_after IS NOT NULL) = (after_cents > 0)
    )
);

CREATE INDEX mrr_movements_user_id ON mrr_movements (user_id, id DESC);
CREATE INDEX mrr_movements_occurred_at ON mrr_movements (occurred_at);

-- The back office's sorts and filters.
CREATE INDEX mrr_movements_kind ON mrr_movements (kind, occurred_at DESC);
CREATE INDEX mrr_movements_tier_after ON mrr_movements (tier_after, occurred_at DESC);
CREATE INDEX mrr_movements_day ON mrr_movements (((occurred_at AT TIME ZONE 'UTC')::date));

-- Recurring revenue of each day (UTC) by tier: what it started with, what moved, what it ended with.
-- transfer_cents is what changed tier on the way; over all tiers of a day it is zero.
CREATE TABLE daily_mrr (
    day date NOT NULL,
    currency text NOT NULL,
    tier text NOT NULL,
    start_cents bigint NOT NULL,
    new_cents bigint NOT NULL,
    expansion_cents bigint NOT NULL,
    contraction_cents bigint NOT NULL,
    churn_cents bigint NOT NULL,
    reactivation_cents bigint NOT NULL,
    transfer_cents bigint NOT NULL,
    end_cents bigint NOT NULL,
    customers bigint NOT NULL,
    CONSTRAINT daily_mrr_pkey PRIMARY KEY (day, currency, tier),
    CONSTRAINT daily_mrr_adds_up CHECK (
        end_cents = start_cents + new_cents + expansion_cents + contraction_cents + churn_cents
        + reactivation_cents + transfer_cents
    ),
    CONSTRAINT daily_mrr_not_negative CHECK (end_cents >= 0 AND customers >= 0)
);

-- What a day (UTC) came to, kept after the usage it was counted from is dropped. Today's row is provisional.
CREATE TABLE daily_figures (
    day date CONSTRAINT daily_figures_pkey PRIMARY KEY,
    total_users bigint NOT NULL,
    new_users bigint NOT NULL,
    paying_customers bigint NOT NULL,
    churned_customers bigint NOT NULL,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    active_users bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);

-- What counts as recurring revenue: at most one row a customer. Trials, free plans and duplicates do not count.
CREATE VIEW paying_subscriptions AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    s.tier,
    s.currency,
    s.price_cents AS mrr_cents
FROM subscriptions AS s
WHERE s.status IN ('active', 'past_due') AND NOT s.is_duplicate AND s.tier <> 'free' AND s.price_cents > 0;

-- Books the difference between what the customer pays now and what the ledger says last; no difference, no row.
-- Changes of one transaction are one movement: a plan replaced by another is an expansion or contraction, no churn.
-- Two transactions cannot settle one customer at once: the unique index on live subscriptions makes the second wait.
CREATE FUNCTION settle_mrr(customer uuid, changed_subscription uuid, origin text DEFAULT 'change') RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    booked mrr_movements;
    paying record;
    came_back boolean;
BEGIN
    SELECT * INTO paying FROM paying_subscriptions AS p WHERE p.user_id = customer;
    SELECT * INTO booked FROM mrr_movements AS m WHERE m.user_id = customer ORDER BY m.id DESC LIMIT 1;

    IF booked.transaction_id = pg_current_xact_id() AND booked.origin = settle_mrr.origin THEN
        DELETE FROM mrr_movements AS m WHERE m.id = booked.id;
        SELECT * INTO booked FROM mrr_movements AS m WHERE m.user_id = customer ORDER BY m.id DESC LIMIT 1;
    END IF;
    came_back := booked.id IS NOT NULL;
    booked.after_cents := coalesce(booked.after_cents, 0);
    paying.mrr_cents := coalesce(paying.mrr_cents, 0);

    -- Another currency is another book: what was paid in the old one ends there.
    IF booked.after_cents > 0 AND paying.mrr_cents > 0 AND booked.currency <> paying.currency THEN
        INSERT INTO mrr_movements (
            user_id, subscription_id, kind, currency, amount_cents, before_cents, after_cents, tier_before, origin
        )
        VALUES (
            customer, booked.subscription_id, 'churn', booked.currency, -booked.after_cents, booked.after_cents, 0,
            booked.tier_after, settle_mrr.origin
        );
        booked.after_cents := 0;
        booked.tier_after := NULL;
    END IF;

    IF booked.after_cents = paying.mrr_cents AND booked.tier_after IS NOT DISTINCT FROM paying.tier THEN
        RETURN;
    END IF;
    INSERT INTO mrr_movements (
        user_id, subscription_id, audit_id, kind, currency, amount_cents, before_cents, after_cents,
        tier_before, tier_after, origin
    )
    VALUES (
        customer,
        coalesce(paying.subscription_id, changed_subscription, booked.subscription_id),
        (
            SELECT max(a.id) FROM audit_log AS a
            WHERE
                a.table_name = 'subscriptions' AND a.row_id = changed_subscription::text
                AND a.occurred_at >= transaction_timestamp()
        ),
        CASE
            WHEN paying.mrr_cents = 0 THEN 'churn'
            WHEN booked.after_cents = 0 THEN CASE WHEN came_back THEN 'reactivation' ELSE 'new' END
            WHEN paying.mrr_cents < booked.after_cents THEN 'contraction'
            ELSE 'expansion'
        END,
        coalesce(paying.currency, booked.currency),
        paying.mrr_cents - booked.after_cents,
        booked.after_cents,
        paying.mrr_cents,
        booked.tier_after,
        paying.tier,
        settle_mrr.origin
    );
END
$$;

-- The trigger that keeps the ledger: whoever changes a subscription, by whatever means, is booked.
CREATE FUNCTION book_mrr_movement() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND (TG_OP = 'DELETE' OR OLD.user_id <> NEW.user_id) THEN
        PERFORM settle_mrr(OLD.user_id, OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM settle_mrr(NEW.user_id, NEW.id);
    END IF;
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION book_mrr_movement() FROM public;

-- The ledger is append-only, save for netting within one transaction and for rebuild_mrr_history().
CREATE FUNCTION refuse_mrr_movement_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND (OLD.transaction_id = pg_current_xact_id() OR current_setting('app.rebuild_mrr_history', true) = 'on')
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'mrr_movements: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s was refused.', TG_OP);
END
$$;

-- Books whatever the triggers did not see (they can be disabled, a restore can skip them); the number of movements.
CREATE FUNCTION reconcile_mrr() RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    drifted record;
    settled int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('reconcile_mrr', 0));
    FOR drifted IN
        WITH booked AS (
            SELECT DISTINCT ON (m.user_id) m.user_id, m.subscription_id, m.after_cents, m.tier_after, m.currency
            FROM mrr_movements AS m
            ORDER BY m.user_id, m.id DESC
        )
        SELECT coalesce(p.user_id, b.user_id) AS user_id, coalesce(p.subscription_id, b.subscription_id) AS subscription_id
        FROM paying_subscriptions AS p FULL JOIN (SELECT * FROM booked WHERE after_cents > 0) AS b USING (user_id)
        WHERE (p.mrr_cents, p.tier, p.currency) IS DISTINCT FROM (b.after_cents, b.tier_after, b.currency)
        ORDER BY user_id
    LOOP
        PERFORM settle_mrr(drifted.user_id, drifted.subscription_id, 'reconciled');
        settled := settled + 1;
    END LOOP;
    RETURN settled;
END
$$;

-- Recomputes the days from `since` (UTC) to today from the ledger; the number of rows. Earlier gaps are filled too.
CREATE FUNCTION refresh_daily_mrr(since date) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    first_day date;
    written bigint;
BEGIN
    IF since IS NULL OR since > today THEN
        RAISE EXCEPTION 'refresh_daily_mrr: since must be a day up to today, not %', coalesce(since::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('refresh_daily_mrr', 0));
    first_day := coalesce(
        (SELECT max(d.day) + 1 FROM daily_mrr AS d WHERE d.day < since),
        (SELECT min(m.occurred_at AT TIME ZONE 'UTC')::date FROM mrr_movements AS m),
        since
    );
    first_day := least(first_day, since);
    DELETE FROM daily_mrr AS d WHERE d.day >= first_day;

    WITH movements AS (
        SELECT m.*, (m.occurred_at AT TIME ZONE 'UTC')::date AS day
        FROM mrr_movements AS m
        WHERE m.occurred_at >= first_day::timestamp AT TIME ZONE 'UTC'
    ),
    legs AS (
        SELECT
            m.day, m.currency, coalesce(m.tier_after, m.tier_before) AS tier, m.kind, m.amount_cents,
            CASE WHEN m.before_cents = 0 THEN 1 WHEN m.after_cents = 0 THEN -1 ELSE 0 END AS customers
        FROM movements AS m
        UNION ALL
        SELECT m.day, m.currency, side.tier, 'transfer', side.sign * m.before_cents, side.sign
        FROM movements AS m
        CROSS JOIN LATERAL (VALUES (m.tier_before, -1), (m.tier_after, 1)) AS side (tier, sign)
        WHERE m.tier_before <> m.tier_after
    ),
    days AS (
        SELECT
            l.day, l.currency, l.tier,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'new'), 0) AS new_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'expansion'), 0) AS expansion_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'contraction'), 0) AS contraction_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'churn'), 0) AS churn_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'reactivation'), 0) AS reactivation_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'transfer'), 0) AS transfer_cents,
            sum(l.amount_cents) AS net_cents,
            sum(l.customers) AS customers
        FROM legs AS l
        GROUP BY l.day, l.currency, l.tier
    ),
    opening AS (
        SELECT d.currency, d.tier, d.end_cents, d.customers FROM daily_mrr AS d WHERE d.day = first_day - 1
    ),
    books AS (
        SELECT o.currency, o.tier FROM opening AS o UNION SELECT d.currency, d.tier FROM days AS d
    ),
    closing AS (
        SELECT
            g.day::date AS day, b.currency, b.tier,
            coalesce(d.new_cents, 0) AS new_cents, coalesce(d.expansion_cents, 0) AS expansion_cents,
            coalesce(d.contraction_cents, 0) AS contraction_cents, coalesce(d.churn_cents, 0) AS churn_cents,
            coalesce(d.reactivation_cents, 0) AS reactivation_cents, coalesce(d.transfer_cents, 0) AS transfer_cents,
            coalesce(d.net_cents, 0) AS net_cents,
            coalesce(o.end_cents, 0) + sum(coalesce(d.net_cents, 0)) OVER book AS end_cents,
            coalesce(o.customers, 0) + sum(coalesce(d.customers, 0)) OVER book AS customers
        FROM books AS b
        CROSS JOIN generate_series(first_day::timestamp, today::timestamp, interval '1 day') AS g (day)
        LEFT JOIN days AS d ON d.day = g.day::date AND d.currency = b.currency AND d.tier = b.tier
        LEFT JOIN opening AS o ON o.currency = b.currency AND o.tier = b.tier
        WINDOW book AS (PARTITION BY b.currency, b.tier ORDER BY g.day)
    )
    INSERT INTO daily_mrr (
        day, currency, tier, start_cents, new_cents, expansion_cents, contraction_cents, churn_cents,
        reactivation_cents, transfer_cents, end_cents, customers
    )
    SELECT
        c.day, c.currency, c.tier, c.end_cents - c.net_cents, c.new_cents, c.expansion_cents, c.contraction_cents,
        c.churn_cents, c.reactivation_cents, c.transfer_cents, c.end_cents, c.customers
    FROM closing AS c;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Recounts the days from `since` (UTC) to today; the number of days. A day whose usage was dropped keeps its count.
CREATE FUNCTION refresh_daily_figures(since date) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    first_moment CONSTANT timestamptz := since::timestamp AT TIME ZONE 'UTC';
    written bigint;
BEGIN
    IF since IS NULL OR since > today THEN
        RAISE EXCEPTION 'refresh_daily_figures: since must be a day up to today, not %', coalesce(since::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    WITH days AS (
        SELECT g.day::date AS day FROM generate_series(since::timestamp, today::timestamp, interval '1 day') AS g (day)
    ),
    signups AS (
        SELECT (u.created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS users
        FROM users AS u WHERE u.created_at >= first_moment GROUP BY 1
    ),
    paying AS (
        SELECT d.day, sum(d.customers) AS customers FROM daily_mrr AS d WHERE d.day >= since GROUP BY d.day
    ),
    churned AS (
        SELECT (m.occurred_at AT TIME ZONE 'UTC')::date AS day, count(*) AS customers
        FROM mrr_movements AS m WHERE m.kind = 'churn' AND m.occurred_at >= first_moment GROUP BY 1
    ),
    usage_by_user AS (
        SELECT
            (a.created_at AT TIME ZONE 'UTC')::date AS day, a.user_id, count(*) AS requests,
            count(*) FILTER (WHERE a.status_code >= 400) AS failed, sum(a.response_time_ms) AS time_ms
        FROM api_usage AS a WHERE a.created_at >= first_moment GROUP BY 1, a.user_id
    ),
    usage AS (
        SELECT
            u.day, sum(u.requests) AS requests, sum(u.failed) AS failed, sum(u.time_ms) AS time_ms,
            count(*) AS users
        FROM usage_by_user AS u GROUP BY u.day
    )
    INSERT INTO daily_figures AS f (
        day, total_users, new_users, paying_customers, churned_customers, requests, failed_requests, active_users,
        total_response_time_ms
    )
    SELECT
        d.day,
        (SELECT count(*) FROM users AS u WHERE u.created_at < first_moment)
        + sum(coalesce(s.users, 0)) OVER (ORDER BY d.day),
        coalesce(s.users, 0), coalesce(p.customers, 0), coalesce(c.customers, 0), coalesce(a.requests, 0),
        coalesce(a.failed, 0), coalesce(a.users, 0), coalesce(a.time_ms, 0)
    FROM days AS d
    LEFT JOIN signups AS s USING (day)
    LEFT JOIN paying AS p USING (day)
    LEFT JOIN churned AS c USING (day)
    LEFT JOIN usage AS a USING (day)
    ON CONFLICT (day) DO UPDATE SET
        total_users = excluded.total_users,
        new_users = excluded.new_users,
        paying_customers = excluded.paying_customers,
        churned_customers = excluded.churned_customers,
        requests = CASE WHEN excluded.requests > 0 THEN excluded.requests ELSE f.requests END,
        failed_requests = CASE WHEN excluded.requests > 0 THEN excluded.failed_requests ELSE f.failed_requests END,
        active_users = CASE WHEN excluded.requests > 0 THEN excluded.active_users ELSE f.active_users END,
        total_response_time_ms = CASE
            WHEN excluded.requests > 0 THEN excluded.total_response_time_ms ELSE f.total_response_time_ms
        END,
        taken_at = now();
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Brings the daily tables up to date: yesterday is closed, today is provisional, missed days are caught up. The number
-- of days written. Safe to run at any time and twice.
CREATE FUNCTION take_daily_snapshot() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    since date;
BEGIN
    PERFORM reconcile_mrr();
    -- A transaction that began before midnight is booked on the day it began, so yesterday is recounted as well.
    since := least(
        today - 1,
        coalesce(
            (SELECT max(f.day) FROM daily_figures AS f),
            (SELECT min(u.created_at AT TIME ZONE 'UTC')::date FROM users AS u),
            today - 1
        )
    );
    PERFORM refresh_daily_mrr(since);
    RETURN refresh_daily_figures(since);
END
$$;

-- Writes the ledger anew from the dates of the subscriptions themselves, then every day's snapshot: for data that was
-- loaded with its past, as a demo or an import. The number of movements.
-- Loses what only the ledger knows (prices changed in place), so recorded changes are replaced only when asked to.
CREATE FUNCTION rebuild_mrr_history(replace_recorded boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    first_day date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('reconcile_mrr', 0));
    IF NOT coalesce(replace_recorded, false) AND EXISTS (SELECT FROM mrr_movements WHERE origin = 'change') THEN
        RAISE EXCEPTION 'rebuild_mrr_history: the ledger holds recorded changes, which the rebuilt one would lose'
            USING HINT = 'rebuild_mrr_history(true) replaces them.';
    END IF;
    PERFORM set_config('app.rebuild_mrr_history', 'on', true);
    DELETE FROM mrr_movements;
    PERFORM set_config('app.rebuild_mrr_history', 'off', true);

    WITH paid AS (
        SELECT
            s.id, s.user_id, s.tier, s.currency, s.price_cents,
            greatest(s.created_at, s.trial_end) AS started_at,
            CASE s.status
                WHEN 'active' THEN 'infinity'
                WHEN 'past_due' THEN 'infinity'
                WHEN 'canceled' THEN s.canceled_at
                ELSE coalesce(s.current_period_start, s.created_at)
            END AS ended_at
        FROM subscriptions AS s
        WHERE s.tier <> 'free' AND s.price_cents > 0 AND NOT s.is_duplicate AND s.status <> 'trialing'
    ),
    spans AS (
        SELECT
            p.*,
            row_number() OVER customer AS ordinal,
            lag(p.ended_at) OVER customer AS previous_ended_at,
            lag(p.price_cents) OVER customer AS previous_cents,
            lag(p.tier) OVER customer AS previous_tier,
            lag(p.currency) OVER customer AS previous_currency,
            lead(p.started_at) OVER customer AS next_started_at,
            lead(p.currency) OVER customer AS next_currency
        FROM paid AS p
        WHERE p.started_at < p.ended_at AND p.started_at <= now()
        WINDOW customer AS (PARTITION BY p.user_id ORDER BY p.started_at, p.ended_at)
    ),
    starts AS (
        SELECT
            s.*,
            -- The next plan began before this one ended: the customer moved and never left.
            coalesce(s.previous_ended_at >= s.started_at AND s.previous_currency = s.currency, false) AS moved
        FROM spans AS s
    ),
    changes AS (
        SELECT
            s.started_at AS occurred_at, s.user_id, s.id AS subscription_id, s.currency,
            CASE WHEN s.moved THEN s.previous_cents ELSE 0 END AS before_cents, s.price_cents AS after_cents,
            CASE WHEN s.moved THEN s.previous_tier END AS tier_before, s.tier AS tier_after,
            CASE
                WHEN NOT s.moved THEN CASE WHEN s.ordinal = 1 THEN 'new' ELSE 'reactivation' END
                WHEN s.price_cents < s.previous_cents THEN 'contraction'
                ELSE 'expansion'
            END AS kind
        FROM starts AS s
        WHERE NOT (s.moved AND s.price_cents = s.previous_cents AND s.tier = s.previous_tier)
        UNION ALL
        SELECT
            least(s.ended_at, s.next_started_at), s.user_id, s.id, s.currency, s.price_cents, 0, s.tier, NULL, 'churn'
        FROM spans AS s
        WHERE
            least(s.ended_at, s.next_started_at) <= now()
            AND NOT coalesce(s.next_started_at <= s.ended_at AND s.next_currency = s.currency, false)
    )
    INSERT INTO mrr_movements (
        occurred_at, user_id, subscription_id, kind, currency, amount_cents, before_cents, after_cents,
        tier_before, tier_after, origin
    )
    SELECT
        c.occurred_at, c.user_id, c.subscription_id, c.kind, c.currency, c.after_cents - c.before_cents,
        c.before_cents, c.after_cents, c.tier_before, c.tier_after, 'history'
    FROM changes AS c
    ORDER BY c.occurred_at, c.user_id, c.kind = 'churn' DESC;

    PERFORM reconcile_mrr();
    DELETE FROM daily_mrr;
    first_day := least(
        (SELECT min(m.occurred_at AT TIME ZONE 'UTC') FROM mrr_movements AS m),
        (SELECT min(u.created_at AT TIME ZONE 'UTC') FROM users AS u)
    )::date;
    PERFORM refresh_daily_mrr(coalesce(first_day, (now() AT TIME ZONE 'UTC')::date));
    PERFORM refresh_daily_figures(coalesce(first_day, (now() AT TIME ZONE 'UTC')::date));
    RETURN (SELECT count(*) FROM mrr_movements);
END
$$;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON mrr_movements
FOR EACH ROW EXECUTE FUNCTION refuse_mrr_movement_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mrr_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_mrr_movement_change();

-- Named to fire after the audit trigger, whose row the movement refers to.
CREATE TRIGGER book_mrr_when_added AFTER INSERT ON subscriptions
FOR EACH ROW WHEN (new.price_cents > 0)
EXECUTE FUNCTION book_mrr_movement();

CREATE TRIGGER book_mrr_when_changed AFTER UPDATE ON subscriptions
FOR EACH ROW
WHEN (
    old.price_cents + new.price_cents > 0
    AND (old.user_id, old.tier, old.status, old.price_cents, old.currency, old.is_duplicate)
    IS DISTINCT FROM (new.user_id, new.tier, new.status, new.price_cents, new.currency, new.is_duplicate)
)
EXECUTE FUNCTION book_mrr_movement();

CREATE TRIGGER book_mrr_when_removed AFTER DELETE ON subscriptions
FOR EACH ROW WHEN (old.price_cents > 0)
EXECUTE FUNCTION book_mrr_movement();

-- What is already sold is booked on the day it began.
SELECT rebuild_mrr_history();
