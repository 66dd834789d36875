from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_seals"),
        ("database", "0003_watch"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.audit",
            name="0004_erasure",
            state_operations=[
                migrations.AlterModelOptions(
                    name="auditentry",
                    options={
                        "permissions": [("export_auditentry", "Can export the audit log")],
                        "verbose_name": "audit entry",
                        "verbose_name_plural": "audit log",
                    },
                )
            ],
        ),
    ]
