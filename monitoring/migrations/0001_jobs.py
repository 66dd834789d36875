import django.contrib.postgres.functions
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        RunSQLFile(
            "monitoring",
            "0001_jobs",
            state_operations=[
                migrations.CreateModel(
                    name="JobSchedule",
                    fields=[
                        ("job", models.TextField(primary_key=True, serialize=False)),
                        ("description", models.TextField(help_text="What the job protects against.")),
                        ("cron", models.TextField(help_text="Cron expression, UTC.")),
                        ("enabled", models.BooleanField(db_default=True)),
                        ("timeout_seconds", models.IntegerField()),
                        ("interval_seconds", models.IntegerField(help_text="The longest pause between two slots.")),
                        (
                            "grace_seconds",
                            models.IntegerField(help_text="How late a slot may start before it counts as missed."),
                        ),
                        ("next_due_at", models.DateTimeField(null=True)),
                        ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "job_schedules",
                        "verbose_name": "job",
                        "default_permissions": ("view",),
                        "permissions": [
                            ("run_job", "Can run a maintenance job now"),
                            ("schedule_job", "Can change or switch off a job's schedule"),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="WorkerHeartbeat",
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
                        ("host", models.TextField()),
                        ("pid", models.IntegerField()),
                        ("cluster_pid", models.IntegerField()),
                        ("role", models.TextField(choices=[("pusher", "Pusher"), ("worker", "Worker")])),
                        ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        (
                            "pulled_at",
                            models.DateTimeField(
                                help_text="When a pusher last handed a task to the workers.", null=True
                            ),
                        ),
                        ("task", models.TextField(help_text="What the worker is busy with.", null=True)),
                        ("task_deadline_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "db_table": "worker_heartbeats",
                        "verbose_name": "worker",
                        "constraints": [
                            models.UniqueConstraint(fields=("host", "pid"), name="worker_heartbeats_process")
                        ],
                        "default_permissions": ("view",),
                    },
                ),
                migrations.CreateModel(
                    name="JobRun",
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
                        ("job", models.TextField()),
                        (
                            "scheduled_for",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(),
                                help_text="The slot of the schedule, or the moment somebody asked.",
                            ),
                        ),
                        (
                            "status",
                            models.TextField(
                                choices=[
                                    ("running", "Running"),
                                    ("succeeded", "Succeeded"),
                                    ("failed", "Failed"),
                                    ("skipped", "Skipped"),
                                ],
                                db_default="running",
                            ),
                        ),
                        ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("finished_at", models.DateTimeField(null=True)),
                        ("rows_affected", models.BigIntegerField(null=True)),
                        ("detail", models.JSONField(db_default={})),
                        ("error", models.TextField(null=True)),
                        (
                            "trigger",
                            models.TextField(
                                db_default="manual",
                                help_text="What started it: schedule, cron, systemd, lambda or a person.",
                            ),
                        ),
                        (
                            "lease_until",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(),
                                help_text="A running job extends this; once passed, the process is taken for dead.",
                            ),
                        ),
                        (
                            "attempts",
                            models.IntegerField(
                                db_default=1, help_text="More than one when an earlier process died in this slot."
                            ),
                        ),
                        ("worker", models.TextField(help_text="Host and process that ran it.", null=True)),
                    ],
                    options={
                        "db_table": "job_runs",
                        "verbose_name": "job run",
                        "default_permissions": ("view",),
                        "constraints": [models.UniqueConstraint(fields=("job", "scheduled_for"), name="job_runs_slot")],
                    },
                ),
            ],
        ),
    ]
