"""Billing's addresses beside the admin: the API for API servers, Stripe's webhook, and who finds keys."""

from django.urls import path, re_path

from billing.api.routes import api
from billing.views import leaked_keys, stripe_webhook

urlpatterns = [
    path("api/v1/", api.urls),
    # With or without the slash: a redirect would lose the body.
    re_path(r"^webhooks/stripe/?$", stripe_webhook, name="stripe-webhook"),
    re_path(r"^webhooks/leaked-keys/?$", leaked_keys, name="leaked-keys"),
]
