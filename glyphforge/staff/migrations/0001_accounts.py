from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("account", "__latest__"),
        ("audit", "0003_seals"),
        ("auth", "__latest__"),
        ("database", "0003_watch"),
        ("mfa", "__latest__"),
        ("socialaccount", "__latest__"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.staff",
            name="0001_accounts",
        ),
    ]
