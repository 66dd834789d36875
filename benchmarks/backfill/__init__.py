"""What taking over a Stripe account costs, beside asking for each customer by himself."""
