from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0004_as_of"),
        ("billing", "0007_rate_limit_months"),
        ("database", "0003_watch"),
        ("djstripe", "__latest__"),
        ("monitoring", "0004_watch"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0008_as_of",
        ),
    ]
