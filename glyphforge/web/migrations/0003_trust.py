from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_seals"),
        ("database", "0003_watch"),
        ("staff", "0002_trust"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.web",
            name="0003_trust",
        ),
    ]
