-- Finding an invoice by its printed number, whole or its beginning, as Django writes it: UPPER(…) LIKE 'A1B2C3D4%'.
CREATE INDEX djstripe_invoice_number ON djstripe_invoice (upper(stripe_data ->> 'number') text_pattern_ops);
