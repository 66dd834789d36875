"""What may happen to customers, subscriptions, keys, payments and events: one noun a file."""
