import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        RunSQLFile(
            "billing",
            "0001_tables",
            state_operations=[
                migrations.CreateModel(
                    name="MonthlyUsageSummary",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "user_id",
                                "month",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("month", models.DateField()),
                        ("total_requests", models.BigIntegerField()),
                        ("successful_requests", models.BigIntegerField()),
                        ("failed_requests", models.BigIntegerField()),
                        ("total_response_time_ms", models.BigIntegerField()),
                        ("max_response_time_ms", models.IntegerField()),
                        ("last_request_at", models.DateTimeField()),
                    ],
                    options={
                        "verbose_name": "month of usage",
                        "verbose_name_plural": "months of usage",
                        "db_table": "monthly_usage_summary",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="ApiKey",
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
                        ("name", models.TextField(blank=True, db_default="")),
                        (
                            "environment",
                            models.TextField(
                                choices=[
                                    ("development", "Development"),
                                    ("staging", "Staging"),
                                    ("production", "Production"),
                                ],
                                db_default="development",
                            ),
                        ),
                        (
                            "key_prefix",
                            models.TextField(
                                help_text="How the key begins; enough to recognise it, too little to use it.",
                                verbose_name="prefix",
                            ),
                        ),
                        ("key_hash", models.TextField(editable=False)),
                        ("usage_count", models.BigIntegerField(db_default=0, editable=False)),
                        ("last_used_at", models.DateTimeField(editable=False, null=True)),
                        ("expires_at", models.DateTimeField(blank=True, null=True)),
                        ("revoked_at", models.DateTimeField(editable=False, null=True)),
                        ("revoked_reason", models.TextField(editable=False, null=True)),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                    ],
                    options={
                        "verbose_name": "API key",
                        "db_table": "api_keys",
                    },
                ),
                migrations.CreateModel(
                    name="AuditEntry",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        (
                            "occurred_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                        ),
                        ("actor", models.TextField()),
                        (
                            "action",
                            models.TextField(help_text="insert, update, delete, or a named operation."),
                        ),
                        ("table_name", models.TextField()),
                        ("row_id", models.TextField(null=True)),
                        ("old_values", models.JSONField(null=True)),
                        ("new_values", models.JSONField(null=True)),
                        ("reason", models.TextField(null=True)),
                        ("request_id", models.TextField(null=True)),
                    ],
                    options={
                        "verbose_name": "audit entry",
                        "verbose_name_plural": "audit log",
                        "db_table": "audit_log",
                    },
                ),
                migrations.CreateModel(
                    name="Plan",
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
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("name", models.TextField()),
                        (
                            "monthly_request_limit",
                            models.BigIntegerField(
                                blank=True, help_text="Requests a month; empty is unlimited.", null=True
                            ),
                        ),
                        (
                            "rate_limit_per_minute",
                            models.IntegerField(help_text="Requests a minute and key."),
                        ),
                        (
                            "price_cents",
                            models.IntegerField(
                                blank=True,
                                help_text="List price a month in US cents; empty is agreed with each customer.",
                                null=True,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                    ],
                    options={
                        "db_table": "plans",
                        "ordering": ["price_cents", "tier"],
                    },
                ),
                migrations.CreateModel(
                    name="User",
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
                        (
                            "cognito_user_id",
                            models.TextField(blank=True, null=True, unique=True, verbose_name="Cognito user"),
                        ),
                        (
                            "stripe_customer_id",
                            models.TextField(blank=True, null=True, unique=True, verbose_name="Stripe customer"),
                        ),
                        (
                            "email",
                            models.TextField(help_text="Unique whatever its case.", verbose_name="e-mail"),
                        ),
                        ("name", models.TextField(blank=True, db_default="")),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("active", "Active"),
                                    ("suspended", "Suspended"),
                                    ("deleted", "Deleted"),
                                ],
                                db_default="active",
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                    ],
                    options={
                        "verbose_name": "customer",
                        "db_table": "users",
                    },
                ),
                migrations.CreateModel(
                    name="WebhookEvent",
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
                        ("stripe_event_id", models.TextField(unique=True, verbose_name="Stripe event")),
                        ("event_type", models.TextField(db_default="unknown")),
                        ("api_version", models.TextField(null=True)),
                        ("livemode", models.BooleanField(db_default=False)),
                        ("payload", models.JSONField(db_default={})),
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
                                ],
                                db_default="pending",
                            ),
                        ),
                        ("attempts", models.IntegerField(db_default=0)),
                        ("last_error", models.TextField(null=True)),
                        ("next_retry_at", models.DateTimeField(null=True)),
                        (
                            "received_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                        ),
                        ("processing_started_at", models.DateTimeField(null=True)),
                        ("processed_at", models.DateTimeField(null=True)),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                    ],
                    options={
                        "db_table": "stripe_webhook_events",
                    },
                ),
                migrations.CreateModel(
                    name="PlanPrice",
                    fields=[
                        ("stripe_price_id", models.TextField(primary_key=True, serialize=False)),
                        ("note", models.TextField(blank=True, db_default="")),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                db_column="tier",
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="prices",
                                to="billing.plan",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "plan_prices",
                        "ordering": ["plan", "stripe_price_id"],
                    },
                ),
                migrations.CreateModel(
                    name="RateLimit",
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
                        ("window_start", models.DateTimeField()),
                        ("window_seconds", models.IntegerField()),
                        ("request_count", models.BigIntegerField(db_default=0)),
                        ("expires_at", models.DateTimeField()),
                        (
                            "api_key",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="billing.apikey",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "rate_limits",
                    },
                ),
                migrations.CreateModel(
                    name="Subscription",
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
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                db_default="free",
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
                                ],
                                db_default="active",
                            ),
                        ),
                        (
                            "stripe_subscription_id",
                            models.TextField(blank=True, null=True, unique=True, verbose_name="Stripe subscription"),
                        ),
                        (
                            "stripe_price_id",
                            models.TextField(blank=True, null=True, verbose_name="Stripe price"),
                        ),
                        ("quantity", models.IntegerField(db_default=1)),
                        (
                            "price_cents",
                            models.BigIntegerField(
                                db_default=0, help_text="A month, after recurring discounts, before taxes."
                            ),
                        ),
                        ("currency", models.TextField(db_default="usd")),
                        (
                            "interval",
                            models.TextField(
                                choices=[
                                    ("day", "Daily"),
                                    ("week", "Weekly"),
                                    ("month", "Monthly"),
                                    ("year", "Yearly"),
                                ],
                                db_default="month",
                            ),
                        ),
                        ("current_period_start", models.DateTimeField(blank=True, null=True)),
                        ("current_period_end", models.DateTimeField(blank=True, null=True)),
                        ("cancel_at_period_end", models.BooleanField(db_default=False)),
                        ("canceled_at", models.DateTimeField(blank=True, null=True)),
                        ("trial_end", models.DateTimeField(blank=True, null=True)),
                        (
                            "monthly_request_limit",
                            models.BigIntegerField(blank=True, help_text="Empty is unlimited.", null=True),
                        ),
                        (
                            "usage_count",
                            models.BigIntegerField(
                                db_default=0,
                                editable=False,
                                help_text="Requests of this calendar month, UTC.",
                            ),
                        ),
                        ("usage_synced_at", models.DateTimeField(editable=False, null=True)),
                        (
                            "is_duplicate",
                            models.BooleanField(
                                db_default=False,
                                help_text="A second subscription at Stripe: grants nothing and counts nowhere.",
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="subscriptions",
                                to="billing.user",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "subscriptions",
                    },
                ),
                migrations.CreateModel(
                    name="Payment",
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
                        ("stripe_invoice_id", models.TextField(null=True, verbose_name="Stripe invoice")),
                        (
                            "stripe_payment_intent_id",
                            models.TextField(null=True, verbose_name="Stripe payment intent"),
                        ),
                        (
                            "stripe_charge_id",
                            models.TextField(null=True, unique=True, verbose_name="Stripe charge"),
                        ),
                        ("amount_cents", models.BigIntegerField()),
                        ("currency", models.TextField(db_default="usd")),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("pending", "Pending"),
                                    ("succeeded", "Succeeded"),
                                    ("failed", "Failed"),
                                    ("refunded", "Refunded"),
                                    ("partially_refunded", "Partially refunded"),
                                    ("disputed", "Disputed"),
                                ],
                                db_default="pending",
                            ),
                        ),
                        ("refunded_cents", models.BigIntegerField(db_default=0)),
                        ("failure_message", models.TextField(null=True)),
                        ("invoice_url", models.TextField(null=True)),
                        ("receipt_url", models.TextField(null=True)),
                        ("paid_at", models.DateTimeField(null=True)),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="payments",
                                to="billing.user",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "payment_history",
                    },
                ),
                migrations.CreateModel(
                    name="ApiUsage",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("endpoint", models.TextField()),
                        ("method", models.TextField()),
                        ("status_code", models.IntegerField()),
                        ("response_time_ms", models.IntegerField()),
                        ("request_bytes", models.IntegerField(null=True)),
                        ("response_bytes", models.IntegerField(null=True)),
                        ("ip_address", models.GenericIPAddressField(null=True)),
                        ("error_message", models.TextField(null=True)),
                        ("request_id", models.TextField(null=True)),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                        ),
                        (
                            "api_key",
                            models.ForeignKey(
                                db_constraint=False,
                                null=True,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="billing.apikey",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="billing.user",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "API request",
                        "db_table": "api_usage",
                    },
                ),
                migrations.AddField(
                    model_name="apikey",
                    name="user",
                    field=models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_keys",
                        to="billing.user",
                    ),
                ),
            ],
        ),
    ]
