-- The check on the clocks of the machines where a web or worker process has compared its own within the last hour.
CREATE VIEW health_of_clocks AS
SELECT
    'clock_skew' AS check_name,
    max(m.value) AS value,
    coalesce(
        string_agg(m.message, ' ' ORDER BY m.value DESC, m.host ASC),
        'Not compared within the last hour: an evaluation of the alerts does so.'
    ) AS message
FROM measurements AS m
WHERE m.check_name = 'clock_skew' AND m.measured_at > now() - interval '1 hour';
