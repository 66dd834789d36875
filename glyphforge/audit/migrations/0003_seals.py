import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_isolation"),
        ("database", "0003_watch"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.audit",
            name="0003_seals",
            state_operations=[
                migrations.CreateModel(
                    name="AuditSeal",
                    fields=[
                        ("to_id", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("from_id", models.BigIntegerField()),
                        ("rows", models.BigIntegerField()),
                        ("sha256", models.BinaryField()),
                        ("previous", models.BinaryField(unique=True)),
                        ("sealed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        (
                            "row_ids",
                            django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                        ),
                        (
                            "row_times",
                            django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), size=None),
                        ),
                        (
                            "row_digests",
                            django.contrib.postgres.fields.ArrayField(base_field=models.BinaryField(), size=None),
                        ),
                    ],
                    options={
                        "db_table": "audit_seals",
                    },
                ),
                migrations.CreateModel(
                    name="Read",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("occurred_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("actor", models.TextField()),
                        ("table_name", models.TextField()),
                        ("row_id", models.TextField()),
                        ("request_id", models.TextField(null=True)),
                        ("db_role", models.TextField()),
                    ],
                    options={
                        "db_table": "read_log",
                    },
                ),
                migrations.AddField(
                    model_name="auditentry",
                    name="actor_kind",
                    field=models.TextField(
                        choices=[
                            ("staff", "an account of the back office"),
                            ("system", "a program of ours"),
                            ("api", "an API server"),
                            ("sql", "whoever is at the database itself"),
                        ],
                        null=True,
                    ),
                ),
                migrations.AddField(
                    model_name="auditentry",
                    name="db_role",
                    field=models.TextField(null=True),
                ),
            ],
        ),
    ]
