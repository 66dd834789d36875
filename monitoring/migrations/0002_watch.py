import django.contrib.postgres.fields
import django.contrib.postgres.functions
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0002_watch",
            state_operations=[
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
