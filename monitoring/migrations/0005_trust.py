from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_seals"),
        ("billing", "0007_rate_limit_months"),
        ("database", "0003_watch"),
        ("monitoring", "0004_watch"),
        ("staff", "0002_trust"),
        ("web", "0003_trust"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0005_trust",
        ),
    ]
