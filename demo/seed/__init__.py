"""Believable data in any size: customers, subscriptions, payments, keys, usage, and troubles."""
