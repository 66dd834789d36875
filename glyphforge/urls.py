"""Where requests go."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from billing.api.routes import api
from billing.views import stripe_webhook
from monitoring.metrics import metrics
from monitoring.probes import healthz, readyz

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", include("glyphforge.staff.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    # With or without the slash: a redirect would lose the body.
    re_path(r"^webhooks/stripe/?$", stripe_webhook, name="stripe-webhook"),
]
