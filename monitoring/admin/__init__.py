"""The pages of monitoring, one noun a file."""

from monitoring.admin import (
    alert,
    business_view,
    customer_panels,
    customer_view,
    database_view,
    health,
    job,
    job_run,
    mrr_movement,
    payment_view,
    queue,
    schema,
    session,
    silence,
    traffic_view,
    webhook_view,
)

__all__ = [
    "alert",
    "business_view",
    "customer_panels",
    "customer_view",
    "database_view",
    "health",
    "job",
    "job_run",
    "mrr_movement",
    "payment_view",
    "queue",
    "schema",
    "session",
    "silence",
    "traffic_view",
    "webhook_view",
]
