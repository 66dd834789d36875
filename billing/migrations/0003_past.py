import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_isolation"),
        ("billing", "0002_isolation"),
        ("database", "0002_isolation"),
        ("monitoring", "0002_isolation"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0003_past",
            state_operations=[
                migrations.CreateModel(
                    name="Backfill",
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
                                choices=[("running", "Running"), ("finished", "Finished"), ("failed", "Failed")],
                                db_default="running",
                            ),
                        ),
                        ("requests", models.BigIntegerField(db_default=0)),
                        ("error", models.TextField(null=True)),
                        ("actor", models.TextField()),
                        ("reason", models.TextField()),
                        ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("finished_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "db_table": "stripe_backfills",
                        "ordering": ["-started_at"],
                    },
                ),
                migrations.CreateModel(
                    name="BackfillList",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("kind", models.TextField()),
                        ("position", models.TextField(help_text="The last object of the last page.", null=True)),
                        (
                            "created_at",
                            models.DateTimeField(help_text="When that object was created at Stripe.", null=True),
                        ),
                        ("listed", models.BigIntegerField(db_default=0)),
                        ("added", models.BigIntegerField(db_default=0)),
                        ("changed", models.BigIntegerField(db_default=0)),
                        ("finished_at", models.DateTimeField(null=True)),
                        (
                            "backfill",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE, related_name="lists", to="billing.backfill"
                            ),
                        ),
                    ],
                    options={
                        "db_table": "stripe_backfill_lists",
                        "ordering": ["id"],
                    },
                ),
                migrations.CreateModel(
                    name="BackfillProblem",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("kind", models.TextField()),
                        ("stripe_id", models.TextField()),
                        ("problem", models.TextField()),
                        (
                            "backfill",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="problems",
                                to="billing.backfill",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "stripe_backfill_problems",
                        "ordering": ["id"],
                    },
                ),
            ],
        ),
    ]
