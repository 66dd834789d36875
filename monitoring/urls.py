"""Monitoring's addresses beside the admin: probes and metrics."""

from django.urls import path

from monitoring.metrics import metrics
from monitoring.probes import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
