"""What we ask Stripe to change: each request once, written down before it is made and settled after it."""
