from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Customers, subscriptions, keys, usage and payments."""

    name = "billing"
    verbose_name = "Billing"
