import django.db.models.deletion
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_maintenance"),
        ("monitoring", "0003_views"),
    ]

    operations = [
        RunSQLFile(
            "monitoring",
            "0004_traffic",
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
                        ("active_users", models.BigIntegerField()),
                    ],
                    options={
                        "verbose_name": "day of API usage",
                        "verbose_name_plural": "API usage trends",
                        "db_table": "v_api_usage_trends",
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
            ],
        ),
    ]
