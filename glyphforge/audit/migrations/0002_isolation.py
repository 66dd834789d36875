from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_baseline"),
        ("database", "0002_isolation"),
        ("web", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.audit",
            name="0002_isolation",
        ),
    ]
