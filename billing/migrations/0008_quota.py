import django.contrib.postgres.functions
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_seals"),
        ("billing", "0007_rate_limit_months"),
        ("database", "0003_watch"),
        ("djstripe", "__latest__"),
        ("monitoring", "0004_watch"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0008_quota",
            state_operations=[
                migrations.CreateModel(
                    name="QuotaUsage",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "user_id", "month", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("month", models.DateField()),
                        ("counted_requests", models.BigIntegerField()),
                        ("corrected_requests", models.BigIntegerField()),
                        ("used_requests", models.BigIntegerField(help_text="Both together, never less than nothing.")),
                    ],
                    options={
                        "db_table": "quota_usage",
                        "managed": False,
                    },
                ),
                migrations.AddField(
                    model_name="ratelimit",
                    name="refused_count",
                    field=models.BigIntegerField(
                        db_default=0,
                        help_text="Of a month: what was refused; unknown once permits were leased.",
                        null=True,
                    ),
                ),
                migrations.AlterModelTable(
                    name="entitlement",
                    table="current_limits",
                ),
                migrations.CreateModel(
                    name="ExtraQuota",
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
                            "extra_requests",
                            models.BigIntegerField(
                                db_default=0,
                                help_text="More than the plan's, in each calendar month (UTC) that it touches.",
                                validators=[
                                    django.core.validators.MinValueValidator(0),
                                    django.core.validators.MaxValueValidator(1000000000000000),
                                ],
                                verbose_name="requests a month",
                            ),
                        ),
                        (
                            "extra_per_minute",
                            models.IntegerField(
                                db_default=0,
                                help_text="More than the plan's, for each key.",
                                validators=[
                                    django.core.validators.MinValueValidator(0),
                                    django.core.validators.MaxValueValidator(1000000000),
                                ],
                                verbose_name="requests a minute",
                            ),
                        ),
                        ("starts_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("ends_at", models.DateTimeField()),
                        ("reason", models.TextField()),
                        ("granted_by", models.TextField()),
                        (
                            "idempotency_key",
                            models.TextField(
                                editable=False,
                                help_text="The form or the change of plan that it came of.",
                                null=True,
                                unique=True,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "api_key",
                            models.ForeignKey(
                                help_text="Empty is all of the customer's keys.",
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to="billing.apikey",
                                verbose_name="API key",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="extra_quotas",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "extra quota",
                        "verbose_name_plural": "extra quota",
                        "db_table": "entitlement_grants",
                        "permissions": [("grant_extraquota", "Can grant and end extra quota")],
                        "default_permissions": ("view",),
                    },
                ),
                migrations.CreateModel(
                    name="UsageCorrection",
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
                        ("month", models.DateField(help_text="Its first day, UTC.")),
                        (
                            "number",
                            models.IntegerField(editable=False, help_text="Which of the month's corrections it is."),
                        ),
                        (
                            "requests",
                            models.BigIntegerField(help_text="More, or with a minus fewer, than were recorded."),
                        ),
                        ("reason", models.TextField()),
                        ("made_by", models.TextField()),
                        (
                            "idempotency_key",
                            models.TextField(
                                editable=False, help_text="The form that it came of.", null=True, unique=True
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "api_key",
                            models.ForeignKey(
                                db_constraint=False,
                                help_text="Which key it was about; it changes nothing.",
                                null=True,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="billing.apikey",
                                verbose_name="API key",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="usage_corrections",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "usage correction",
                        "db_table": "usage_corrections",
                        "permissions": [("correct_usage", "Can correct what a customer has used")],
                        "default_permissions": ("view",),
                    },
                ),
            ],
        ),
    ]
