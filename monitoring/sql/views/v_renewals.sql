-- What comes of itself of subscriptions that are live and paid for: the renewals of the next 30 days, the first charges
-- after a trial, and the cancellations that are booked, whenever they are. amount_cents is what a period costs, of a
-- cancellation what is lost a month; before taxes, credit and usage. Of a price only a month's is known, so that of
-- other periods it may be rounded. Periods shorter than 30 days come more than once.
CREATE VIEW v_renewals AS
WITH paid AS (
    SELECT
        s.id,
        s.user_id,
        s.tier,
        s.status,
        s.price_cents,
        s.currency,
        s.collection_paused,
        s.current_period_end AT TIME ZONE 'UTC' AS period_end,
        s.trial_end AT TIME ZONE 'UTC' AS trial_end,
        coalesce(s.cancel_at, CASE WHEN s.cancel_at_period_end THEN s.current_period_end END) AT TIME ZONE 'UTC'
            AS ends,
        one.months,
        one.step,
        one.most,
        -- Of a quarterly price the interval is month. A trial is no period of the price.
        CASE
            WHEN s.status = 'trialing' THEN 1
            ELSE greatest(
                1,
                round(
                    extract(EPOCH FROM s.current_period_end - s.current_period_start)
                    / 86400
                    / (one.months * 365 / 12.0)
                )::int
            )
        END AS intervals
    FROM subscriptions AS s
    INNER JOIN (
        VALUES
        ('day', 12 / 365.0, interval '1 day', 31),
        ('week', 84 / 365.0, interval '7 days', 5),
        ('month', 1.0, interval '1 month', 2),
        ('year', 12.0, interval '1 year', 1)
    ) AS one ("interval", months, step, most) ON s."interval" = one."interval"
    WHERE
        s.status IN ('active', 'past_due', 'trialing') AND s.tier <> 'free' AND s.price_cents > 0
        AND NOT s.is_duplicate
),

due AS (
    SELECT
        p.id,
        p.user_id,
        p.tier,
        CASE WHEN p.status = 'trialing' AND n = 0 THEN 'trial_end' ELSE 'renewal' END AS kind,
        dated.at,
        round(p.price_cents * p.months * p.intervals)::bigint AS amount_cents,
        p.currency
    FROM paid AS p
    CROSS JOIN generate_series(0, p.most) AS n
    CROSS JOIN
        LATERAL (
            SELECT
                CASE WHEN p.status = 'trialing' THEN coalesce(p.trial_end, p.period_end) ELSE p.period_end END
                + n * p.intervals * p.step AS at
        ) AS dated
    WHERE
        p.collection_paused IS NULL AND (p.ends IS NULL OR dated.at < p.ends)
        AND dated.at >= now() AT TIME ZONE 'UTC' AND dated.at < now() AT TIME ZONE 'UTC' + interval '30 days'
    UNION ALL
    SELECT
        p.id,
        p.user_id,
        p.tier,
        'cancellation' AS kind,
        p.ends AS at,
        p.price_cents AS amount_cents,
        p.currency
    FROM paid AS p
    WHERE p.ends IS NOT NULL
)

SELECT
    due.id AS subscription_id,
    due.user_id,
    u.email,
    due.tier,
    due.kind,
    due.at AT TIME ZONE 'UTC' AS due_at,
    due.amount_cents,
    due.currency,
    concat_ws(' ', due.id, due.kind, to_char(due.at, 'YYYY-MM-DD')) AS id
FROM due
INNER JOIN users AS u ON due.user_id = u.id;
