from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0002_rows",
        ),
    ]
