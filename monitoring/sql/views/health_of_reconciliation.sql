-- The check on differences from Stripe that repairing has left.
CREATE VIEW health_of_reconciliation AS
SELECT
    'unrepaired_differences' AS check_name,
    count(*)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No difference from Stripe waits for a person.'
        ELSE format(
            'Differences from Stripe that cannot be repaired as they are: %s, the newest: %s',
            count(*), left((array_agg(d.note ORDER BY d.id DESC))[1], 500)
        )
    END AS message
FROM reconciliation_differences AS d
WHERE d.status = 'open' AND d.note IS NOT NULL;
