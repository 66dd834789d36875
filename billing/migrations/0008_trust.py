from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_seals"),
        ("billing", "0007_rate_limit_months"),
        ("database", "0003_watch"),
        ("djstripe", "__latest__"),
        ("monitoring", "0005_trust"),
        ("staff", "0002_trust"),
        ("web", "0003_trust"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0008_trust",
            state_operations=[
                migrations.AddField(
                    model_name="apikey",
                    name="replaced_at",
                    field=models.DateTimeField(editable=False, null=True),
                )
            ],
        ),
    ]
