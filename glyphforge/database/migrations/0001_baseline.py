import django.contrib.postgres.functions
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        RunSQLFile(
            app="glyphforge.database",
            name="0001_baseline",
            state_operations=[
                migrations.CreateModel(
                    name="BackupRun",
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
                        ("kind", models.TextField(choices=[("backup", "Backup"), ("drill", "Restore drill")])),
                        ("status", models.TextField(choices=[("succeeded", "Succeeded"), ("failed", "Failed")])),
                        ("file", models.TextField()),
                        ("bytes", models.BigIntegerField(null=True)),
                        ("row_count", models.BigIntegerField(null=True)),
                        ("error", models.TextField(null=True)),
                        ("started_at", models.DateTimeField()),
                        ("finished_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "backup_runs",
                    },
                )
            ],
        ),
    ]
