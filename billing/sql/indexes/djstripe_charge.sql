-- Finding a charge by the number on its receipt, and by the last four digits of what paid it.
CREATE INDEX djstripe_charge_receipt_number ON djstripe_charge ((stripe_data ->> 'receipt_number'))
WHERE (stripe_data ->> 'receipt_number') IS NOT NULL;
CREATE INDEX djstripe_charge_last4 ON djstripe_charge ((
    stripe_data -> 'payment_method_details' -> (stripe_data #>> '{payment_method_details,type}') ->> 'last4'
));
