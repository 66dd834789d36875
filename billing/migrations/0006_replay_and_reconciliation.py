import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_maintenance"),
    ]

    operations = [
        RunSQLFile(
            "billing",
            "0006_replay_and_reconciliation",
            state_operations=[
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
                        (
                            "take_in",
                            models.BooleanField(db_default=False, help_text="Store events that never arrived."),
                        ),
                        ("heal", models.BooleanField(db_default=False, help_text="Bring differing rows in line.")),
                        ("events_from", models.DateTimeField()),
                        ("events_until", models.DateTimeField(help_text="Where the next run starts to list events.")),
                        ("request_budget", models.IntegerField()),
                        ("requests", models.IntegerField(db_default=0)),
                        ("compared", models.IntegerField(db_default=0)),
                        ("missing_events", models.IntegerField(db_default=0)),
                        ("differences_found", models.IntegerField(db_default=0)),
                        ("healed", models.IntegerField(db_default=0)),
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
                            models.JSONField(help_text="Which events; see billing.services.event_filter.EventFilter."),
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
                                    ("missing_here", "Missing here"),
                                    ("missing_there", "Missing at Stripe"),
                                    ("differs", "Differs"),
                                ]
                            ),
                        ),
                        ("object_kind", models.TextField(help_text="event, customer, subscription or charge.")),
                        ("stripe_id", models.TextField()),
                        ("stripe_customer_id", models.TextField(null=True)),
                        ("field", models.TextField(db_default="")),
                        ("here", models.TextField(null=True)),
                        ("there", models.TextField(null=True)),
                        (
                            "status",
                            models.TextField(
                                choices=[("open", "Open"), ("healed", "Healed"), ("gone", "Gone by itself")],
                                db_default="open",
                            ),
                        ),
                        ("note", models.TextField(help_text="Why it could not be healed.", null=True)),
                        ("found_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("closed_at", models.DateTimeField(null=True)),
                        (
                            "user",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="+",
                                to="billing.user",
                            ),
                        ),
                        (
                            "run",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="differences",
                                to="billing.reconciliationrun",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "reconciliation_differences",
                        "ordering": ["-id"],
                    },
                ),
            ],
        )
    ]
