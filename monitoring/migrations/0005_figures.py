import django.db.models.deletion
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("approval", "0001_approvals"),
        ("audit", "0004_erasure"),
        ("billing", "0008_desks"),
        ("database", "0003_watch"),
        ("monitoring", "0004_watch"),
        ("staff", "0002_sessions"),
        ("web", "0003_used_forms"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0005_figures",
            state_operations=[
                migrations.CreateModel(
                    name="ExpiringCard",
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
                        ("card_brand", models.TextField(null=True)),
                        ("card_last4", models.TextField(null=True)),
                        ("card_expires_on", models.DateField(verbose_name="expires")),
                        ("next_charge_at", models.DateTimeField(verbose_name="charged next")),
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
                        ("mrr_cents", models.BigIntegerField(verbose_name="MRR")),
                        ("currency", models.TextField()),
                    ],
                    options={
                        "db_table": "v_expiring_cards",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="Forecast",
                    fields=[
                        (
                            "figure",
                            models.TextField(
                                choices=[
                                    ("renewal", "Renewals"),
                                    ("trial_end", "First charges after a trial"),
                                    ("cancellation", "Booked cancellations (MRR)"),
                                    ("requests", "API requests"),
                                ]
                            ),
                        ),
                        ("number", models.BigIntegerField(null=True)),
                        ("low", models.BigIntegerField(null=True, verbose_name="at least")),
                        ("high", models.BigIntegerField(null=True, verbose_name="at most")),
                        ("amount_cents", models.BigIntegerField(null=True, verbose_name="amount")),
                        ("currency", models.TextField(null=True)),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "verbose_name": "figure of the forecast",
                        "verbose_name_plural": "forecast",
                        "db_table": "v_forecast",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="LifetimeValue",
                    fields=[
                        ("currency", models.TextField()),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("all", "All plans"),
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan",
                            ),
                        ),
                        ("customer_months", models.BigIntegerField()),
                        ("customers_lost", models.BigIntegerField()),
                        ("arpu_cents", models.BigIntegerField(null=True, verbose_name="ARPU")),
                        (
                            "churn_percent",
                            models.DecimalField(
                                decimal_places=2, max_digits=30, null=True, verbose_name="churn a month"
                            ),
                        ),
                        ("ltv_cents", models.BigIntegerField(null=True, verbose_name="lifetime value")),
                        ("ltv_low_cents", models.BigIntegerField(null=True, verbose_name="at least")),
                        ("ltv_high_cents", models.BigIntegerField(null=True, verbose_name="at most")),
                        ("realised_customers", models.BigIntegerField(verbose_name="customers who paid")),
                        ("realised_cents", models.BigIntegerField(null=True, verbose_name="came in from one")),
                        ("left_customers", models.BigIntegerField(verbose_name="of them left")),
                        (
                            "left_realised_cents",
                            models.BigIntegerField(null=True, verbose_name="came in from one who left"),
                        ),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "verbose_name": "lifetime value",
                        "verbose_name_plural": "lifetime value",
                        "db_table": "v_lifetime_value",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="MrrRetention",
                    fields=[
                        ("month", models.DateField()),
                        ("currency", models.TextField()),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("all", "All plans"),
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan",
                            ),
                        ),
                        ("customers_at_start", models.BigIntegerField()),
                        ("customers_lost", models.BigIntegerField()),
                        ("customers_gained", models.BigIntegerField()),
                        ("start_cents", models.BigIntegerField(verbose_name="MRR at the start")),
                        ("new_cents", models.BigIntegerField(verbose_name="new")),
                        ("reactivation_cents", models.BigIntegerField(verbose_name="reactivation")),
                        ("expansion_cents", models.BigIntegerField(verbose_name="expansion")),
                        ("contraction_cents", models.BigIntegerField(verbose_name="contraction")),
                        ("churn_cents", models.BigIntegerField(verbose_name="churn")),
                        ("end_cents", models.BigIntegerField(verbose_name="MRR at the end")),
                        (
                            "nrr_percent",
                            models.DecimalField(
                                decimal_places=2, max_digits=30, null=True, verbose_name="net retention"
                            ),
                        ),
                        (
                            "grr_percent",
                            models.DecimalField(
                                decimal_places=2, max_digits=30, null=True, verbose_name="gross retention"
                            ),
                        ),
                        ("quick_ratio", models.DecimalField(decimal_places=2, max_digits=30, null=True)),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "verbose_name": "month of revenue",
                        "verbose_name_plural": "revenue retention",
                        "db_table": "v_mrr_retention",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="PaymentAtRisk",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        ("stripe_invoice_id", models.TextField(verbose_name="Stripe invoice")),
                        ("amount_due_cents", models.BigIntegerField(verbose_name="to pay")),
                        ("currency", models.TextField()),
                        ("mrr_cents", models.BigIntegerField(verbose_name="MRR")),
                        ("attempt_count", models.BigIntegerField(verbose_name="tries")),
                        ("failure_code", models.TextField(null=True)),
                        ("next_attempt_at", models.DateTimeField(null=True, verbose_name="next try")),
                        ("overdue_since", models.DateTimeField()),
                        ("days_overdue", models.DecimalField(decimal_places=2, max_digits=12)),
                        ("number", models.TextField(null=True)),
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
                            "subscription_status",
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
                                verbose_name="status",
                            ),
                        ),
                        ("decline_code", models.TextField(null=True)),
                        ("reason", models.TextField(null=True, verbose_name="why")),
                        ("card_brand", models.TextField(null=True)),
                        ("card_last4", models.TextField(null=True)),
                        ("card_expires_on", models.DateField(null=True)),
                        ("last_contact_at", models.DateTimeField(null=True, verbose_name="last contact")),
                        ("owner", models.TextField(null=True)),
                        ("extended_until_on", models.DateField(null=True, verbose_name="time until")),
                        ("is_extended", models.BooleanField(null=True, verbose_name="has time")),
                    ],
                    options={
                        "verbose_name": "payment at risk",
                        "verbose_name_plural": "payments at risk",
                        "db_table": "v_payments_at_risk",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="PaymentRecovery",
                    fields=[
                        ("id", models.TextField(primary_key=True, serialize=False)),
                        ("month", models.DateField()),
                        ("code", models.TextField()),
                        ("reason", models.TextField(verbose_name="why")),
                        ("currency", models.TextField()),
                        ("failed", models.BigIntegerField()),
                        ("recovered", models.BigIntegerField()),
                        ("lost", models.BigIntegerField()),
                        ("open", models.BigIntegerField()),
                        ("failed_cents", models.BigIntegerField(verbose_name="failed amount")),
                        ("recovered_cents", models.BigIntegerField(verbose_name="recovered amount")),
                        ("lost_cents", models.BigIntegerField(verbose_name="lost amount")),
                        ("open_cents", models.BigIntegerField(verbose_name="open amount")),
                        (
                            "mean_days",
                            models.DecimalField(
                                decimal_places=2, max_digits=12, null=True, verbose_name="days to recover"
                            ),
                        ),
                        ("recovered_percent", models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                    ],
                    options={
                        "verbose_name": "month of recovery",
                        "verbose_name_plural": "recovery of failed payments",
                        "db_table": "v_payment_recovery",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="Renewal",
                    fields=[
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
                            "kind",
                            models.TextField(
                                choices=[
                                    ("renewal", "Renewal"),
                                    ("trial_end", "First charge after the trial"),
                                    ("cancellation", "Cancellation"),
                                ]
                            ),
                        ),
                        ("due_at", models.DateTimeField(verbose_name="due")),
                        ("amount_cents", models.BigIntegerField(verbose_name="amount")),
                        ("currency", models.TextField()),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "verbose_name": "renewal or cancellation",
                        "verbose_name_plural": "renewals and cancellations",
                        "db_table": "v_renewals",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="Retention",
                    fields=[
                        (
                            "cohort",
                            models.DateField(
                                help_text="Month of the first payment; none while it has not come.", null=True
                            ),
                        ),
                        ("age_months", models.IntegerField(null=True, verbose_name="months since")),
                        ("customers", models.BigIntegerField()),
                        ("mrr_cents", models.BigIntegerField(verbose_name="MRR")),
                        ("currency", models.TextField()),
                        ("month", models.DateField()),
                        ("cohort_customers", models.BigIntegerField(null=True, verbose_name="size of the cohort")),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "verbose_name": "month of a cohort",
                        "verbose_name_plural": "retention",
                        "db_table": "v_retention",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="RetentionCustomer",
                    fields=[
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        ("cohort", models.DateField(null=True)),
                        ("age_months", models.IntegerField(null=True, verbose_name="months since")),
                        ("mrr_cents", models.BigIntegerField(verbose_name="MRR")),
                        ("currency", models.TextField()),
                        ("month", models.DateField()),
                        ("is_paying", models.BooleanField(verbose_name="paying")),
                        ("id", models.TextField(primary_key=True, serialize=False)),
                    ],
                    options={
                        "verbose_name": "customer of a cohort",
                        "verbose_name_plural": "customers of cohorts",
                        "db_table": "v_retention_customers",
                        "managed": False,
                    },
                ),
            ],
        ),
    ]
