from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0006_health"),
    ]

    operations = [
        RunSQLFile(
            "monitoring",
            "0007_alert_objects",
            state_operations=[
                migrations.AddField(
                    model_name="alert",
                    name="object_id",
                    field=models.TextField(null=True),
                ),
                migrations.AddField(
                    model_name="alert",
                    name="object_type",
                    field=models.TextField(
                        help_text="What kind of thing it is about; empty: the whole system.", null=True
                    ),
                ),
            ],
        )
    ]
