-- What the company may expect. Renewals and first charges after a trial: their number and money in the next 30 days,
-- by currency. Cancellations that are booked: their number, and the MRR that goes with them. Requests: how many in the
-- next 30 days, and between which bounds with 80 % certainty, by forecast_requests(); NULL before the first.
CREATE VIEW v_forecast AS
SELECT
    r.kind AS figure,
    count(*) AS number,
    NULL::bigint AS low,
    NULL::bigint AS high,
    least(sum(r.amount_cents), 9223372036854775807)::bigint AS amount_cents,
    r.currency,
    concat_ws(' ', r.kind, r.currency) AS id
FROM v_renewals AS r
GROUP BY r.kind, r.currency
UNION ALL
SELECT
    'requests' AS figure,
    f.expected_requests AS number,
    f.low_requests AS low,
    f.high_requests AS high,
    NULL AS amount_cents,
    NULL AS currency,
    'requests' AS id
FROM forecast_requests() AS f;
