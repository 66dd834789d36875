from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("approval", "0001_approvals"),
        ("audit", "0004_erasure"),
        ("database", "0003_watch"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.web",
            name="0003_used_forms",
        ),
    ]
