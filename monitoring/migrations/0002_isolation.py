import django.contrib.postgres.fields
import django.contrib.postgres.functions
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_isolation"),
        ("billing", "0002_isolation"),
        ("database", "0002_isolation"),
        ("monitoring", "0001_baseline"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0002_isolation",
            state_operations=[
                migrations.CreateModel(
                    name="DatabaseSession",
                    fields=[
                        ("session_id", models.TextField(primary_key=True, serialize=False, verbose_name="session")),
                        ("pid", models.IntegerField(verbose_name="process")),
                        ("application_name", models.TextField(null=True, verbose_name="application")),
                        ("username", models.TextField(verbose_name="role")),
                        ("client", models.TextField(null=True, verbose_name="host")),
                        ("state", models.TextField()),
                        ("since", models.DateTimeField(null=True)),
                        ("transaction_since", models.DateTimeField(null=True, verbose_name="in a transaction since")),
                        ("wait_event", models.TextField(null=True, verbose_name="waits for")),
                        ("blocked_by", models.TextField(null=True)),
                        ("blocks", models.TextField(null=True)),
                        ("query", models.TextField(null=True, verbose_name="statement")),
                        ("is_own", models.BooleanField(verbose_name="this page's own")),
                    ],
                    options={
                        "verbose_name": "connection",
                        "db_table": "v_database_sessions",
                        "permissions": [
                            ("signal_databasesession", "Can cancel queries and end sessions of the database")
                        ],
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="IndexFinding",
                    fields=[
                        ("index_name", models.TextField(primary_key=True, serialize=False, verbose_name="index")),
                        ("table_name", models.TextField(verbose_name="table")),
                        ("problem", models.TextField(choices=[("unused", "Unused"), ("duplicate", "Duplicate")])),
                        ("detail", models.TextField(verbose_name="why")),
                        ("bytes", models.BigIntegerField(verbose_name="size")),
                        ("scans", models.BigIntegerField(null=True, verbose_name="reads")),
                        ("definition", models.TextField()),
                    ],
                    options={
                        "verbose_name_plural": "index findings",
                        "db_table": "v_index_findings",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="SchemaDifference",
                    fields=[
                        ("id", models.TextField(primary_key=True, serialize=False)),
                        (
                            "problem",
                            models.TextField(
                                choices=[("missing", "Missing"), ("different", "Different"), ("extra", "Extra")]
                            ),
                        ),
                        ("kind", models.TextField()),
                        ("name", models.TextField()),
                        ("detail", models.TextField(null=True, verbose_name="what differs")),
                        ("sql", models.TextField(null=True, verbose_name="statements that mend it")),
                        ("found_at", models.DateTimeField(null=True, verbose_name="found")),
                    ],
                    options={
                        "verbose_name": "schema difference",
                        "db_table": "v_schema_differences",
                        "permissions": [
                            ("repair_schemadifference", "Can repair what differs in the database's schema")
                        ],
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="TopQuery",
                    fields=[
                        ("id", models.TextField(primary_key=True, serialize=False)),
                        ("query", models.TextField(null=True, verbose_name="statement")),
                        ("calls", models.BigIntegerField()),
                        ("total_ms", models.DecimalField(decimal_places=1, max_digits=30)),
                        ("mean_ms", models.DecimalField(decimal_places=2, max_digits=30)),
                        ("percent_of_time", models.DecimalField(decimal_places=1, max_digits=12, null=True)),
                        ("rows_returned", models.BigIntegerField()),
                        ("username", models.TextField(null=True, verbose_name="role")),
                    ],
                    options={
                        "verbose_name_plural": "top queries",
                        "db_table": "v_top_queries",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="ReadinessRequest",
                    fields=[
                        ("only_row", models.BooleanField(db_default=True, primary_key=True, serialize=False)),
                        ("asked_at", models.DateTimeField()),
                    ],
                    options={
                        "db_table": "readiness_requests",
                        "default_permissions": (),
                    },
                ),
                migrations.CreateModel(
                    name="Silence",
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
                            "check_pattern",
                            models.TextField(
                                help_text="The name of a check; * stands for any text.", verbose_name="checks"
                            ),
                        ),
                        ("starts_at", models.DateTimeField()),
                        ("ends_at", models.DateTimeField()),
                        ("reason", models.TextField()),
                        ("created_by", models.TextField()),
                        ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "silences",
                        "permissions": [("silence_alerts", "Can silence alerts in a maintenance window")],
                        "default_permissions": ("view",),
                    },
                ),
                migrations.AlterModelOptions(
                    name="notification",
                    options={"permissions": [("send_test_notification", "Can send a test message")]},
                ),
                migrations.AddField(
                    model_name="alert",
                    name="consequences",
                    field=django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), db_default=[], help_text="The checks that it mutes.", size=None
                    ),
                ),
                migrations.AddField(
                    model_name="alert",
                    name="muted_by",
                    field=models.TextField(help_text="The fingerprint of the alert that it follows from.", null=True),
                ),
                migrations.AddField(
                    model_name="alert",
                    name="objects_named",
                    field=django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(),
                        db_column="objects",
                        db_default=[],
                        help_text="The ids of all that it is about, at most 1,000.",
                        size=None,
                    ),
                ),
                migrations.AddField(
                    model_name="alert",
                    name="silenced_until",
                    field=models.DateTimeField(help_text="The end of a maintenance window.", null=True),
                ),
                migrations.AddField(
                    model_name="alert",
                    name="told_message",
                    field=models.TextField(help_text="What the last message said.", null=True),
                ),
                migrations.AddField(
                    model_name="jobschedule",
                    name="switched_off_at",
                    field=models.DateTimeField(null=True),
                ),
                migrations.AddField(
                    model_name="jobschedule",
                    name="switched_off_by",
                    field=models.TextField(null=True),
                ),
                migrations.AddField(
                    model_name="workerheartbeat",
                    name="stopped_at",
                    field=models.DateTimeField(
                        help_text="When it was told to stop, or was ended for hanging.", null=True
                    ),
                ),
            ],
        ),
    ]
