from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0002_readiness",
            state_operations=[
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
                )
            ],
        ),
    ]
