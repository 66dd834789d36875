from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Believable data, and a Stripe that knows it; left out of every image that serves customers."""

    name = "demo"
    verbose_name = "Demo"
