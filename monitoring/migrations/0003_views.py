import django.db.models.deletion
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_triggers"),
        ("monitoring", "0002_revenue"),
    ]

    operations = [
        RunSQLFile(
            "monitoring",
            "0003_views",
            state_operations=[
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
                                ]
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
                                ]
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
                                ]
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
                        "verbose_name": "subscriptions by tier and status",
                        "verbose_name_plural": "subscriptions by tier and status",
                        "db_table": "v_subscription_breakdown",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="UserGrowth",
                    fields=[
                        ("month", models.DateField(primary_key=True, serialize=False)),
                        ("new_users", models.BigIntegerField()),
                        ("total_users", models.BigIntegerField()),
                        ("growth_percent", models.DecimalField(decimal_places=2, max_digits=20, null=True)),
                    ],
                    options={
                        "verbose_name": "month of growth",
                        "verbose_name_plural": "user growth",
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
                                ]
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
            ],
        ),
    ]
