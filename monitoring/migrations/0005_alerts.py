import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0004_traffic"),
    ]

    operations = [
        RunSQLFile(
            "monitoring",
            "0005_alerts",
            state_operations=[
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
            ],
        )
    ]
