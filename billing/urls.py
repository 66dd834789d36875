"""Billing's addresses beside the admin: the API for API servers, and Stripe's webhook."""

from django.urls import path, re_path

from billing.api.routes import api
from billing.views import stripe_webhook

urlpatterns = [
    path("api/v1/", api.urls),
    # With or without the slash: a redirect would lose the body.
    re_path(r"^webhooks/stripe/?$", stripe_webhook, name="stripe-webhook"),
]
