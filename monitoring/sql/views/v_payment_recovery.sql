-- What became of the invoices that could not be charged at first, by the month (UTC) of the first try, its code and the
-- currency, over 13 months. Of each count and amount: failed = recovered + lost + open. mean_days is how long the
-- recovered ones took.
CREATE VIEW v_payment_recovery AS
SELECT
    g.month,
    g.code,
    decline_words(g.code) AS reason,
    g.currency,
    g.failed,
    g.recovered,
    g.lost,
    g.open,
    g.failed_cents,
    g.recovered_cents,
    g.lost_cents,
    g.open_cents,
    g.mean_days,
    round(100.0 * g.recovered_cents / nullif(g.failed_cents, 0), 2) AS recovered_percent,
    concat_ws(' ', g.month, g.code, g.currency) AS id
FROM (
    SELECT
        date_trunc('month', f.failed_at AT TIME ZONE 'UTC')::date AS month,
        f.code,
        f.currency,
        count(*) AS failed,
        count(*) FILTER (WHERE f.outcome = 'recovered') AS recovered,
        count(*) FILTER (WHERE f.outcome = 'lost') AS lost,
        count(*) FILTER (WHERE f.outcome = 'open') AS open,
        sum(f.amount_cents)::bigint AS failed_cents,
        coalesce(sum(f.amount_cents) FILTER (WHERE f.outcome = 'recovered'), 0)::bigint AS recovered_cents,
        coalesce(sum(f.amount_cents) FILTER (WHERE f.outcome = 'lost'), 0)::bigint AS lost_cents,
        coalesce(sum(f.amount_cents) FILTER (WHERE f.outcome = 'open'), 0)::bigint AS open_cents,
        round((avg(extract(EPOCH FROM f.recovered_at - f.failed_at)) / 86400)::numeric, 2) AS mean_days
    FROM failed_invoices AS f
    WHERE
        f.failed_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '12 months'
    GROUP BY 1, 2, 3
) AS g;
