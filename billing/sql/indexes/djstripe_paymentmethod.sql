-- Finding a payment method by its last four digits, whether it is a card or an account at a bank.
CREATE INDEX djstripe_paymentmethod_last4 ON djstripe_paymentmethod ((
    stripe_data -> (stripe_data ->> 'type') ->> 'last4'
));
