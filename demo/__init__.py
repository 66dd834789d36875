"""Recorded Stripe histories, a local server that answers from them, and what seeds the demo."""
