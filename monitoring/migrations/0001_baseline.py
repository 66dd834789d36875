import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("billing", "0001_baseline"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
        ("web", "0001_baseline"),
    ]

    # It calls functions as they were then.
    run_before = [("database", "0002_isolation")]

    operations = [
        RunSQLFile(
            app="monitoring",
            name="0001_baseline",
            state_operations=[
                migrations.CreateModel(
                    name="ApiKeyUsage",
                    fields=[
                        (
                            "api_key",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="+",
                                serialize=False,
                                to="billing.apikey",
                            ),
                        ),
                        ("key_prefix", models.TextField(verbose_name="prefix")),
                        (
                            "environment",
                            models.TextField(
                                choices=[
                                    ("development", "Development"),
                                    ("staging", "Staging"),
                                    ("production", "Production"),
                                ]
                            ),
                        ),
                        ("requests_last_24h", models.BigIntegerField(verbose_name="requests last 24 h")),
                        ("requests_this_month", models.BigIntegerField()),
                        ("usage_count", models.BigIntegerField(verbose_name="requests ever")),
                        ("last_used_at", models.DateTimeField(null=True)),
                        ("revoked_at", models.DateTimeField(null=True)),
                        ("expires_at", models.DateTimeField(null=True)),
                        ("name", models.TextField()),
                    ],
                    options={
                        "verbose_name": "API key usage",
                        "verbose_name_plural": "API key usage",
                        "db_table": "v_api_key_usage_summary",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="ApiUsageDay",
                    fields=[
                        ("day", models.DateField(primary_key=True, serialize=False)),
                        ("requests", models.BigIntegerField()),
                        ("failed_requests", models.BigIntegerField()),
                        (
                            "error_percent",
                            models.DecimalField(decimal_places=2, max_digits=12, null=True, verbose_name="errors, %"),
                        ),
                        (
                            "avg_ms",
                            models.DecimalField(decimal_places=1, max_digits=20, null=True, verbose_name="mean, ms"),
                        ),
                        ("active_users", models.BigIntegerField(verbose_name="active customers")),
                    ],
                    options={
                        "verbose_name": "day of API usage",
                        "verbose_name_plural": "API usage trends",
                        "db_table": "v_api_usage_trends",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="CriticalAlert",
                    fields=[
                        ("fingerprint", models.TextField(primary_key=True, serialize=False)),
                        (
                            "severity",
                            models.TextField(
                                choices=[("critical", "Critical"), ("warning", "Warning"), ("info", "Info")]
                            ),
                        ),
                        ("alert_type", models.TextField(verbose_name="check")),
                        ("subject", models.TextField()),
                        ("message", models.TextField(null=True)),
                        ("remediation", models.TextField()),
                        ("value", models.DecimalField(decimal_places=2, max_digits=30, null=True)),
                        ("detected_at", models.DateTimeField(verbose_name="since")),
                        ("object_type", models.TextField(help_text="user, subscription, webhook_event, job or check.")),
                        ("object_id", models.TextField(null=True)),
                    ],
                    options={
                        "db_table": "v_critical_alerts",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="CurrentAlert",
                    fields=[
                        ("fingerprint", models.TextField(primary_key=True, serialize=False)),
                        (
                            "severity",
                            models.TextField(
                                choices=[("critical", "Critical"), ("warning", "Warning"), ("info", "Info")]
                            ),
                        ),
                        ("alert_type", models.TextField(verbose_name="check")),
                        ("subject", models.TextField()),
                        ("message", models.TextField(null=True)),
                        ("remediation", models.TextField()),
                        ("value", models.DecimalField(decimal_places=2, max_digits=30, null=True)),
                        ("detected_at", models.DateTimeField(verbose_name="since")),
                        ("object_type", models.TextField(help_text="user, subscription, webhook_event, job or check.")),
                        ("object_id", models.TextField(null=True)),
                    ],
                    options={
                        "db_table": "v_alerts",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="DatabaseConnections",
                    fields=[
                        ("max_connections", models.IntegerField(primary_key=True, serialize=False)),
                        ("total", models.IntegerField()),
                        ("active", models.BigIntegerField(null=True)),
                        ("idle", models.BigIntegerField(null=True)),
                        ("idle_in_transaction", models.BigIntegerField(null=True)),
                        ("percent_used", models.DecimalField(decimal_places=2, max_digits=12)),
                    ],
                    options={
                        "verbose_name": "connections",
                        "verbose_name_plural": "connections",
                        "db_table": "v_database_connections",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="DatabaseSize",
                    fields=[
                        ("table_name", models.TextField(primary_key=True, serialize=False)),
                        ("total_bytes", models.BigIntegerField()),
                        ("table_bytes", models.BigIntegerField()),
                        ("index_bytes", models.BigIntegerField()),
                        ("row_estimate", models.BigIntegerField(null=True)),
                        ("dead_rows", models.BigIntegerField()),
                        ("partitions", models.BigIntegerField()),
                        ("last_vacuum_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "verbose_name": "table size",
                        "db_table": "v_database_size",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="FailedWebhookEvent",
                    fields=[
                        (
                            "stripe_event_id",
                            models.TextField(primary_key=True, serialize=False, verbose_name="Stripe event"),
                        ),
                        ("event_type", models.TextField()),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("pending", "Pending"),
                                    ("processing", "Processing"),
                                    ("processed", "Processed"),
                                    ("failed", "Failed"),
                                    ("ignored", "Ignored"),
                                    ("dead", "Dead"),
                                ]
                            ),
                        ),
                        ("attempts", models.IntegerField()),
                        ("last_error", models.TextField(null=True)),
                        ("next_retry_at", models.DateTimeField(null=True)),
                        ("received_at", models.DateTimeField()),
                    ],
                    options={
                        "db_table": "v_failed_webhook_events",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="HighVolumeUser",
                    fields=[
                        (
                            "user",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="+",
                                serialize=False,
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                null=True,
                                verbose_name="plan",
                            ),
                        ),
                        ("requests_last_hour", models.BigIntegerField()),
                        ("requests_last_24h", models.BigIntegerField(verbose_name="requests last 24 h")),
                        ("failed_last_24h", models.BigIntegerField(verbose_name="failed last 24 h")),
                        (
                            "user_status",
                            models.TextField(
                                choices=[("active", "Active"), ("suspended", "Suspended"), ("deleted", "Deleted")],
                                null=True,
                                verbose_name="customer status",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "high volume customer",
                        "db_table": "v_high_volume_users",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="LongRunningQuery",
                    fields=[
                        ("pid", models.IntegerField(primary_key=True, serialize=False, verbose_name="process")),
                        ("username", models.TextField(verbose_name="role")),
                        ("state", models.TextField()),
                        ("duration_seconds", models.DecimalField(decimal_places=1, max_digits=20, null=True)),
                        ("wait_event", models.TextField(null=True)),
                        ("query", models.TextField()),
                        ("application_name", models.TextField(verbose_name="application")),
                        ("blocked_by", models.IntegerField()),
                    ],
                    options={
                        "verbose_name_plural": "long running queries",
                        "db_table": "v_long_running_queries",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="OrphanedStripeCustomer",
                    fields=[
                        (
                            "user",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="+",
                                serialize=False,
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        ("stripe_customer_id", models.TextField(verbose_name="Stripe customer")),
                        ("created_at", models.DateTimeField()),
                    ],
                    options={
                        "verbose_name": "orphaned Stripe customer",
                        "db_table": "v_orphaned_stripe_customers",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="PaidUserWithoutKey",
                    fields=[
                        (
                            "user",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="+",
                                serialize=False,
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan",
                            ),
                        ),
                        ("subscribed_at", models.DateTimeField()),
                    ],
                    options={
                        "verbose_name": "paying customer without API key",
                        "verbose_name_plural": "paying customers without API key",
                        "db_table": "v_paid_users_without_keys",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="RepeatedFailure",
                    fields=[
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        ("endpoint", models.TextField()),
                        ("failures_last_hour", models.BigIntegerField()),
                        ("last_failure_at", models.DateTimeField()),
                        ("last_status_code", models.IntegerField()),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "db_table": "v_repeated_failures",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="RevenueMetrics",
                    fields=[
                        ("mrr_cents", models.BigIntegerField(verbose_name="MRR")),
                        ("arr_cents", models.BigIntegerField(verbose_name="ARR")),
                        ("arpu_cents", models.BigIntegerField(verbose_name="ARPU")),
                        ("paying_customers", models.BigIntegerField()),
                        ("revenue_this_month_cents", models.BigIntegerField(verbose_name="revenue this month")),
                        ("revenue_last_month_cents", models.BigIntegerField(verbose_name="revenue last month")),
                        ("refunded_this_month_cents", models.BigIntegerField(verbose_name="refunded this month")),
                        ("failed_payments_this_month", models.BigIntegerField()),
                        ("currency", models.TextField(primary_key=True, serialize=False)),
                        ("customers_in_other_currencies", models.BigIntegerField()),
                    ],
                    options={
                        "verbose_name": "revenue metrics",
                        "verbose_name_plural": "revenue metrics",
                        "db_table": "v_revenue_metrics",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="SlowEndpoint",
                    fields=[
                        ("endpoint", models.TextField()),
                        ("method", models.TextField()),
                        ("requests", models.BigIntegerField()),
                        ("avg_ms", models.DecimalField(decimal_places=1, max_digits=20, verbose_name="mean, ms")),
                        ("p95_ms", models.IntegerField(verbose_name="95 %, ms")),
                        ("p99_ms", models.IntegerField(verbose_name="99 %, ms")),
                        ("max_ms", models.IntegerField(verbose_name="slowest, ms")),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "db_table": "v_slow_endpoints",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="StaleSubscription",
                    fields=[
                        (
                            "subscription",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="+",
                                serialize=False,
                                to="billing.subscription",
                            ),
                        ),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan",
                            ),
                        ),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("incomplete", "Incomplete"),
                                    ("incomplete_expired", "Incomplete, expired"),
                                    ("trialing", "Trialing"),
                                    ("active", "Active"),
                                    ("past_due", "Past due"),
                                    ("unpaid", "Unpaid"),
                                    ("paused", "Paused"),
                                    ("canceled", "Canceled"),
                                ]
                            ),
                        ),
                        ("current_period_end", models.DateTimeField()),
                        ("days_overdue", models.DecimalField(decimal_places=2, max_digits=12)),
                        ("stripe_subscription_id", models.TextField(null=True, verbose_name="Stripe subscription")),
                    ],
                    options={
                        "db_table": "v_stale_subscriptions",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="SubscriptionBreakdown",
                    fields=[
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan",
                            ),
                        ),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("incomplete", "Incomplete"),
                                    ("incomplete_expired", "Incomplete, expired"),
                                    ("trialing", "Trialing"),
                                    ("active", "Active"),
                                    ("past_due", "Past due"),
                                    ("unpaid", "Unpaid"),
                                    ("paused", "Paused"),
                                    ("canceled", "Canceled"),
                                ]
                            ),
                        ),
                        ("subscriptions", models.BigIntegerField()),
                        ("mrr_cents", models.BigIntegerField(verbose_name="MRR")),
                        ("currency", models.TextField()),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "verbose_name": "subscriptions by plan and status",
                        "verbose_name_plural": "subscriptions by plan and status",
                        "db_table": "v_subscription_breakdown",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="SystemHealth",
                    fields=[
                        ("check_name", models.TextField(primary_key=True, serialize=False, verbose_name="check")),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("ok", "OK"),
                                    ("warning", "Warning"),
                                    ("critical", "Critical"),
                                    ("unknown", "Unknown"),
                                ]
                            ),
                        ),
                        ("value", models.DecimalField(decimal_places=2, max_digits=30, null=True)),
                        (
                            "warning_at",
                            models.DecimalField(
                                decimal_places=2, max_digits=20, null=True, verbose_name="warning beyond"
                            ),
                        ),
                        (
                            "critical_at",
                            models.DecimalField(
                                decimal_places=2, max_digits=20, null=True, verbose_name="critical beyond"
                            ),
                        ),
                        ("message", models.TextField(null=True)),
                        ("remediation", models.TextField()),
                        ("title", models.TextField()),
                        ("unit", models.TextField()),
                        ("lower_is_worse", models.BooleanField()),
                    ],
                    options={
                        "verbose_name": "system health",
                        "verbose_name_plural": "system health",
                        "db_table": "v_system_health",
                        "permissions": [("export_views", "Can export monitoring pages")],
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="UserGrowth",
                    fields=[
                        ("month", models.DateField(primary_key=True, serialize=False)),
                        ("new_users", models.BigIntegerField(verbose_name="new customers")),
                        ("total_users", models.BigIntegerField(verbose_name="customers")),
                        ("growth_percent", models.DecimalField(decimal_places=2, max_digits=20, null=True)),
                    ],
                    options={
                        "verbose_name": "month of growth",
                        "verbose_name_plural": "customer growth",
                        "db_table": "v_user_growth",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="UserNearLimit",
                    fields=[
                        (
                            "user",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="+",
                                serialize=False,
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan",
                            ),
                        ),
                        ("usage_count", models.BigIntegerField()),
                        ("monthly_request_limit", models.BigIntegerField()),
                        ("percent_used", models.DecimalField(decimal_places=2, max_digits=20)),
                    ],
                    options={
                        "verbose_name": "customer near the limit",
                        "verbose_name_plural": "customers near their limit",
                        "db_table": "v_users_near_limit",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="Alert",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                db_default=django.contrib.postgres.functions.RandomUUID(),
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("fingerprint", models.TextField(help_text="The check and the object, never the value.")),
                        ("alert_type", models.TextField()),
                        ("subject", models.TextField()),
                        (
                            "severity",
                            models.TextField(
                                choices=[("critical", "Critical"), ("warning", "Warning"), ("info", "Info")]
                            ),
                        ),
                        (
                            "state",
                            models.TextField(
                                choices=[
                                    ("pending", "Pending"),
                                    ("firing", "Firing"),
                                    ("acknowledged", "Acknowledged"),
                                    ("snoozed", "Snoozed"),
                                    ("resolved", "Resolved"),
                                ],
                                db_default="pending",
                            ),
                        ),
                        ("message", models.TextField(db_default="")),
                        ("remediation", models.TextField(db_default="")),
                        ("value", models.DecimalField(decimal_places=6, max_digits=40, null=True)),
                        ("evaluations_failing", models.IntegerField(db_default=1)),
                        (
                            "evaluations_better",
                            models.IntegerField(db_default=0, help_text="In a row; resets when it fails again."),
                        ),
                        ("first_seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("last_seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("fired_at", models.DateTimeField(null=True)),
                        ("notified_at", models.DateTimeField(null=True)),
                        ("acknowledged_at", models.DateTimeField(null=True)),
                        ("acknowledged_by", models.TextField(null=True)),
                        ("snoozed_until", models.DateTimeField(null=True)),
                        ("snoozed_by", models.TextField(null=True)),
                        ("note", models.TextField(db_default="")),
                        ("resolved_at", models.DateTimeField(null=True)),
                        (
                            "object_type",
                            models.TextField(
                                help_text="What kind of thing it is about; empty: the whole system.", null=True
                            ),
                        ),
                        ("object_id", models.TextField(null=True)),
                    ],
                    options={
                        "db_table": "alerts",
                        "permissions": [("acknowledge_alert", "Can acknowledge and snooze alerts")],
                    },
                ),
                migrations.CreateModel(
                    name="DailyFigures",
                    fields=[
                        ("day", models.DateField(primary_key=True, serialize=False)),
                        ("total_users", models.BigIntegerField(verbose_name="customers")),
                        ("new_users", models.BigIntegerField(verbose_name="new customers")),
                        ("paying_customers", models.BigIntegerField()),
                        ("churned_customers", models.BigIntegerField()),
                        ("requests", models.BigIntegerField()),
                        ("failed_requests", models.BigIntegerField()),
                        ("active_users", models.BigIntegerField(verbose_name="active customers")),
                        ("total_response_time_ms", models.BigIntegerField()),
                        ("taken_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "verbose_name": "day of figures",
                        "verbose_name_plural": "days of figures",
                        "db_table": "daily_figures",
                    },
                ),
                migrations.CreateModel(
                    name="DailyMrr",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "day", "currency", "tier", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("day", models.DateField()),
                        ("currency", models.TextField()),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan",
                            ),
                        ),
                        ("start_cents", models.BigIntegerField()),
                        ("new_cents", models.BigIntegerField()),
                        ("expansion_cents", models.BigIntegerField()),
                        ("contraction_cents", models.BigIntegerField()),
                        ("churn_cents", models.BigIntegerField()),
                        ("reactivation_cents", models.BigIntegerField()),
                        (
                            "transfer_cents",
                            models.BigIntegerField(help_text="What came from other plans or went there; no revenue."),
                        ),
                        ("end_cents", models.BigIntegerField()),
                        ("customers", models.BigIntegerField()),
                    ],
                    options={
                        "verbose_name": "day of MRR",
                        "verbose_name_plural": "days of MRR",
                        "db_table": "daily_mrr",
                    },
                ),
                migrations.CreateModel(
                    name="HealthCheck",
                    fields=[
                        ("check_name", models.TextField(primary_key=True, serialize=False, verbose_name="check")),
                        ("title", models.TextField()),
                        ("unit", models.TextField()),
                        ("lower_is_worse", models.BooleanField(db_default=False)),
                        (
                            "warning_at",
                            models.DecimalField(
                                blank=True,
                                decimal_places=2,
                                help_text="Empty never warns.",
                                max_digits=20,
                                null=True,
                                verbose_name="warning beyond",
                            ),
                        ),
                        (
                            "critical_at",
                            models.DecimalField(
                                blank=True,
                                decimal_places=2,
                                help_text="Empty is never critical. Must be at least as bad as the warning.",
                                max_digits=20,
                                null=True,
                                verbose_name="critical beyond",
                            ),
                        ),
                        (
                            "is_enabled",
                            models.BooleanField(
                                db_default=True,
                                help_text="A disabled check is not measured and raises no alert.",
                                verbose_name="enabled",
                            ),
                        ),
                        ("remediation", models.TextField()),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                    ],
                    options={
                        "db_table": "health_checks",
                    },
                ),
                migrations.CreateModel(
                    name="JobSchedule",
                    fields=[
                        ("job", models.TextField(primary_key=True, serialize=False)),
                        ("description", models.TextField(help_text="What the job protects against.")),
                        ("cron", models.TextField(help_text="Cron expression, UTC.")),
                        ("enabled", models.BooleanField(db_default=True)),
                        ("timeout_seconds", models.IntegerField()),
                        ("interval_seconds", models.IntegerField(help_text="The longest pause between two slots.")),
                        (
                            "grace_seconds",
                            models.IntegerField(help_text="How late a slot may start before it counts as missed."),
                        ),
                        ("next_due_at", models.DateTimeField(null=True)),
                        ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "verbose_name": "job",
                        "db_table": "job_schedules",
                        "permissions": [
                            ("run_job", "Can run a maintenance job now"),
                            ("schedule_job", "Can change or switch off a job's schedule"),
                        ],
                        "default_permissions": ("view",),
                    },
                ),
                migrations.CreateModel(
                    name="JobRun",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                db_default=django.contrib.postgres.functions.RandomUUID(),
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("job", models.TextField()),
                        (
                            "scheduled_for",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(),
                                help_text="The slot of the schedule, or the moment somebody asked.",
                            ),
                        ),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("running", "Running"),
                                    ("succeeded", "Succeeded"),
                                    ("failed", "Failed"),
                                    ("skipped", "Skipped"),
                                ],
                                db_default="running",
                            ),
                        ),
                        ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("finished_at", models.DateTimeField(null=True)),
                        ("rows_affected", models.BigIntegerField(null=True)),
                        ("detail", models.JSONField(db_default={})),
                        ("error", models.TextField(null=True)),
                        (
                            "trigger",
                            models.TextField(
                                db_default="manual",
                                help_text="What started it: schedule, cron, systemd, lambda or a person.",
                            ),
                        ),
                        (
                            "lease_until",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(),
                                help_text="A running job extends this; once passed, the process is taken for dead.",
                            ),
                        ),
                        (
                            "attempts",
                            models.IntegerField(
                                db_default=1, help_text="More than one when an earlier process died in this slot."
                            ),
                        ),
                        ("worker", models.TextField(help_text="Host and process that ran it.", null=True)),
                    ],
                    options={
                        "verbose_name": "job run",
                        "db_table": "job_runs",
                        "default_permissions": ("view",),
                        "constraints": [models.UniqueConstraint(fields=("job", "scheduled_for"), name="job_runs_slot")],
                    },
                ),
                migrations.CreateModel(
                    name="MrrMovement",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("occurred_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("audit_id", models.BigIntegerField(null=True, verbose_name="audit entry")),
                        (
                            "kind",
                            models.TextField(
                                choices=[
                                    ("new", "New"),
                                    ("expansion", "Expansion"),
                                    ("contraction", "Contraction"),
                                    ("churn", "Churn"),
                                    ("reactivation", "Reactivation"),
                                ]
                            ),
                        ),
                        ("currency", models.TextField()),
                        (
                            "amount_cents",
                            models.BigIntegerField(help_text="A month; negative when less is paid than before."),
                        ),
                        ("before_cents", models.BigIntegerField()),
                        ("after_cents", models.BigIntegerField()),
                        (
                            "tier_before",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                null=True,
                                verbose_name="plan before",
                            ),
                        ),
                        (
                            "tier_after",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                null=True,
                                verbose_name="plan after",
                            ),
                        ),
                        (
                            "origin",
                            models.TextField(
                                choices=[
                                    ("change", "Recorded as it happened"),
                                    ("history", "Derived from the dates of the subscription"),
                                    ("reconciled", "Found afterwards"),
                                ],
                                db_default="change",
                            ),
                        ),
                        (
                            "subscription",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="billing.subscription",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "MRR movement",
                        "db_table": "mrr_movements",
                    },
                ),
                migrations.CreateModel(
                    name="Notification",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("channel", models.TextField(choices=[("slack", "Slack"), ("email", "E-mail")])),
                        (
                            "kind",
                            models.TextField(
                                choices=[
                                    ("opened", "Opened"),
                                    ("escalated", "Escalated"),
                                    ("reminder", "Reminder"),
                                    ("resolved", "Resolved"),
                                    ("report", "Daily report"),
                                ]
                            ),
                        ),
                        ("report_on", models.DateField(help_text="The day that a daily report is about.", null=True)),
                        (
                            "severity",
                            models.TextField(
                                choices=[("critical", "Critical"), ("warning", "Warning"), ("info", "Info")],
                                help_text="At the time of the change.",
                            ),
                        ),
                        ("message", models.TextField(db_default="", help_text="At the time of the change.")),
                        (
                            "status",
                            models.TextField(
                                choices=[("pending", "Pending"), ("sent", "Sent"), ("dead", "Given up")],
                                db_default="pending",
                            ),
                        ),
                        ("attempts", models.IntegerField(db_default=0)),
                        ("next_attempt_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("last_error", models.TextField(null=True)),
                        (
                            "delivery_id",
                            models.UUIDField(help_text="Shared by what went out together as one summary.", null=True),
                        ),
                        ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("sent_at", models.DateTimeField(null=True)),
                        (
                            "alert",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="notifications",
                                to="monitoring.alert",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "notifications",
                    },
                ),
                migrations.CreateModel(
                    name="WorkerHeartbeat",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                db_default=django.contrib.postgres.functions.RandomUUID(),
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("host", models.TextField()),
                        ("pid", models.IntegerField()),
                        ("cluster_pid", models.IntegerField()),
                        ("role", models.TextField(choices=[("pusher", "Pusher"), ("worker", "Worker")])),
                        ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        (
                            "pulled_at",
                            models.DateTimeField(
                                help_text="When a pusher last handed a task to the workers.", null=True
                            ),
                        ),
                        ("task", models.TextField(help_text="What the worker is busy with.", null=True)),
                        ("task_deadline_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "verbose_name": "worker",
                        "db_table": "worker_heartbeats",
                        "default_permissions": ("view",),
                        "constraints": [
                            models.UniqueConstraint(fields=("host", "pid"), name="worker_heartbeats_process")
                        ],
                    },
                ),
            ],
        ),
        # From the subscriptions that are there.
        migrations.RunSQL("SELECT rebuild_mrr_history()", migrations.RunSQL.noop),
    ]
