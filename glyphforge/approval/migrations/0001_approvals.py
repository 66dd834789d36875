import datetime

import django.contrib.postgres.functions
import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0004_erasure"),
        ("database", "0003_watch"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.approval",
            name="0001_approvals",
            state_operations=[
                migrations.CreateModel(
                    name="Approval",
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
                        ("kind", models.TextField()),
                        ("subject", models.TextField(help_text="The id of what it is about.")),
                        ("summary", models.TextField(verbose_name="what is asked for")),
                        (
                            "state",
                            models.TextField(
                                choices=[
                                    ("asked", "Waits for another person"),
                                    ("approved", "Approved"),
                                    ("refused", "Refused"),
                                    ("withdrawn", "Withdrawn"),
                                    ("done", "Done"),
                                ],
                                db_default="asked",
                            ),
                        ),
                        ("asked_by", models.TextField()),
                        ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("reason", models.TextField()),
                        (
                            "expires_at",
                            models.DateTimeField(
                                db_default=django.db.models.expressions.CombinedExpression(
                                    django.db.models.functions.datetime.Now(),
                                    "+",
                                    models.Value(datetime.timedelta(days=7)),
                                ),
                                help_text="Stale afterwards.",
                            ),
                        ),
                        ("decided_by", models.TextField(null=True)),
                        ("decided_at", models.DateTimeField(null=True)),
                        ("decision_reason", models.TextField(null=True)),
                        ("done_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "db_table": "approvals",
                        "ordering": ["-asked_at"],
                        "permissions": [("decide_approval", "Can approve or refuse what another person asks for")],
                    },
                )
            ],
        ),
    ]
