"""What monitoring keeps of its own, one noun a file. The SQL under `monitoring/sql` defines it; these models follow."""

from monitoring.models.alert import Alert
from monitoring.models.business_view import RevenueMetrics, SubscriptionBreakdown, UserGrowth
from monitoring.models.customer_view import OrphanedStripeCustomer, PaidUserWithoutKey, StaleSubscription, UserNearLimit
from monitoring.models.daily_figures import DailyFigures
from monitoring.models.daily_mrr import DailyMrr
from monitoring.models.database_view import (
    DatabaseConnections,
    DatabaseSession,
    DatabaseSize,
    IndexFinding,
    LongRunningQuery,
    SchemaDifference,
    TopQuery,
)
from monitoring.models.forecast_view import Forecast, Renewal
from monitoring.models.health import CriticalAlert, CurrentAlert, HealthCheck, SystemHealth
from monitoring.models.job_run import JobRun
from monitoring.models.job_schedule import JobSchedule
from monitoring.models.mrr_movement import MrrMovement
from monitoring.models.notification import Notification
from monitoring.models.payment_view import ExpiringCard, PaymentAtRisk, PaymentRecovery
from monitoring.models.readiness_request import ReadinessRequest
from monitoring.models.retention_view import LifetimeValue, MrrRetention, Retention, RetentionCustomer
from monitoring.models.silence import Silence
from monitoring.models.traffic_view import ApiKeyUsage, ApiUsageDay, HighVolumeUser, RepeatedFailure, SlowEndpoint
from monitoring.models.webhook_view import FailedWebhookEvent
from monitoring.models.worker_heartbeat import WorkerHeartbeat

__all__ = [
    "Alert",
    "ApiKeyUsage",
    "ApiUsageDay",
    "CriticalAlert",
    "CurrentAlert",
    "DailyFigures",
    "DailyMrr",
    "DatabaseConnections",
    "DatabaseSession",
    "DatabaseSize",
    "ExpiringCard",
    "FailedWebhookEvent",
    "Forecast",
    "HealthCheck",
    "HighVolumeUser",
    "IndexFinding",
    "JobRun",
    "JobSchedule",
    "LifetimeValue",
    "LongRunningQuery",
    "MrrMovement",
    "MrrRetention",
    "Notification",
    "OrphanedStripeCustomer",
    "PaidUserWithoutKey",
    "PaymentAtRisk",
    "PaymentRecovery",
    "ReadinessRequest",
    "Renewal",
    "RepeatedFailure",
    "Retention",
    "RetentionCustomer",
    "RevenueMetrics",
    "SchemaDifference",
    "Silence",
    "SlowEndpoint",
    "StaleSubscription",
    "SubscriptionBreakdown",
    "SystemHealth",
    "TopQuery",
    "UserGrowth",
    "UserNearLimit",
    "WorkerHeartbeat",
]
