-- Payments that failed before decline codes were kept get theirs from the mirror, and what is still owed that of its last
-- try. Only rows without one are taken, so it may be run again.
UPDATE payment_history AS p
SET decline_code = c.stripe_data #>> '{outcome,reason}'
FROM djstripe_charge AS c
WHERE
    c.id = p.stripe_charge_id
    AND p.status = 'failed'
    AND p.decline_code IS NULL
    AND c.stripe_data ->> 'status' = 'failed'
    AND octet_length(c.stripe_data #>> '{outcome,reason}') <= 255;

UPDATE open_invoices AS o
SET decline_code = l.decline_code
FROM (
    SELECT DISTINCT ON (p.stripe_invoice_id) p.stripe_invoice_id, p.status, p.decline_code
    FROM payment_history AS p
    INNER JOIN open_invoices AS i ON i.stripe_invoice_id = p.stripe_invoice_id
    ORDER BY p.stripe_invoice_id, p.created_at DESC, p.id DESC
) AS l
WHERE
    l.stripe_invoice_id = o.stripe_invoice_id
    AND l.status = 'failed'
    AND l.decline_code IS NOT NULL
    AND o.decline_code IS NULL;
