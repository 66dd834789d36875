"""Stripe's events: stored, claimed, processed, tried again."""
