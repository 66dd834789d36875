import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        RunSQLFile(
            app="glyphforge.web",
            name="0001_baseline",
            state_operations=[
                migrations.CreateModel(
                    name="AuthenticationFailure",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        (
                            "kind",
                            models.TextField(
                                choices=[
                                    ("api_key", "API key"),
                                    ("service_token", "Service token"),
                                    ("staff_password", "Staff password"),
                                    ("staff_second_factor", "Staff second factor"),
                                ]
                            ),
                        ),
                        ("source", models.TextField(help_text="An address, or what else is known of the caller.")),
                        ("window_start", models.DateTimeField()),
                        ("failures", models.IntegerField(db_default=1)),
                        (
                            "last_subject",
                            models.TextField(
                                help_text="The key's prefix or the account's name that was tried last.", null=True
                            ),
                        ),
                        ("last_failure_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "authentication_failures",
                    },
                )
            ],
        ),
    ]
