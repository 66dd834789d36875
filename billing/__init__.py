"""Customers, subscriptions, payments, API keys and usage, kept in line with Stripe and Cognito."""
