from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Customers, subscriptions, keys, usage and payments."""

    name = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        from billing import roles  # noqa: PLC0415 - needs the app registry
        from billing.stripe import gateway, mirror  # noqa: PLC0415

        gateway.configure()
        mirror.keep_api_keys_out_of_the_database()
        roles.connect()
