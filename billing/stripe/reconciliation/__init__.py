"""Our rows compared with Stripe, and brought in line."""
