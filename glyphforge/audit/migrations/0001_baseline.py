import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = [("database", "0001_baseline")]

    operations = [
        RunSQLFile(
            app="glyphforge.audit",
            name="0001_baseline",
            state_operations=[
                migrations.CreateModel(
                    name="AuditEntry",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("occurred_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("actor", models.TextField()),
                        ("action", models.TextField(help_text="insert, update, delete, or a named operation.")),
                        ("table_name", models.TextField()),
                        ("row_id", models.TextField(null=True)),
                        ("old_values", models.JSONField(null=True)),
                        ("new_values", models.JSONField(null=True)),
                        ("reason", models.TextField(null=True)),
                        ("request_id", models.TextField(null=True)),
                    ],
                    options={
                        "verbose_name": "audit entry",
                        "verbose_name_plural": "audit log",
                        "db_table": "audit_log",
                    },
                )
            ],
        ),
        # This month and three ahead, so that the first row of a new database finds its partition.
        migrations.RunSQL("SELECT create_audit_log_partitions(3)", migrations.RunSQL.noop),
    ]
