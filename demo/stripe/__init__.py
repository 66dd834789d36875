"""A Stripe of the demo's own."""
