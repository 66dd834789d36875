from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("database", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.database",
            name="0002_sessions",
        ),
    ]
