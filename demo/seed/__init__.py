"""Believable data in any size: customers, subscriptions, payments, keys, usage, and troubles."""

# What seeding writes into the audit log as actor and action; from then on the database is a demo's.
ACTION = "seed_demo"
