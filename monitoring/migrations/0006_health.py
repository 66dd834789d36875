import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0012_stripe_permissions"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
        ("monitoring", "0005_alerts"),
    ]

    operations = [
        RunSQLFile(
            "monitoring",
            "0006_health",
            state_operations=[
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
            ],
        ),
    ]
