from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("approval", "0001_approvals"),
        ("audit", "0004_erasure"),
        ("billing", "0008_privacy"),
        ("database", "0003_watch"),
        ("monitoring", "0004_watch"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="monitoring",
            name="0005_privacy",
        ),
    ]
