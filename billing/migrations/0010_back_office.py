import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    """Notes about customers, and an index for every sort, filter and search of the back office."""

    dependencies = [("billing", "0009_cognito_sync")]

    operations = [
        RunSQLFile(
            "billing",
            "0010_back_office",
            state_operations=[
                migrations.CreateModel(
                    name="CustomerNote",
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
                        ("author", models.TextField()),
                        ("body", models.TextField()),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE, related_name="notes", to="billing.user"
                            ),
                        ),
                    ],
                    options={
                        "db_table": "customer_notes",
                        "ordering": ["-created_at"],
                        "default_permissions": ("add", "view"),
                    },
                )
            ],
        )
    ]
