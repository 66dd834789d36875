import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = [("audit", "0001_baseline"), ("database", "0001_baseline")]

    # It calls functions as they were then.
    run_before = [("database", "0002_isolation")]

    operations = [
        # For the search of names and addresses.
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS pg_trgm", migrations.RunSQL.noop),
        RunSQLFile(
            app="billing",
            name="0001_baseline",
            state_operations=[
                migrations.CreateModel(
                    name="MonthlyUsageSummary",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "user_id", "month", blank=True, editable=False, primary_key=True, serialize=False
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
                        "permissions": [
                            ("rotate_apikey", "Can replace an API key by a new one"),
                            ("revoke_apikey", "Can revoke an API key"),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="CognitoSyncCursor",
                    fields=[
                        ("user_pool_id", models.TextField(primary_key=True, serialize=False)),
                        ("page_token", models.TextField()),
                        ("pages", models.IntegerField()),
                        ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "cognito_sync_cursors",
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
                                verbose_name="plan",
                            ),
                        ),
                        ("name", models.TextField()),
                        (
                            "monthly_request_limit",
                            models.BigIntegerField(
                                blank=True, help_text="Requests a month; empty is unlimited.", null=True
                            ),
                        ),
                        ("rate_limit_per_minute", models.IntegerField(help_text="Requests a minute and key.")),
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
                    name="ReconciliationRun",
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
                            "status",
                            models.TextField(
                                choices=[
                                    ("running", "Running"),
                                    ("paused", "Paused: budget used up"),
                                    ("finished", "Finished"),
                                    ("failed", "Failed"),
                                ],
                                db_default="running",
                            ),
                        ),
                        (
                            "phase",
                            models.TextField(
                                choices=[
                                    ("events", "Events"),
                                    ("customers", "Customers"),
                                    ("subscriptions", "Subscriptions"),
                                    ("charges", "Charges"),
                                    ("unseen", "What Stripe did not list"),
                                ],
                                db_default="events",
                            ),
                        ),
                        ("position", models.TextField(help_text="The last object of the last page.", null=True)),
                        ("ingest", models.BooleanField(db_default=False, help_text="Store events that never arrived.")),
                        ("repair", models.BooleanField(db_default=False, help_text="Bring differing rows in line.")),
                        ("events_from", models.DateTimeField()),
                        ("events_until", models.DateTimeField(help_text="Where the next run starts to list events.")),
                        ("request_budget", models.IntegerField()),
                        ("requests", models.IntegerField(db_default=0)),
                        ("compared", models.IntegerField(db_default=0)),
                        ("missing_events", models.IntegerField(db_default=0)),
                        ("differences_found", models.IntegerField(db_default=0)),
                        ("repaired", models.IntegerField(db_default=0)),
                        ("error", models.TextField(null=True)),
                        ("actor", models.TextField()),
                        ("reason", models.TextField()),
                        ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        ("finished_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "db_table": "reconciliation_runs",
                        "ordering": ["-started_at"],
                    },
                ),
                migrations.CreateModel(
                    name="ReplayRun",
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
                            "status",
                            models.TextField(
                                choices=[("running", "Running"), ("finished", "Finished"), ("stopped", "Stopped")],
                                db_default="running",
                            ),
                        ),
                        (
                            "filters",
                            models.JSONField(help_text="Which events; see billing.stripe.events.filter.EventFilter."),
                        ),
                        ("events_per_minute", models.IntegerField()),
                        ("total", models.IntegerField(db_default=0)),
                        ("processed", models.IntegerField(db_default=0)),
                        ("failed", models.IntegerField(db_default=0)),
                        (
                            "skipped",
                            models.IntegerField(db_default=0, help_text="In another worker's hands at that moment."),
                        ),
                        ("position_at", models.DateTimeField(null=True)),
                        ("position_id", models.UUIDField(null=True)),
                        ("claimed_until", models.DateTimeField(null=True)),
                        ("actor", models.TextField()),
                        ("reason", models.TextField()),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        ("finished_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "db_table": "replay_runs",
                        "ordering": ["-created_at"],
                        "permissions": [("stop_replayrun", "Can stop a replay in the background")],
                    },
                ),
                migrations.CreateModel(
                    name="Tombstone",
                    fields=[
                        ("stripe_id", models.TextField(primary_key=True, serialize=False)),
                        ("kind", models.TextField()),
                        ("deleted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "stripe_tombstones",
                    },
                ),
                migrations.CreateModel(
                    name="UnmatchedCustomer",
                    fields=[
                        (
                            "stripe_customer_id",
                            models.TextField(primary_key=True, serialize=False, verbose_name="Stripe customer"),
                        ),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        ("name", models.TextField(db_default="")),
                        ("reason", models.TextField(help_text="Why it was not linked by itself.")),
                        ("first_seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "unmatched_stripe_customers",
                        "ordering": ["-first_seen_at"],
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
                            models.TextField(
                                blank=True, help_text="Unique whatever its case.", null=True, verbose_name="e-mail"
                            ),
                        ),
                        ("name", models.TextField(blank=True, db_default="")),
                        (
                            "status",
                            models.TextField(
                                choices=[("active", "Active"), ("suspended", "Suspended"), ("deleted", "Deleted")],
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
                        "permissions": [
                            ("fix_orphans", "Can give customers without a subscription the free plan"),
                            ("link_customer", "Can link a Stripe customer to a customer"),
                            ("suspend_user", "Can suspend and reactivate a customer"),
                            ("sync_customer", "Can sync a customer from Stripe"),
                        ],
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
                        ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("processing_started_at", models.DateTimeField(null=True)),
                        ("processed_at", models.DateTimeField(null=True)),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                    ],
                    options={
                        "db_table": "stripe_webhook_events",
                        "permissions": [
                            ("retry_webhookevent", "Can retry failed webhook events"),
                            ("replay_webhookevent", "Can process any webhook event again"),
                        ],
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
                        "permissions": [("map_planprice", "Can say which plan a Stripe price sells")],
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
                                ],
                                db_default="active",
                            ),
                        ),
                        (
                            "stripe_subscription_id",
                            models.TextField(blank=True, null=True, unique=True, verbose_name="Stripe subscription"),
                        ),
                        ("stripe_price_id", models.TextField(blank=True, null=True, verbose_name="Stripe price")),
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
                                db_default=0, editable=False, help_text="Requests of this calendar month, UTC."
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
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "subscriptions",
                        "permissions": [("cancel_subscription", "Can cancel a subscription at Stripe")],
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
                        ("stripe_payment_intent_id", models.TextField(null=True, verbose_name="Stripe payment intent")),
                        ("stripe_charge_id", models.TextField(null=True, unique=True, verbose_name="Stripe charge")),
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
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "payment_history",
                        "permissions": [("refund_payment", "Can refund a payment at Stripe")],
                    },
                ),
                migrations.CreateModel(
                    name="Difference",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        (
                            "kind",
                            models.TextField(
                                choices=[
                                    ("missing_locally", "Missing locally"),
                                    ("missing_at_stripe", "Missing at Stripe"),
                                    ("differs", "Differs"),
                                ]
                            ),
                        ),
                        ("object_kind", models.TextField(help_text="event, customer, subscription or charge.")),
                        ("stripe_id", models.TextField()),
                        ("stripe_customer_id", models.TextField(null=True)),
                        ("field", models.TextField(db_default="")),
                        ("local_value", models.TextField(null=True)),
                        ("stripe_value", models.TextField(null=True)),
                        (
                            "status",
                            models.TextField(
                                choices=[("open", "Open"), ("repaired", "Repaired"), ("gone", "Gone by itself")],
                                db_default="open",
                            ),
                        ),
                        ("note", models.TextField(help_text="Why it could not be repaired.", null=True)),
                        ("found_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("closed_at", models.DateTimeField(null=True)),
                        (
                            "run",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="differences",
                                to="billing.reconciliationrun",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="+",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "reconciliation_differences",
                        "ordering": ["-id"],
                        "permissions": [("repair_difference", "Can bring differing rows in line with Stripe")],
                    },
                ),
                migrations.CreateModel(
                    name="CustomerNote",
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
                        ("author", models.TextField()),
                        ("body", models.TextField()),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="notes",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "customer_notes",
                        "ordering": ["-created_at"],
                        "default_permissions": ("add", "view"),
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
                        ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
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
                                verbose_name="customer",
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
                        verbose_name="customer",
                    ),
                ),
            ],
        ),
        # This month and three ahead, so that the first row of a new database finds its partition.
        migrations.RunSQL("SELECT create_api_usage_partitions(3)", migrations.RunSQL.noop),
    ]
