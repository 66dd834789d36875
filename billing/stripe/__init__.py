"""Everything that speaks with Stripe: gateway, webhook inbox, processing, projection, reconciliation.

Only `billing.stripe.gateway` imports `stripe` and only this package imports `djstripe`.
"""
