import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_triggers"),
        ("monitoring", "0001_jobs"),
    ]

    operations = [
        RunSQLFile(
            "monitoring",
            "0002_revenue",
            state_operations=[
                migrations.CreateModel(
                    name="DailyFigures",
                    fields=[
                        ("day", models.DateField(primary_key=True, serialize=False)),
                        ("total_users", models.BigIntegerField()),
                        ("new_users", models.BigIntegerField()),
                        ("paying_customers", models.BigIntegerField()),
                        ("churned_customers", models.BigIntegerField()),
                        ("requests", models.BigIntegerField()),
                        ("failed_requests", models.BigIntegerField()),
                        ("active_users", models.BigIntegerField()),
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
                                ]
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
                            models.BigIntegerField(help_text="What came from other tiers or went there; no revenue."),
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
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "MRR movement",
                        "db_table": "mrr_movements",
                    },
                ),
            ],
        )
    ]
