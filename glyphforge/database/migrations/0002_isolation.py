import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_baseline"),
        ("database", "0001_baseline"),
        ("web", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.database",
            name="0002_isolation",
            state_operations=[
                migrations.CreateModel(
                    name="Installation",
                    fields=[
                        ("only_row", models.BooleanField(db_default=True, primary_key=True, serialize=False)),
                        ("system_identifier", models.BigIntegerField()),
                        ("table_oid", models.BigIntegerField()),
                        ("database_name", models.TextField()),
                        ("adopted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("adopted_by", models.TextField()),
                    ],
                    options={
                        "db_table": "installation",
                        "default_permissions": (),
                    },
                )
            ],
        ),
    ]
