from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_seals"),
        ("billing", "0008_first_payments"),
        ("database", "0003_watch"),
        ("monitoring", "0004_watch"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0005_retention",
            state_operations=[
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
